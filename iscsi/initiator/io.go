package initiator

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/covol/covol/iscsi/scsi"
	"github.com/covol/covol/ondisk/blockdev"
)

// opError makes an error of package blockdev of what an operation ended with.
func opError(name string, off, n int64, err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, blockdev.ErrNotBegun) {
		return err
	}
	class := blockdev.ErrMedium
	var s *StatusError
	switch {
	case errors.As(err, &s) && (s.Status == scsi.ReservationConflict || s.Status == scsi.CheckCondition && s.Sense.Key == scsi.DataProtect):
		class = blockdev.ErrFenced
	case errors.Is(err, blockdev.ErrRange):
		class = nil
	}
	return &blockdev.OpError{Op: name, Off: off, Len: n, Class: class, Err: err}
}

// rw16 is a CDB of 16 bytes with address and number of blocks.
func (d *Device) rw16(code byte, fua bool, off, n int64) []byte {
	cdb := make([]byte, 16)
	cdb[0] = code
	if fua {
		cdb[1] = 0x08
	}
	ss := int64(d.geo.SectorSize)
	binary.BigEndian.PutUint64(cdb[2:], uint64(off/ss))
	binary.BigEndian.PutUint32(cdb[10:], uint32(n/ss))
	return cdb
}

// ReadAt fills p from off.
func (d *Device) ReadAt(ctx context.Context, p []byte, off int64) error {
	return d.wait(ctx, blockdev.Op{Kind: blockdev.OpRead, Buf: p, Off: off})
}

// WriteAt writes p at off.
func (d *Device) WriteAt(ctx context.Context, p []byte, off int64, fua bool) error {
	return d.wait(ctx, blockdev.Op{Kind: blockdev.OpWrite, Buf: p, Off: off, FUA: fua})
}

// Flush makes finished writes stable.
func (d *Device) Flush(ctx context.Context) error {
	return d.wait(ctx, blockdev.Op{Kind: blockdev.OpFlush})
}

// wait runs an operation whose commands are not sent any more once ctx has ended.
func (d *Device) wait(ctx context.Context, o blockdev.Op) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ops, err := d.commands(o)
	if err != nil {
		return opError(o.Kind.String(), o.Off, int64(len(o.Buf)), err)
	}
	finished := make(chan error, 1)
	d.startAll(ops, func(err error) { finished <- err })
	select {
	case err = <-finished:
	case <-ctx.Done():
		for _, p := range ops {
			if d.unqueue(p) {
				p.err = ctx.Err()
				p.finish()
			}
		}
		err = <-finished
	}
	return opError(o.Kind.String(), o.Off, int64(len(o.Buf)), err)
}

// Submit starts operations.
func (d *Device) Submit(ops []blockdev.Op) {
	for _, o := range ops {
		done := func(err error) { o.Done(opError(o.Kind.String(), o.Off, int64(len(o.Buf)), err)) }
		cmds, err := d.commands(o)
		if err != nil || len(cmds) == 0 {
			d.o.Clock.Go("iscsi operation", func() { done(err) })
			continue
		}
		d.startAll(cmds, done)
	}
}

// startAll starts the commands of one operation and calls done once with the first error.
func (d *Device) startAll(ops []*op, done func(error)) {
	if len(ops) == 0 {
		done(nil)
		return
	}
	var mu sync.Mutex
	left := len(ops)
	var first error
	for _, p := range ops {
		p.done = func(p *op) {
			err := p.outcome()
			if err == nil && p.got != len(p.read) {
				err = fmt.Errorf("%d bytes of %d came", p.got, len(p.read))
			}
			mu.Lock()
			left--
			if first == nil {
				first = err
			}
			last, err := left == 0, first
			mu.Unlock()
			if last {
				done(err)
			}
		}
	}
	for _, p := range ops {
		d.start(p)
	}
}

// commands are the SCSI commands of an operation, none longer than the target takes.
func (d *Device) commands(o blockdev.Op) ([]*op, error) {
	switch o.Kind {
	case blockdev.OpFlush:
		return []*op{{cdb: []byte{0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0}, repeatable: true, begin: o.Begin}}, nil
	case blockdev.OpRead, blockdev.OpWrite:
	default:
		return nil, fmt.Errorf("%v: %w", o.Kind, blockdev.ErrRange)
	}
	if err := blockdev.CheckRange(d.geo, o.Off, int64(len(o.Buf))); err != nil {
		return nil, err
	}
	var all []*op
	for p, off := o.Buf, o.Off; len(p) > 0; {
		n := min(len(p), d.limits.transfer)
		c := &op{repeatable: true, begin: o.Begin}
		if o.Kind == blockdev.OpRead {
			c.cdb, c.read = d.rw16(0x88, false, off, int64(n)), p[:n:n]
		} else {
			c.cdb, c.write = d.rw16(0x8a, o.FUA, off, int64(n)), p[:n:n]
		}
		all = append(all, c)
		p, off = p[n:], off+int64(n)
	}
	return all, nil
}

// Discard is UNMAP, where the unit has it.
func (d *Device) Discard(ctx context.Context, off, length int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := blockdev.CheckRange(d.geo, off, length); err != nil {
		return opError("discard", off, length, err)
	}
	for at, left := off, length; left > 0 && d.limits.unmap > 0; {
		n := min(left, d.limits.unmap)
		list := make([]byte, 24)
		binary.BigEndian.PutUint16(list, 22)
		binary.BigEndian.PutUint16(list[2:], 16)
		binary.BigEndian.PutUint64(list[8:], uint64(at/int64(d.geo.SectorSize)))
		binary.BigEndian.PutUint32(list[16:], uint32(n/int64(d.geo.SectorSize)))
		if err := d.do(ctx, &op{cdb: []byte{0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0}, write: list, repeatable: true}); err != nil {
			return opError("discard", off, length, err)
		}
		at, left = at+n, left-n
	}
	return nil
}
