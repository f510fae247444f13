package cluster

import (
	"context"
	"errors"
	"time"

	"github.com/covol/covol/ondisk/blockdev"
)

var errInjected = errors.New("injected")

// hbDev is a process's path for heartbeats and views, with faults.
type hbDev struct {
	blockdev.Device
	p *proc

	ops    int  // calls so far
	killAt int  // the process dies at this call, counted from 1; 0 never
	after  bool // it dies after the call took effect

	hook      func(write bool, off int64, op func() error) error // does the call
	broken    bool                                               // every call fails
	prob      float64                                            // of a fault in each call
	slowRead  time.Duration                                      // of every call: one side only is slow
	slowWrite time.Duration
}

type fault int

const (
	faultNone   fault = iota
	faultBefore       // error, nothing done
	faultAfter        // done, but reported as an error
	faultSlow         // takes up to 3 D
	faultGhost        // reported as an error, done later
	faultLate         // done at once, reported up to 3 D later
)

func (d *hbDev) draw() fault {
	if d.broken {
		return faultBefore
	}
	if d.prob > 0 && d.p.w.rng.Float64() < d.prob {
		return fault(1 + d.p.w.rng.IntN(5))
	}
	return faultNone
}

// call runs op with the fault that is drawn for it.
func (d *hbDev) call(op func(context.Context) error, ctx context.Context, write bool) error {
	d.ops++
	hit := d.killAt == d.ops
	if hit && !d.after {
		d.die()
	}
	bound := d.p.w.sb.Profile.IOBound
	random := func() time.Duration {
		late := time.Duration(d.p.w.rng.Int64N(int64(3 * bound)))
		if write && d.p.w.judge.votes != nil { // later than that is the limit of votes
			late %= bound / 2
		}
		return late
	}
	slow := d.slowRead
	if write {
		if slow = d.slowWrite; d.p.w.judge.votes != nil {
			slow %= bound / 2
		}
	}
	if slow > 0 {
		_ = d.p.w.s.Sleep(context.Background(), slow)
	}
	var err error
	switch f := d.draw(); {
	case f == faultBefore:
		_ = d.p.w.s.Sleep(ctx, time.Millisecond)
		err = errInjected
	case f == faultAfter:
		_ = op(ctx)
		err = errInjected
	case f == faultSlow:
		_ = d.p.w.s.Sleep(context.Background(), random())
		err = op(context.Background())
	case f == faultLate:
		err = op(context.Background())
		_ = d.p.w.s.Sleep(context.Background(), random())
	case f == faultGhost && write:
		late := min(random(), bound)
		d.p.w.s.Go("ghost", func() {
			_ = d.p.w.s.Sleep(context.Background(), late)
			_ = op(context.Background())
		})
		err = errInjected
	default:
		err = op(ctx)
	}
	if hit {
		d.die()
	}
	d.p.sched.thaw()
	return err
}

func (d *hbDev) die() {
	d.p.kill(0)
	d.p.sched.thaw() // does not come back
}

func (d *hbDev) ReadAt(ctx context.Context, p []byte, off int64) error {
	if d.hook != nil {
		return d.hook(false, off, func() error { return d.Device.ReadAt(context.Background(), p, off) })
	}
	return d.call(func(ctx context.Context) error { return d.Device.ReadAt(ctx, p, off) }, ctx, false)
}

func (d *hbDev) WriteAt(ctx context.Context, p []byte, off int64, fua bool) error {
	return d.call(func(ctx context.Context) error { return d.Device.WriteAt(ctx, p, off, fua) }, ctx, true)
}

type hbCompare struct {
	*hbDev
	caw blockdev.CompareAndWriter
}

func (d *hbCompare) CompareAndWrite(ctx context.Context, off int64, old, new []byte) (swapped bool, err error) {
	if d.hook != nil {
		err = d.hook(true, off, func() (err error) {
			swapped, err = d.caw.CompareAndWrite(context.Background(), off, old, new)
			return err
		})
		return swapped && err == nil, err
	}
	err = d.call(func(ctx context.Context) (err error) {
		swapped, err = d.caw.CompareAndWrite(ctx, off, old, new)
		return err
	}, ctx, true)
	return swapped && err == nil, err
}
