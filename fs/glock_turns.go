package fs

import (
	"context"
	"time"

	"github.com/covol/covol/dlm"
)

// pump lets in who can be let in, and starts what must be started. It holds g.mu and never waits.
func (g *glock) pump() {
	if len(g.waiters) == 0 && !g.demanded {
		return
	}
	for i := 0; i < len(g.waiters); {
		w := g.waiters[i]
		switch {
		case g.err != nil:
			w.err = g.err
		case g.admits(w.use, w.page) && (i == 0 || w.page):
			g.admit(w.use, w.page)
			w.ok = true
		default:
			i++
			continue
		}
		g.waiters = append(g.waiters[:i], g.waiters[i+1:]...)
		w.ev.Set()
	}
	if g.err != nil || g.working {
		return
	}
	if g.demanded && g.phase == phaseOpen {
		g.considerDemand()
	}
	if g.phase == phaseDraining && g.drained() {
		g.working = true
		to := g.demandTo
		g.t.sched.Go("glock demote", func() { g.demote(to) })
		return
	}
	if len(g.waiters) > 0 && g.phase == phaseOpen && g.mode < g.waiters[0].use.mode() {
		g.working = true
		want := g.waiters[0].use.mode()
		g.t.sched.Go("glock acquire", func() { g.acquire(want) })
	}
}

// drained reports whether nobody is left who needs more than what may be kept.
func (g *glock) drained() bool {
	if g.excl || g.writers > 0 {
		return false
	}
	return g.demandTo == dlm.PR || g.shared == g.pageUsers
}

// acquire asks the cluster for want and lets the waiters in.
func (g *glock) acquire(want dlm.Mode) {
	ctx := context.Background()
	grant, err := g.t.lm.Lock(ctx, g.res, want, dlm.Options{})
	g.mu.Lock()
	defer g.mu.Unlock()
	g.working = false
	switch {
	case err == nil:
		g.granted(grant)
	case isDeadlock(err):
		// Another holder of PR wants EX as well and came first: step back to NL, then ask anew.
		g.demanded, g.demandTo, g.phase = true, dlm.NL, phaseDraining
	default:
		g.fail(err)
	}
	g.pump()
}

func (g *glock) granted(grant dlm.Grant) {
	now := g.t.sched.Now()
	g.mode = grant.Mode
	g.grantedAt = now
}

// demand is the blocking callback: another node wants want.
func (g *glock) demand(want dlm.Mode) {
	to := dlm.NL
	if want <= dlm.PR {
		to = dlm.PR
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err != nil || (g.mode <= to && !g.working) {
		return
	}
	if !g.demanded {
		g.adaptHold()
	}
	if !g.demanded || to < g.demandTo {
		g.demandTo = to
	}
	g.demanded = true
	g.pump()
}

// Bounds of the hold time. Nodes that keep taking a lock from each other get longer turns, all of the same length, so
// that work is done between two hand-overs; a lock that is asked for long after it was granted is given at once.
const (
	minHold   = 10 * time.Millisecond
	maxHold   = 100 * time.Millisecond
	contentIn = 250 * time.Millisecond // asked for within this of the grant: contended
	tickEvery = time.Millisecond       // how often a lock that is kept is looked at for use
)

// adaptHold sets the hold time when somebody begins to ask. It holds g.mu.
func (g *glock) adaptHold() {
	if g.t.sched.Now()-g.grantedAt > contentIn {
		g.hold = 0
		return
	}
	g.hold = min(max(2*g.hold, minHold), maxHold)
}

// considerDemand lets the demotion begin, or starts a timer if the lock may still be kept. It holds g.mu.
func (g *glock) considerDemand() {
	switch {
	case g.mode <= g.demandTo:
		g.demanded = false
	case g.ticking:
	case g.t.sched.Now() >= g.grantedAt+g.hold:
		g.phase = phaseDraining
	default:
		g.tick()
	}
}

// tick looks again after a while whether the lock may be given away: it is when its hold time is over, or when nobody
// used it since the last look. It holds g.mu.
func (g *glock) tick() {
	g.ticking = true
	g.usesSeen = g.uses
	g.t.sched.AfterFunc(tickEvery, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.ticking = false
		if g.uses == g.usesSeen {
			g.grantedAt -= g.hold
		}
		g.pump()
	})
}
