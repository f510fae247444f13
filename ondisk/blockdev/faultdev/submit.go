package faultdev

import (
	"context"
	"fmt"

	"github.com/covol/covol/ondisk/blockdev"
)

// submitter is the asynchronous way to a Device over one that has such a way.
type submitter struct {
	d   *Device
	sub blockdev.Submitter
}

var _ blockdev.Submitter = submitter{}

// Submit passes on what no rule strikes, all at once. Each of the others is carried out by a procedure of its own.
func (s submitter) Submit(ops []blockdev.Op) {
	pass := make([]blockdev.Op, 0, len(ops))
	for _, op := range ops {
		hit := s.judge(op)
		if hit.action == "" {
			pass = append(pass, op)
			continue
		}
		s.d.sched.Go("struck operation", func() { op.Done(s.carryOut(op, hit)) })
	}
	if len(pass) > 0 {
		s.sub.Submit(pass)
	}
}

func (s submitter) judge(op blockdev.Op) strike {
	switch op.Kind {
	case blockdev.OpRead:
		return s.d.judge(Read, op.Off, int64(len(op.Buf)))
	case blockdev.OpWrite:
		return s.d.judge(Write, op.Off, int64(len(op.Buf)))
	case blockdev.OpFlush:
		return s.d.judge(Flush, 0, 0)
	}
	return strike{} // for the device below to refuse
}

func (s submitter) carryOut(op blockdev.Op, hit strike) error {
	ctx := context.Background()
	switch op.Kind {
	case blockdev.OpRead:
		return s.d.read(ctx, op.Buf, op.Off, hit)
	case blockdev.OpWrite:
		return s.d.write(ctx, op.Buf, op.Off, op.FUA, hit)
	case blockdev.OpFlush:
		return s.d.flush(ctx, hit)
	}
	return fmt.Errorf("%v: %w", op.Kind, blockdev.ErrRange)
}
