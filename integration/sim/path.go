package sim

import (
	"context"
	"errors"
	"time"

	"github.com/covol/covol/ondisk/blockdev"
)

// path is how one process reaches the disk. What it does wrong is the host's: a restarted process finds it the same.
type path struct {
	p    *process
	dev  blockdev.Device
	data bool // not for heartbeats and views
}

// pathFaults is how the way of one host to the disk misbehaves.
type pathFaults struct {
	hungUntil time.Duration
	dataUntil time.Duration // data hangs, heartbeats do not
	failUntil time.Duration
	failShare float64
	slowUntil time.Duration
	slow      time.Duration // at most this much more
}

func (f *pathFaults) heal() { *f = pathFaults{} }

var errHung = errors.New("no answer from the disk within the time of the path")

func (d *path) Geometry() blockdev.Geometry { return d.dev.Geometry() }
func (d *path) Close() error                { return nil }

// before lets pass what the way to the disk costs. What does not get through within the bound of one I/O never will: the
// kernel of the host takes it back.
func (d *path) before(ctx context.Context, op string) error {
	w, f := d.p.w, &d.p.host.path
	limit := w.s.Now() + w.sb.Profile.IOBound*7/10
	for w.s.Now() < f.hungUntil {
		if w.s.Now() >= limit {
			d.p.pathFailed()
			return &blockdev.OpError{Op: op, Class: blockdev.ErrMedium, Err: errHung}
		}
		if err := w.s.Sleep(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	if err := d.hangData(ctx, op); err != nil {
		return err
	}
	if w.s.Now() < f.slowUntil {
		if err := w.s.Sleep(ctx, time.Duration(w.disturb.Int64N(int64(f.slow)))); err != nil {
			return err
		}
	}
	if w.s.Now() < f.failUntil && w.disturb.Float64() < f.failShare {
		d.p.pathFailed()
		return &blockdev.OpError{Op: op, Class: blockdev.ErrMedium}
	}
	return nil
}

// hangData does not answer while data hangs. What hung for longer than one I/O may take never gets through.
func (d *path) hangData(ctx context.Context, op string) error {
	w, f := d.p.w, &d.p.host.path
	begun := w.s.Now()
	for d.data && w.s.Now() < f.dataUntil && !d.p.clock.dead {
		if err := w.s.Sleep(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	if w.s.Now()-begun < w.sb.Profile.IOBound*7/10 {
		return nil
	}
	d.p.pathFailed()
	return &blockdev.OpError{Op: op, Class: blockdev.ErrMedium, Err: errHung}
}

func (d *path) do(ctx context.Context, op string, fn func() error) error {
	defer d.p.clock.thaw()
	if d.p.clock.dead {
		return blockdev.ErrMedium // nobody sees it
	}
	if err := d.before(ctx, op); err != nil {
		return err
	}
	if d.p.clock.dead {
		return blockdev.ErrMedium
	}
	return fn()
}

func (d *path) ReadAt(ctx context.Context, b []byte, off int64) error {
	return d.do(ctx, "read", func() error { return d.dev.ReadAt(ctx, b, off) })
}

func (d *path) WriteAt(ctx context.Context, b []byte, off int64, fua bool) error {
	if h := d.p.w.hooks.Write; h != nil && h(d.p.name(), d.p.node != nil, off, b) {
		return nil
	}
	return d.do(ctx, "write", func() error { return d.dev.WriteAt(ctx, b, off, fua && !d.p.w.hooks.NoFlush) })
}

func (d *path) Flush(ctx context.Context) error {
	if d.p.w.hooks.NoFlush {
		return nil
	}
	return d.do(ctx, "flush", func() error { return d.dev.Flush(ctx) })
}

func (d *path) Discard(ctx context.Context, off, n int64) error {
	return d.do(ctx, "discard", func() error { return d.dev.Discard(ctx, off, n) })
}

func (d *path) CompareAndWrite(ctx context.Context, off int64, old, new []byte) (swapped bool, err error) {
	err = d.do(ctx, "compare and write", func() error {
		swapped, err = d.dev.(blockdev.CompareAndWriter).CompareAndWrite(ctx, off, old, new)
		return err
	})
	return swapped, err
}
