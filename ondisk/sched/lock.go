package sched

import (
	"context"
	"sync"
)

// Lock is an exclusive lock that may be held across waiting and I/O. Waiters are served first come, first served.
// The zero value is not usable; make one with NewLock.
type Lock struct {
	s  Scheduler
	mu sync.Mutex
	// GUARDED_BY(mu)
	held bool
	// GUARDED_BY(mu)
	queue []Event
}

// NewLock makes a free lock whose waiters wait through s.
func NewLock(s Scheduler) *Lock { return &Lock{s: s} }

// Lock returns nil once the caller holds the lock, or ctx.Err().
func (l *Lock) Lock(ctx context.Context) error {
	l.mu.Lock()
	if !l.held {
		l.held = true
		l.mu.Unlock()
		return nil
	}
	e := l.s.NewEvent()
	l.queue = append(l.queue, e)
	l.mu.Unlock()
	err := e.Wait(ctx)
	if err == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, q := range l.queue {
		if q == e {
			l.queue = append(l.queue[:i], l.queue[i+1:]...)
			return err
		}
	}
	l.passOn() // granted while giving up
	return err
}

// TryLock takes the lock if it is free.
func (l *Lock) TryLock() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held {
		return false
	}
	l.held = true
	return true
}

// Unlock hands the lock to the first waiter. The caller must hold it.
func (l *Lock) Unlock() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.held {
		panic("sched: unlock of a free lock")
	}
	l.passOn()
}

func (l *Lock) passOn() {
	if len(l.queue) == 0 {
		l.held = false
		return
	}
	next := l.queue[0]
	l.queue = l.queue[1:]
	next.Set()
}
