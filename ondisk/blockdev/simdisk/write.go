package simdisk

import (
	"bytes"
	"context"
	"slices"

	"github.com/covol/covol/ondisk/blockdev"
)

// write is a write, or what has not landed of it.
type write struct {
	host int
	off  int64
	data []byte
	fua  bool
	old  []byte // compare-and-write: lands only on this
	gone error  // it was taken away from its caller, who gets this error
}

func (p *path) WriteAt(ctx context.Context, b []byte, off int64, fua bool) error {
	w := &write{host: p.host, off: off, data: bytes.Clone(b), fua: fua}
	_, err := p.send(ctx, OpWrite, w)
	return err
}

// CompareAndWrite is atomic at the moment it lands, and stable then.
func (p comparePath) CompareAndWrite(ctx context.Context, off int64, old, new []byte) (bool, error) {
	if err := blockdev.CheckCompare(p.d.geo, off, old, new); err != nil {
		return false, err
	}
	w := &write{host: p.host, off: off, data: bytes.Clone(new), fua: true, old: bytes.Clone(old)}
	return p.send(ctx, OpCompare, w)
}

// send takes a write through its life. Time passes before it lands, between its halves, and before the answer, so
// that whatever happens meanwhile meets it in each of these states.
func (p *path) send(ctx context.Context, op Op, w *write) (landed bool, err error) {
	d, off, n := p.d, w.off, int64(len(w.data))
	t, err := p.begin(ctx, op, off, n)
	if err != nil {
		return false, err
	}
	defer d.mu.Unlock()
	if err := p.mayWrite(); err != nil {
		return false, fail(op, off, n, err)
	}
	for i := range d.writeErr {
		if d.writeErr[i].hits(d.rng, p.host, off, n) {
			d.landSome(w)
			return false, fail(op, off, n, blockdev.ErrMedium)
		}
	}
	w.off = d.misdirect(d.traits.MisdirectWrites, off, n)
	d.inflight = append(d.inflight, w)
	landed = true
	for i, part := range d.split(w) {
		if err := p.pass(ctx, t/3); err != nil {
			if w.gone == nil && d.rng.IntN(2) == 0 {
				d.landWrite(w, w.off, w.data, false)
			}
			d.forget(w)
			return false, err
		}
		if w.gone != nil {
			return false, fail(op, off, n, w.gone)
		}
		landed = d.landWrite(w, part.off, part.data, false)
		if i == 0 && len(part.data) < len(w.data) { // the other half stays in flight
			w.off, w.data = part.restOff, part.rest
		}
	}
	d.forget(w)
	if err := p.pass(ctx, t/3); err != nil {
		return false, err
	}
	if err := p.alive(); err != nil {
		return false, fail(op, off, n, err)
	}
	return landed, nil
}

// half is a part of a write and what lands after it.
type half struct {
	off     int64
	data    []byte
	restOff int64
	rest    []byte
}

// split decides in which pieces a write lands: in two, either first, where it may tear and time passes.
func (d *Disk) split(w *write) []half {
	ss := d.geo.SectorSize
	sectors := len(w.data) / ss
	if d.wait == nil || !d.traits.TearSectors || sectors < 2 || w.old != nil {
		return []half{{off: w.off, data: w.data}}
	}
	cut := (1 + d.rng.IntN(sectors-1)) * ss
	a := half{off: w.off, data: w.data[:cut]}
	b := half{off: w.off + int64(cut), data: w.data[cut:]}
	if d.rng.IntN(2) == 0 {
		a, b = b, a
	}
	a.restOff, a.rest = b.off, b.data
	return []half{a, b}
}

// landWrite lands data, a part of w. It reports false if w compares and found something else.
func (d *Disk) landWrite(w *write, off int64, data []byte, ghost bool) bool {
	if len(data) == 0 {
		return true
	}
	if w.old != nil {
		now := make([]byte, len(w.old))
		d.visible.Read(now, off)
		if !bytes.Equal(now, w.old) {
			return false
		}
	}
	d.land(off, int64(len(data)), data, w.fua)
	if d.cfg.OnLand != nil {
		d.cfg.OnLand(Landing{Host: w.host, Off: off, Data: data, FUA: w.fua, Ghost: ghost})
	}
	return true
}

// landSome leaves a failed write in an unknown state: none, all or some of its sectors.
func (d *Disk) landSome(w *write) {
	switch d.rng.IntN(3) {
	case 0:
	case 1:
		d.landWrite(w, w.off, w.data, false)
	default:
		ss := d.geo.SectorSize
		if w.old != nil || !d.traits.TearSectors {
			return
		}
		for at := 0; at < len(w.data); at += ss {
			if d.rng.IntN(2) == 0 {
				d.landWrite(w, w.off+int64(at), w.data[at:at+ss], false)
			}
		}
	}
}

func (d *Disk) forget(w *write) {
	d.inflight = slices.DeleteFunc(d.inflight, func(o *write) bool { return o == w })
}
