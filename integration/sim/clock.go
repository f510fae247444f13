package sim

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/covol/covol/ondisk/sched"
	"github.com/covol/covol/ondisk/sched/simsched"
)

var background = context.Background()

// clock is the scheduler as one process sees it. Its time may run at a pace of its own and jump ahead; a frozen process
// does not come back from any wait, a dead one never does.
type clock struct {
	base  *simsched.Scheduler
	pace  float64       // 1 is right
	ahead time.Duration // jumps so far
	// still keeps time from going on while frozen: not what CLOCK_BOOTTIME does, for a test that breaks the lease.
	still     bool
	stood     time.Duration
	until     time.Duration // frozen until then
	suspended time.Duration // how long timers stood still so far
	dead      bool
	// end lets a dead process wind down when the run is over.
	end sched.Event
}

var _ sched.Scheduler = (*clock)(nil)

func (c *clock) Now() time.Duration {
	return time.Duration(float64(c.base.Now())*c.pace) + c.ahead - c.stood
}

func (c *clock) Wall() time.Time { return c.base.Wall() }

func (c *clock) NewEvent() sched.Event { return &clockEvent{c.base.NewEvent(), c} }

func (c *clock) Go(name string, fn func()) {
	c.base.Go(name, func() { c.thaw(); fn() })
}

// real is how long d of this clock takes, not less: a timer that fired a rounding error too early would be set again for
// nothing, and again.
func (c *clock) real(d time.Duration) time.Duration {
	if c.pace == 1 || d <= 0 {
		return d
	}
	return time.Duration(float64(d)/c.pace) + 2
}

func (c *clock) AfterFunc(d time.Duration, fn func()) func() bool {
	due, begun := c.base.Now()+c.real(d), c.suspended
	var done atomic.Bool
	stop := c.base.AfterFunc(c.real(d), func() {
		_ = c.catchUp(background, due, begun)
		if done.Swap(true) {
			return
		}
		fn()
	})
	return func() bool {
		prevented := !done.Swap(true)
		stop()
		return prevented
	}
}

func (c *clock) Sleep(ctx context.Context, d time.Duration) error {
	due, begun := c.base.Now()+c.real(d), c.suspended
	err := c.base.Sleep(ctx, c.real(d))
	if err == nil {
		err = c.catchUp(ctx, due, begun)
	}
	c.thaw()
	return err
}

// catchUp sleeps what is left of a timer that was due at that time, and stood still for all suspends since begun.
func (c *clock) catchUp(ctx context.Context, due, begun time.Duration) error {
	c.thaw()
	for begun < c.suspended {
		due += c.suspended - begun
		begun = c.suspended
		if left := due - c.base.Now(); left > 0 {
			if err := c.base.Sleep(ctx, left); err != nil {
				return err
			}
		}
		c.thaw()
	}
	return nil
}

// freeze stops the process for d, as SIGSTOP does: timers go on.
func (c *clock) freeze(d time.Duration) {
	if c.still {
		c.stood += d
	}
	c.until = max(c.until, c.base.Now()+d)
}

// suspend stops the host for d: its timers stand still, its clock does not.
func (c *clock) suspend(d time.Duration) {
	c.suspended += d
	c.freeze(d)
}

func (c *clock) frozen() bool { return c.base.Now() < c.until }

// thaw returns when the process runs.
func (c *clock) thaw() {
	for {
		if c.dead {
			_ = c.end.Wait(background)
		}
		if c.end.IsSet() || !c.frozen() {
			return
		}
		_ = c.base.Sleep(background, c.until-c.base.Now())
	}
}

type clockEvent struct {
	sched.Event
	c *clock
}

func (e *clockEvent) Wait(ctx context.Context) error {
	err := e.Event.Wait(ctx)
	e.c.thaw()
	return err
}
