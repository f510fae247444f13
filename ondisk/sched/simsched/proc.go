package simsched

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
)

// proc is one procedure.
type proc struct {
	id    uint64
	name  string
	fn    func()
	baton chan struct{}
	begun bool
	wait  *wait // nil while runnable or running
}

// wait is one time a procedure waits.
type wait struct {
	p     *proc
	what  string
	ctx   context.Context
	woken bool
	ctxs  []*simContext // that wake it
	event *event        // that wakes it, or nil
	where [6]uintptr
	depth int
}

func (s *Scheduler) spawn(name string, fn func()) {
	s.seq++
	p := &proc{id: s.seq, name: name, fn: fn, baton: make(chan struct{})}
	s.procs[p.id] = p
	s.runnable = append(s.runnable, p)
}

// newWait prepares for the current procedure to wait. It panics outside of procedures.
func (s *Scheduler) newWait(what string, ctx context.Context) *wait {
	if s.current == nil {
		s.mu.Unlock() // for the deferred one, and so that the panic can be recovered from
		defer s.mu.Lock()
		panic("simsched: " + what + " outside of a procedure")
	}
	w := &wait{p: s.current, what: what, ctx: ctx}
	w.depth = runtime.Callers(3, w.where[:])
	for c := find(ctx); c != nil; c = find(c.parent) {
		c.waits = append(c.waits, w)
		w.ctxs = append(w.ctxs, c)
	}
	return w
}

// park gives the baton back and returns when the procedure has it again, or ends its goroutine if the scheduler
// has stopped. mu is held before and after; the caller must have deferred Unlock.
func (s *Scheduler) park(w *wait) {
	p := w.p
	if s.stopped {
		runtime.Goexit() // runs the caller's deferred Unlock
	}
	p.wait = w
	s.mu.Unlock()
	s.baton <- struct{}{}
	<-p.baton
	s.mu.Lock()
	p.wait = nil
	for _, c := range w.ctxs {
		c.waits = slices.DeleteFunc(c.waits, func(o *wait) bool { return o == w })
	}
	if w.event != nil {
		w.event.waits = slices.DeleteFunc(w.event.waits, func(o *wait) bool { return o == w })
	}
	if s.stopped {
		runtime.Goexit() // runs the caller's deferred Unlock
	}
}

// wake makes a waiting procedure runnable.
func (s *Scheduler) wake(w *wait) {
	if !w.woken {
		w.woken = true
		s.runnable = append(s.runnable, w.p)
	}
}

// body is the goroutine of a procedure.
func (s *Scheduler) body(p *proc) {
	returned := false
	defer func() {
		r := recover()
		s.mu.Lock()
		switch {
		case r != nil:
			s.failure = &PanicError{Name: p.name, Value: r, Stack: string(debug.Stack())}
		case !returned && !s.stopped:
			s.failure = fmt.Errorf("procedure %q left by runtime.Goexit (a test's FailNow?)", p.name)
		}
		delete(s.procs, p.id)
		s.mu.Unlock()
		s.baton <- struct{}{}
	}()
	p.fn()
	returned = true
}

// PanicError is what Run panics with when a procedure did.
type PanicError struct {
	Name  string
	Value any
	Stack string
}

func (e *PanicError) Error() string {
	return fmt.Sprintf("procedure %q: panic: %v\n%s", e.Name, e.Value, e.Stack)
}

// describe says what p waits for and where.
func (p *proc) describe() string {
	if p.wait == nil {
		return fmt.Sprintf("%q is runnable", p.name)
	}
	var calls []string
	frames := runtime.CallersFrames(p.wait.where[:p.wait.depth])
	for {
		f, more := frames.Next()
		if f.Function != "" && !strings.Contains(f.Function, "simsched.(*Scheduler).body") {
			calls = append(calls, fmt.Sprintf("%s:%d", f.Function[strings.LastIndex(f.Function, "/")+1:], f.Line))
		}
		if !more {
			break
		}
	}
	return fmt.Sprintf("%q waits in %s: %s", p.name, p.wait.what, strings.Join(calls, " < "))
}
