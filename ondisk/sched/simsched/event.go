package simsched

import (
	"context"

	"github.com/covol/covol/ondisk/sched"
)

type event struct {
	s *Scheduler
	// GUARDED_BY(s.mu)
	set bool
	// GUARDED_BY(s.mu)
	waits []*wait
}

// NewEvent makes an event that is not set.
func (s *Scheduler) NewEvent() sched.Event { return &event{s: s} }

func (e *event) Set() {
	e.s.mu.Lock()
	defer e.s.mu.Unlock()
	if e.set {
		return
	}
	e.set = true
	for _, w := range e.waits {
		e.s.wake(w)
	}
}

func (e *event) IsSet() bool {
	e.s.mu.Lock()
	defer e.s.mu.Unlock()
	return e.set
}

// Wait does not switch when the event is set already. When the context ended too before the procedure came to
// run, the seed decides which of the two it notices, as either may happen in reality.
func (e *event) Wait(ctx context.Context) error {
	e.s.mu.Lock()
	defer e.s.mu.Unlock()
	if e.set {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	w := e.s.newWait("event", ctx)
	w.event = e
	e.waits = append(e.waits, w)
	e.s.park(w)
	err := ctx.Err()
	if e.set && (err == nil || e.s.rng.IntN(2) == 0) {
		return nil
	}
	return err
}
