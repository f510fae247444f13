// Package sched is the only source of time, goroutines and waiting for code that a simulator must replay.
//
// fs, journal, dlm and cluster never call time.Now, never write "go", never select on a channel. They are given
// a Scheduler and use it instead: in production [Real] maps it on the runtime, in simulation one seeded scheduler
// runs one procedure at a time and switches only inside Event.Wait, Sleep, a device or a transport.
//
// Rules for the callers:
//   - A sync.Mutex may guard short sections, but must never be held across Event.Wait, Sleep, Device I/O or
//     Transport.Send: under simulation whoever else wants it would stop the world.
//   - Long exclusive sections use [Lock], which waits through an Event.
//   - Iteration over a map must not decide anything that reaches disk or wire; sort the keys first.
package sched

import (
	"context"
	"time"
)

// Scheduler hands out time, procedures and waiting.
type Scheduler interface {
	// Now is the time since an arbitrary origin that never steps back and, on Linux, goes on in suspend
	// (CLOCK_BOOTTIME). Only differences mean anything.
	Now() time.Duration
	// Wall is the calendar time, for timestamps of files and logs only; it may step.
	Wall() time.Time
	// Go runs fn as a procedure of its own; name appears in traces and dumps.
	Go(name string, fn func())
	// AfterFunc runs fn as a procedure of its own once d has passed. stop reports whether it prevented that.
	AfterFunc(d time.Duration, fn func()) (stop func() bool)
	// Sleep returns after d, or with ctx.Err() if ctx ends first.
	Sleep(ctx context.Context, d time.Duration) error
	// NewEvent makes a one-shot event that is not set.
	NewEvent() Event
}

// Event is set once and stays set. Any number of procedures may wait for it.
type Event interface {
	// Set wakes all who wait; a second Set does nothing. It never blocks.
	Set()
	// IsSet reports whether Set has been called.
	IsSet() bool
	// Wait returns nil once the event is set, or ctx.Err() if ctx ends first.
	Wait(ctx context.Context) error
}
