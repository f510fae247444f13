package simdisk

import (
	"context"
	"fmt"
	"time"

	"github.com/covol/covol/ondisk/blockdev"
)

// path is one host's way to the disk during one life of the host.
type path struct {
	d    *Disk
	host int
	life int
}

type (
	comparePath struct{ *path }
	reservePath struct{ *path }
	fullPath    struct {
		comparePath
		reservePath
		*path // shallower, so that its methods are meant
	}
)

var (
	_ blockdev.Device           = (*path)(nil)
	_ blockdev.CompareAndWriter = fullPath{}
	_ blockdev.Fencer           = fullPath{}
)

// Path returns a host's way to the disk. It is good until the host dies; a Path made after that is the host
// after its reboot. Config decides whether it is also a CompareAndWriter and a Fencer.
func (d *Disk) Path(n int) blockdev.Device {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := &path{d: d, host: n, life: d.host(n).life}
	switch {
	case d.cfg.CompareAndWrite && d.cfg.Reserve:
		return fullPath{comparePath{p}, reservePath{p}, p}
	case d.cfg.CompareAndWrite:
		return comparePath{p}
	case d.cfg.Reserve:
		return reservePath{p}
	}
	return p
}

func (d *Disk) host(n int) *host {
	h := d.hosts[n]
	if h == nil {
		h = &host{}
		d.hosts[n] = h
	}
	return h
}

func (p *path) Geometry() blockdev.Geometry { return p.d.geo }

func (p *path) Close() error { return nil }

// begin checks a call and draws how long it takes. On success mu is held.
func (p *path) begin(ctx context.Context, op Op, off, n int64) (time.Duration, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if err := blockdev.CheckRange(p.d.geo, off, n); err != nil {
		return 0, fail(op, off, n, err)
	}
	p.d.mu.Lock()
	if err := p.alive(); err != nil {
		p.d.mu.Unlock()
		return 0, fail(op, off, n, err)
	}
	if p.d.wait == nil {
		return 0, nil
	}
	return p.d.cfg.Latency(p.d.rng, op, int(n)), nil
}

func (p *path) alive() error {
	if p.d.host(p.host).life != p.life {
		return ErrDead
	}
	return nil
}

// pass lets time go by. mu is held before and after, but not meanwhile.
func (p *path) pass(ctx context.Context, t time.Duration) error {
	wait := p.d.wait
	if wait == nil {
		return nil
	}
	p.d.mu.Unlock()
	err := wait(ctx, t)
	p.d.mu.Lock()
	return err
}

func fail(op Op, off, n int64, class error) error {
	return &blockdev.OpError{Op: string(op), Off: off, Len: n, Class: class}
}

func (p *path) ReadAt(ctx context.Context, b []byte, off int64) error {
	n := int64(len(b))
	t, err := p.begin(ctx, OpRead, off, n)
	if err != nil {
		return err
	}
	defer p.d.mu.Unlock()
	if err := p.pass(ctx, t); err != nil {
		return err
	}
	if err := p.alive(); err != nil {
		return fail(OpRead, off, n, err)
	}
	for i := range p.d.readErr {
		if p.d.readErr[i].hits(p.d.rng, p.host, off, n) {
			return fail(OpRead, off, n, blockdev.ErrMedium)
		}
	}
	p.d.visible.Read(b, p.d.misdirect(p.d.traits.MisdirectReads, off, n))
	return nil
}

// misdirect returns off, or with probability prob another place of n bytes.
func (d *Disk) misdirect(prob float64, off, n int64) int64 {
	if prob == 0 || d.rng.Float64() >= prob {
		return off
	}
	ss := int64(d.geo.SectorSize)
	return d.rng.Int64N((d.geo.Size-n)/ss+1) * ss
}

func (p *path) Flush(ctx context.Context) error {
	t, err := p.begin(ctx, OpFlush, 0, 0)
	if err != nil {
		return err
	}
	defer p.d.mu.Unlock()
	upTo := p.d.landed // later landings are not promised anything
	if err := p.pass(ctx, t); err != nil {
		return err
	}
	if err := p.alive(); err != nil {
		return fail(OpFlush, 0, 0, err)
	}
	p.d.flushUpTo(upTo)
	return nil
}

// Discard zeros the range or leaves it alone, as the seed has it.
func (p *path) Discard(ctx context.Context, off, n int64) error {
	t, err := p.begin(ctx, OpDiscard, off, n)
	if err != nil {
		return err
	}
	defer p.d.mu.Unlock()
	if err := p.pass(ctx, t); err != nil {
		return err
	}
	if err := p.mayWrite(); err != nil {
		return fail(OpDiscard, off, n, err)
	}
	if n > 0 && p.d.rng.IntN(4) != 0 {
		p.d.land(off, n, nil, false)
	}
	return nil
}

// mayWrite refuses dead and fenced hosts.
func (p *path) mayWrite() error {
	if err := p.alive(); err != nil {
		return err
	}
	if p.d.host(p.host).fenced {
		return blockdev.ErrFenced
	}
	return nil
}

// String names the host, for traces.
func (p *path) String() string { return fmt.Sprintf("host %d", p.host) }
