package cluster

import (
	"fmt"
	"sync"
	"time"

	"github.com/covol/covol/cluster/view"
)

// stateKeeper holds the state of a node and tells of its changes.
type stateKeeper struct {
	cfg *Config
	mu  sync.Mutex
	// GUARDED_BY(mu)
	state State
	// GUARDED_BY(mu)
	reason Reason
	// GUARDED_BY(mu)
	since time.Duration
	tell  teller
}

func (k *stateKeeper) init(cfg *Config) {
	k.cfg, k.since = cfg, cfg.Sched.Now()
	k.tell.s, k.tell.name = cfg.Sched, "cluster state"
}

func (k *stateKeeper) get() (State, Reason, time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.state, k.reason, k.since
}

// set changes the state; ok is false, and nothing changed, if the present state is final. Active, Stalled and Paused
// follow from Joining and each other only.
func (k *stateKeeper) set(s State, why Reason) (before State, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	before = k.state
	if before.Final() || (s <= StatePaused && before > StatePaused) {
		return before, false
	}
	if before == s && k.reason == why {
		return before, true
	}
	if before != s {
		k.since = k.cfg.Sched.Now()
	}
	k.state, k.reason = s, why
	k.tell.say(func() { k.cfg.OnState(s, why) })
	return before, true
}

// setState changes the state and makes the event of it.
func (n *Node) setState(s State, why Reason) bool {
	before, ok := n.state.set(s, why)
	if !ok || before == s {
		return ok
	}
	ev := Event{Text: why.String()}
	switch {
	case s == StateActive && (before == StatePaused || before == StateStalled):
		ev.Kind, ev.Text = EventResumed, ""
	case s == StateActive:
		ev.Kind, ev.Text = EventJoined, ""
	case s == StatePaused:
		ev.Kind = EventPaused
	case s == StateStalled:
		ev.Kind = EventStalled
	case s == StateLeft:
		ev.Kind = EventLeft
	case s == StateWithdrawn:
		ev.Kind = EventWithdrawn
	case s == StateFenced:
		ev.Kind = EventFenced
	default:
		return ok
	}
	n.mu.Lock()
	ev.Node, ev.Slot, ev.Epoch = n.cfg.Name, n.core.id.Slot, view.Epoch(n.core.seen)
	n.mu.Unlock()
	n.emit(ev)
	return ok
}

// emit tells of ev. It never blocks.
func (n *Node) emit(ev Event) {
	ev.At, ev.Wall = n.cfg.Sched.Now(), n.cfg.Sched.Wall()
	if n.cfg.OnEvent != nil {
		n.news.say(func() { n.cfg.OnEvent(ev) })
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

// checkLease moves between active, stalled and paused. gap is how long this process did not look at the clock: one that was
// suspended or starved is paused like one whose storage was away, and goes on like it when a renewal shows that nobody
// has taken it for dead.
func (n *Node) checkLease(now, gap time.Duration) {
	p := n.cfg.Super.Profile
	stalled, room := n.checkStall(now, gap), n.gate.covers(n.gate.margin)
	switch s, _, _ := n.state.get(); {
	case s != StateActive && s != StateStalled && s != StatePaused:
	case !room && s != StatePaused && gap > p.Lease:
		n.setState(StatePaused, Reason{CauseSuspended, fmt.Sprintf("this process did not run for %v", gap.Round(time.Millisecond))})
	case !room && s != StatePaused:
		n.setState(StatePaused, Reason{CauseStorage, n.whyLate(now)})
	case room && !stalled && s != StateActive:
		n.setState(StateActive, Reason{})
	case room && stalled && s != StateStalled:
		n.cfg.Log.Warn("the storage stalls", "node", n.cfg.Name, "bound", p.IOBound)
		n.setState(StateStalled, Reason{CauseStalled, fmt.Sprintf("I/O in flight for longer than the bound of %v, heartbeats get through: the storage stalls", p.IOBound)})
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
	if stalled := n.gate.stalled(now, n.cfg.Super.Profile.IOBound); stalled > 0 {
		text += fmt.Sprintf("; I/O in flight for %v", stalled.Round(time.Millisecond))
	}
	return text
}
