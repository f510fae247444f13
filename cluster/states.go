package cluster

import (
	"fmt"
	"sync"
	"time"
)

// stateKeeper holds the state of a node and tells of its changes, in order and one at a time.
type stateKeeper struct {
	cfg *Config
	mu  sync.Mutex
	// GUARDED_BY(mu)
	state State
	// GUARDED_BY(mu)
	reason Reason
	// GUARDED_BY(mu)
	since time.Duration
	// GUARDED_BY(mu)
	untold []func()
	// GUARDED_BY(mu)
	telling bool
}

func (k *stateKeeper) init(cfg *Config) { k.cfg, k.since = cfg, cfg.Sched.Now() }

func (k *stateKeeper) get() (State, Reason, time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.state, k.reason, k.since
}

// set changes the state; it reports false, and changes nothing, if the present state is final. Active and Paused
// follow from Joining and each other only.
func (k *stateKeeper) set(s State, why Reason) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.state >= StateLeft || (s <= StatePaused && k.state > StatePaused) {
		return false
	}
	if k.state == s && k.reason == why {
		return true
	}
	k.state, k.reason, k.since = s, why, k.cfg.Sched.Now()
	k.untold = append(k.untold, func() { k.cfg.OnState(s, why) })
	if !k.telling {
		k.telling = true
		k.cfg.Sched.Go("cluster state", k.tell)
	}
	return true
}

func (k *stateKeeper) tell() {
	for {
		k.mu.Lock()
		if len(k.untold) == 0 {
			k.telling = false
			k.mu.Unlock()
			return
		}
		f := k.untold[0]
		k.untold = k.untold[1:]
		k.mu.Unlock()
		f()
	}
}

// runClock notices what only time tells: a lease without room, and a process that did not run.
func (n *Node) runClock() {
	p := n.cfg.Super.Profile
	last := n.cfg.Sched.Now()
	for n.ctx.Err() == nil {
		if n.cfg.Sched.Sleep(n.ctx, p.Heartbeat/2) != nil {
			return
		}
		now := n.cfg.Sched.Now()
		n.checkLease(now, now-last)
		last = now
	}
}

// checkLease moves between active and paused. gap is how long this process did not look at the clock: one that was
// suspended or starved is paused like one whose storage was away, and goes on like it when a renewal shows that nobody
// has taken it for dead.
func (n *Node) checkLease(now, gap time.Duration) {
	switch s, _, _ := n.state.get(); {
	case s == StateActive && !n.gate.Open() && gap > n.cfg.Super.Profile.Lease:
		n.state.set(StatePaused, Reason{CauseSuspended, fmt.Sprintf("this process did not run for %v", gap.Round(time.Millisecond))})
	case s == StateActive && !n.gate.Open():
		n.state.set(StatePaused, Reason{CauseStorage, n.whyLate(now)})
	case s == StatePaused && n.gate.Open():
		n.state.set(StateActive, Reason{})
	}
}

func (n *Node) whyLate(now time.Duration) string {
	n.mu.Lock()
	r := n.renewer
	n.mu.Unlock()
	last, err := r.health()
	text := fmt.Sprintf("no heartbeat written for %v", (now - last).Round(time.Millisecond))
	if err != nil {
		text += ": " + err.Error()
	}
	return text
}
