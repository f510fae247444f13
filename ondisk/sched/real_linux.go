package sched

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Real is the Scheduler of production: goroutines, channels and CLOCK_BOOTTIME.
type Real struct{}

var _ Scheduler = Real{}

// Now reads CLOCK_BOOTTIME, which unlike Go's monotonic clock goes on while the host is suspended: a lease must
// not look fresh after a night in suspend.
func (Real) Now() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic("sched: CLOCK_BOOTTIME: " + err.Error()) // there since Linux 2.6.39
	}
	return time.Duration(ts.Nano())
}

// Wall is time.Now.
func (Real) Wall() time.Time { return time.Now() }

// Go starts a goroutine.
func (Real) Go(_ string, fn func()) { go fn() }

// AfterFunc is time.AfterFunc.
func (Real) AfterFunc(d time.Duration, fn func()) func() bool { return time.AfterFunc(d, fn).Stop }

// Sleep waits on a timer and ctx.
func (Real) Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// NewEvent makes an event on a channel.
func (Real) NewEvent() Event { return &realEvent{c: make(chan struct{})} }

type realEvent struct {
	once sync.Once
	c    chan struct{}
}

func (e *realEvent) Set() { e.once.Do(func() { close(e.c) }) }

func (e *realEvent) IsSet() bool {
	select {
	case <-e.c:
		return true
	default:
		return false
	}
}

func (e *realEvent) Wait(ctx context.Context) error {
	select {
	case <-e.c:
		return nil
	default:
	}
	select {
	case <-e.c:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
