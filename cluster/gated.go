package cluster

import (
	"context"
	"errors"

	"github.com/covol/covol/ondisk/blockdev"
)

// gated is a Device behind a Gate.
type gated struct {
	g   *Gate
	dev blockdev.Device
}

var _ blockdev.Device = gated{}

func (d gated) Geometry() blockdev.Geometry { return d.dev.Geometry() }

func (d gated) ReadAt(ctx context.Context, p []byte, off int64) error {
	a, err := d.g.enter(ctx, false)
	if err != nil {
		return err
	}
	defer a.leave()
	return d.dev.ReadAt(ctx, p, off)
}

func (d gated) WriteAt(ctx context.Context, p []byte, off int64, fua bool) error {
	a, err := d.g.enter(ctx, true)
	if err != nil {
		return err
	}
	defer a.leave()
	return d.dev.WriteAt(ctx, p, off, fua)
}

// Flush is admitted like a write: a withdrawn node must not tell anyone that something is durable.
func (d gated) Flush(ctx context.Context) error {
	a, err := d.g.enter(ctx, true)
	if err != nil {
		return err
	}
	defer a.leave()
	return d.dev.Flush(ctx)
}

func (d gated) Discard(ctx context.Context, off, length int64) error {
	a, err := d.g.enter(ctx, true)
	if err != nil {
		return err
	}
	defer a.leave()
	return d.dev.Discard(ctx, off, length)
}

// Close closes the device below, at any time.
func (d gated) Close() error { return d.dev.Close() }

type gatedCompare struct {
	g   *Gate
	dev blockdev.CompareAndWriter
}

func (d gatedCompare) CompareAndWrite(ctx context.Context, off int64, old, new []byte) (bool, error) {
	a, err := d.g.enter(ctx, true)
	if err != nil {
		return false, err
	}
	defer a.leave()
	return d.dev.CompareAndWrite(ctx, off, old, new)
}

type gatedSubmit struct {
	g   *Gate
	dev blockdev.Submitter
}

// Submit passes on what is admitted at once. The rest waits on a procedure of its own: Submit must not block, nor call
// Done.
func (d gatedSubmit) Submit(ops []blockdev.Op) {
	now := make([]blockdev.Op, 0, len(ops))
	var later []blockdev.Op
	for _, op := range ops {
		if a, ok := d.g.try(writes(op)); ok {
			now = append(now, d.counted(a, op))
		} else {
			later = append(later, op)
		}
	}
	if len(now) > 0 {
		d.dev.Submit(now)
	}
	if len(later) > 0 {
		d.g.s.Go("gate", func() { d.wait(later) })
	}
}

func (d gatedSubmit) wait(ops []blockdev.Op) {
	for _, op := range ops {
		a, err := d.g.enter(context.Background(), writes(op))
		if err != nil {
			op.Done(err)
			continue
		}
		d.dev.Submit([]blockdev.Op{d.counted(a, op)})
	}
}

// writes reports whether the gate takes op for a write.
func writes(op blockdev.Op) bool { return op.Kind != blockdev.OpRead }

// counted makes op leave the gate when it is over. The device asks the gate again when the turn of op comes: what was
// admitted and then waited in a queue until the lease had no room comes back to the gate.
func (d gatedSubmit) counted(a admitted, op blockdev.Op) blockdev.Op {
	sent := op
	sent.Begin = func() bool { return op.MayBegin() && d.g.admits(writes(op)) }
	sent.Done = func(err error) {
		a.leave()
		if errors.Is(err, blockdev.ErrNotBegun) && op.MayBegin() {
			d.g.s.Go("gate", func() { d.wait([]blockdev.Op{op}) })
			return
		}
		op.Done(err)
	}
	return sent
}
