package journal

import (
	"context"
	"fmt"

	"github.com/covol/covol/ondisk/sched"
)

// flushCall is one flush of the device and all who wait for it.
type flushCall struct {
	done sched.Event
	err  error
}

// flush makes everything stable that was written before the call. Calls that come while a flush runs share the next
// one, because the running one may have begun too early for them. Any error stops the journal: what is stable
// after a flush that failed nobody knows.
func (j *Journal) flush() error {
	j.mu.Lock()
	j.stats.FlushCalls++
	prev := j.flushing
	c := j.flushNext
	if c != nil {
		j.mu.Unlock()
		_ = c.done.Wait(context.Background())
		return c.err
	}
	c = &flushCall{done: j.cfg.Sched.NewEvent()}
	if prev != nil {
		j.flushNext = c
		j.mu.Unlock()
		_ = prev.done.Wait(context.Background())
		j.mu.Lock()
		j.flushNext = nil
	}
	j.flushing = c
	err := j.stop
	if err == nil {
		j.stats.Flushes++
		begun := j.stats.Flushes
		j.mu.Unlock()
		if err = j.cfg.Dev.Flush(j.ctx); err != nil {
			j.fail(fmt.Errorf("flush: %w", err))
		}
		j.mu.Lock()
		if err == nil {
			j.flushed = begun
		} else {
			err = j.stop // the first reason: another error may have cut this flush short
		}
	}
	if j.flushNext == nil {
		j.flushing = nil
	}
	j.mu.Unlock()
	c.err = err
	c.done.Set()
	return err
}

// SyncData returns once everything that was published, and everything that was written to the device, before the call is
// stable. One flush does for both, unless the commit that it had to wait for had begun to flush already.
func (j *Journal) SyncData(ctx context.Context) error {
	j.mu.Lock()
	begun := j.stats.Flushes
	j.mu.Unlock()
	if err := j.SyncAll(ctx); err != nil {
		return err
	}
	j.mu.Lock()
	covered := j.flushed > begun
	j.mu.Unlock()
	if covered {
		return nil
	}
	return j.Barrier(ctx)
}

// Barrier returns once everything that was written to the device before the call is stable. It shares its flush with
// commits and other barriers.
func (j *Journal) Barrier(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return j.flush()
}
