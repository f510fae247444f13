package simsched

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// DeadlockError says that nothing can ever happen again although procedures wait.
type DeadlockError struct {
	Now    time.Duration
	Parked []string // what each waits for, in the order they were started
}

func (e *DeadlockError) Error() string {
	return fmt.Sprintf("deadlock at %v: %d procedures wait and no timer is set\n\t%s", e.Now, len(e.Parked),
		strings.Join(e.Parked, "\n\t"))
}

// Run runs procedures and moves time until virtual time until is over, or all procedures have ended and no timer
// is left. It returns a *DeadlockError if procedures wait and nothing is left to wake them, and an error if one
// left by runtime.Goexit. If a procedure panics, Run panics with a *PanicError. Unless all ended early, Now is
// until afterwards, and a later Run goes on. After Stop it does nothing.
func (s *Scheduler) Run(until time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.stopped {
		if len(s.runnable) > 0 {
			if err := s.step(); err != nil {
				return err
			}
			continue
		}
		if s.fireNext(until) {
			continue
		}
		if len(s.timers) > 0 {
			s.now = max(s.now, until)
			return nil
		}
		if len(s.procs) > 0 {
			return &DeadlockError{Now: s.now, Parked: s.parked()}
		}
		return nil
	}
	return nil
}

// step hands the baton to one runnable procedure and takes it back.
func (s *Scheduler) step() error {
	i := s.rng.IntN(len(s.runnable))
	p := s.runnable[i]
	last := len(s.runnable) - 1
	s.runnable[i] = s.runnable[last]
	s.runnable[last] = nil
	s.runnable = s.runnable[:last]
	s.note(p)
	s.resume(p)
	err := s.failure
	s.failure = nil
	if bad, ok := err.(*PanicError); ok {
		panic(bad)
	}
	return err
}

// note puts the switch to p into the hash.
func (s *Scheduler) note(p *proc) {
	s.switches++
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:], uint64(s.now))
	binary.LittleEndian.PutUint64(b[8:], p.id)
	_, _ = s.trace.Write(b[:]) // a hash never fails
	if s.log != nil {
		s.log(Switch{Now: s.now, Name: p.name, N: s.switches})
	}
}

// resume lets p run until it waits or ends. mu is held before and after.
func (s *Scheduler) resume(p *proc) {
	s.current = p
	begun := p.begun
	p.begun = true
	s.mu.Unlock()
	if begun {
		p.baton <- struct{}{}
	} else {
		go s.body(p)
	}
	s.stall.Reset(StallAfter)
	select {
	case <-s.baton:
		s.stall.Stop()
	case <-s.stall.C:
		panic(fmt.Sprintf("simsched: procedure %q has kept the baton for %v: it blocks outside the scheduler or "+
			"never waits", p.name, StallAfter))
	}
	s.mu.Lock()
	s.current = nil
}

func (s *Scheduler) parked() []string {
	var all []string
	for _, id := range slices.Sorted(maps.Keys(s.procs)) {
		all = append(all, s.procs[id].describe())
	}
	return all
}

// Parked says what each procedure that has not ended waits for.
func (s *Scheduler) Parked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.parked()
}

// Stop ends the simulation: procedures that wait leave by runtime.Goexit, one after the other, running what they
// deferred; those that have not begun never do, and Go starts no more. Tests call it in a cleanup so that no
// goroutine and nothing it holds stays behind. It must not be called by a procedure.
func (s *Scheduler) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	s.drop()
	for _, id := range slices.Sorted(maps.Keys(s.procs)) {
		p := s.procs[id]
		if p.begun {
			s.resume(p)
		}
		delete(s.procs, id)
	}
	s.drop() // what deferred calls have left
	if bad, ok := s.failure.(*PanicError); ok {
		panic(bad)
	}
}

// drop forgets everything that would happen.
func (s *Scheduler) drop() {
	for _, t := range s.timers {
		t.index = -1
	}
	s.runnable, s.timers = nil, nil
}
