package simsched

import (
	"context"
	"time"
)

// simContext is a context whose end wakes procedures. It implements what package context asks of contexts that
// want to end their children at once (AfterFunc), so that those derived by the standard library end with it.
type simContext struct {
	s        *Scheduler
	parent   context.Context
	deadline time.Time
	done     chan struct{}
	// GUARDED_BY(s.mu)
	err error
	// GUARDED_BY(s.mu)
	waits []*wait
	// GUARDED_BY(s.mu), by order of registration
	after []*afterEnd
	timer *timer
	unreg func() bool // from the parent
}

type afterEnd struct{ fn func() }

type simKey struct{}

// find returns the nearest simContext that ctx derives from, nil if there is none.
func find(ctx context.Context) *simContext {
	c, _ := ctx.Value(simKey{}).(*simContext)
	return c
}

// WithCancel is context.WithCancel for procedures: the end of the returned context, by cancel or with its parent,
// wakes those that wait with it. The parent should be one of this package, or one that never ends.
func (s *Scheduler) WithCancel(parent context.Context) (context.Context, context.CancelFunc) {
	c := s.newContext(parent)
	return c, func() { c.end(context.Canceled) }
}

// WithTimeout ends the context after d of virtual time with context.DeadlineExceeded.
func (s *Scheduler) WithTimeout(parent context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	c := s.newContext(parent)
	s.mu.Lock()
	c.deadline = epoch.Add(s.now + d)
	if up, ok := parent.Deadline(); ok && up.Before(c.deadline) {
		c.deadline = up
	}
	// The timer fires with mu held, and what hangs on the context may want it.
	c.timer = s.addTimer(d, func() { s.spawn("deadline", func() { c.end(context.DeadlineExceeded) }) })
	s.mu.Unlock()
	return c, func() { c.end(context.Canceled) }
}

func (s *Scheduler) newContext(parent context.Context) *simContext {
	c := &simContext{s: s, parent: parent, done: make(chan struct{})}
	if up := find(parent); up != nil {
		unreg := up.AfterFunc(func() { c.end(up.Err()) })
		s.mu.Lock()
		c.unreg = unreg
		s.mu.Unlock()
	}
	return c
}

// end ends the context, once, and wakes who waits.
func (c *simContext) end(err error) {
	c.s.mu.Lock()
	if c.err != nil {
		c.s.mu.Unlock()
		return
	}
	c.err = err
	close(c.done)
	if c.timer != nil {
		c.s.removeTimer(c.timer)
	}
	for _, w := range c.waits {
		c.s.wake(w)
	}
	after, unreg := c.after, c.unreg
	c.after = nil
	c.s.mu.Unlock()
	for _, a := range after {
		a.fn()
	}
	if unreg != nil {
		unreg()
	}
}

// Deadline is in the calendar of Scheduler.Wall.
func (c *simContext) Deadline() (time.Time, bool) {
	if c.deadline.IsZero() {
		return c.parent.Deadline()
	}
	return c.deadline, true
}

func (c *simContext) Done() <-chan struct{} { return c.done }

// Err is called with mu held by waits and without by everyone else, so it looks at the channel, not at err, first.
func (c *simContext) Err() error {
	select {
	case <-c.done:
		return c.err // written before the channel was closed, and never again
	default:
		return c.parent.Err()
	}
}

func (c *simContext) Value(key any) any {
	if key == (simKey{}) {
		return c
	}
	return c.parent.Value(key)
}

// AfterFunc calls fn when the context ends, from whoever ends it. Package context uses it to hook up children.
func (c *simContext) AfterFunc(fn func()) (stop func() bool) {
	c.s.mu.Lock()
	if c.err != nil {
		c.s.mu.Unlock()
		fn()
		return func() bool { return false }
	}
	a := &afterEnd{fn}
	c.after = append(c.after, a)
	c.s.mu.Unlock()
	return func() bool {
		c.s.mu.Lock()
		defer c.s.mu.Unlock()
		for i, o := range c.after {
			if o == a {
				c.after = append(c.after[:i:i], c.after[i+1:]...)
				return true
			}
		}
		return false
	}
}
