package cluster

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/sched"
)

// Gate admits the I/O of one node while its lease lasts. Every write of a mounted node passes it; the heartbeat alone
// does not.
//
// A write is admitted while now + margin <= deadline. The margin is D, so that a write that keeps the bound of one I/O
// is over before the lease ends; see gateMargin. A read is admitted while now <= deadline: a node that may have been
// taken for dead must not show metadata that others are changing. What is not admitted waits until the lease is renewed,
// or fails once it is lost for good. While an operation is overdue writes wait too: the path has broken the bound that
// they count on.
type Gate struct {
	s      sched.Scheduler
	margin time.Duration // of writes

	deadline atomic.Int64 // ns of s.Now; math.MinInt64 before the first renewal
	closed   atomic.Bool
	held     atomic.Bool  // writes wait: what is in flight is overdue
	inflight atomic.Int64 // admitted and not finished
	waiting  atomic.Int64
	flights  flights

	mu sync.Mutex
	// GUARDED_BY(mu): set at the next change of deadline or closed
	change sched.Event
	// GUARDED_BY(mu): set when closed and nothing is in flight
	drained sched.Event
	// GUARDED_BY(mu): what waiters get once closed
	err error
}

// gateMargin is D, but no more than leaves the gate open over two missed heartbeats: with the san profile L is D. W has
// a whole D beyond the end of the lease, so a write that was admitted at its very end would still be over in time.
func gateMargin(p ondisk.Profile) time.Duration {
	return max(0, min(p.IOBound, p.Lease-3*p.Heartbeat))
}

func newGate(s sched.Scheduler, margin time.Duration) *Gate {
	g := &Gate{s: s, margin: margin, change: s.NewEvent(), drained: s.NewEvent()}
	g.deadline.Store(math.MinInt64)
	return g
}

// Deadline is when the lease ends, as Scheduler.Now; ok is false before the first renewal.
func (g *Gate) Deadline() (at time.Duration, ok bool) {
	d := g.deadline.Load()
	return time.Duration(d), d != math.MinInt64
}

// Open reports whether a write would be admitted now.
func (g *Gate) Open() bool { return g.admits(true) }

// Waiting is how many operations wait for the lease.
func (g *Gate) Waiting() int { return int(g.waiting.Load()) }

// InFlight is how many operations have been admitted and are not over.
func (g *Gate) InFlight() int { return int(g.inflight.Load()) }

func (g *Gate) covers(margin time.Duration) bool {
	return int64(g.s.Now()+margin) <= g.deadline.Load()
}

// admits reports whether an operation that is counted already may begin now.
func (g *Gate) admits(write bool) bool {
	if write {
		return !g.closed.Load() && !g.held.Load() && g.covers(g.margin)
	}
	return !g.closed.Load() && g.covers(0)
}

// try admits an operation or not. The order, count first and look then, is what close relies on.
func (g *Gate) try(write bool) (admitted, bool) {
	a := admitted{g, g.flights.begin()}
	g.inflight.Add(1)
	if g.admits(write) {
		return a, true
	}
	a.leave()
	return admitted{}, false
}

// admitted is an operation that the gate has let through and that is not over.
type admitted struct {
	g    *Gate
	span int
}

// enter returns once the operation is admitted; the caller must leave when it is over. After an error it never begins.
func (g *Gate) enter(ctx context.Context, write bool) (admitted, error) {
	if a, ok := g.try(write); ok {
		return a, nil
	}
	g.waiting.Add(1)
	defer g.waiting.Add(-1)
	for {
		change, err := g.next()
		if err != nil {
			return admitted{}, err
		}
		if a, ok := g.try(write); ok { // the change may have come before next
			return a, nil
		}
		if err := change.Wait(ctx); err != nil {
			return admitted{}, err
		}
	}
}

// next is the event of the next change, or the error of a closed gate.
func (g *Gate) next() (sched.Event, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.change, g.err
}

func (a admitted) leave() {
	g := a.g
	g.flights.end(a.span)
	if g.inflight.Add(-1) == 0 && g.closed.Load() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.drained.Set()
	}
}

// extend moves the deadline forward; it never moves it back. A closed gate stays closed, but a node that is leaving
// needs its lease until the view lists it no more.
func (g *Gate) extend(deadline time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if int64(deadline) <= g.deadline.Load() {
		return
	}
	g.deadline.Store(int64(deadline))
	g.changed()
}

// changed lets those who wait look again. Call it with mu held.
func (g *Gate) changed() {
	g.change.Set()
	g.change = g.s.NewEvent()
}

// hold makes writes wait, or lets them go on.
func (g *Gate) hold(on bool) {
	if g.held.Swap(on) && !on {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.err == nil {
			g.changed()
		}
	}
}

// close takes the gate for good: who waits and who comes fails with err, wrapped in nothing. The first err stays.
func (g *Gate) close(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err != nil {
		return
	}
	g.err = err
	g.closed.Store(true)
	g.change.Set()
	if g.inflight.Load() == 0 {
		g.drained.Set()
	}
}

// lost is what all I/O fails with once the gate is closed, nil before.
func (g *Gate) lost() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.err
}

// stalled is how long at least the oldest operation has been in flight if that is more than bound, else 0. Call it from
// the clock only.
func (g *Gate) stalled(now, bound time.Duration) time.Duration {
	g.flights.turn(now, bound/2)
	return g.flights.overdue(now, bound)
}

// drain returns nil once the gate is closed and nothing that it admitted is in flight.
func (g *Gate) drain(ctx context.Context) error { return g.drained.Wait(ctx) }

// Wrap puts the gate before dev. The result has the optional interfaces of dev that a filesystem uses:
// CompareAndWriter and Submitter.
func (g *Gate) Wrap(dev blockdev.Device) blockdev.Device {
	d := gated{g, dev}
	c, caw := dev.(blockdev.CompareAndWriter)
	s, sub := dev.(blockdev.Submitter)
	switch {
	case caw && sub:
		return struct {
			gated
			gatedCompare
			gatedSubmit
		}{d, gatedCompare{g, c}, gatedSubmit{g, s}}
	case caw:
		return struct {
			gated
			gatedCompare
		}{d, gatedCompare{g, c}}
	case sub:
		return struct {
			gated
			gatedSubmit
		}{d, gatedSubmit{g, s}}
	}
	return d
}
