package dlm

import (
	"time"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/dlm/wire"
)

// Core is the whole lock manager of one node as a function of its events: user of locks, master of some
// resources, keeper of a share of the directory. It does no I/O, reads no clock and starts nothing; equal events
// in equal order give equal effects. It must not be used by two procedures at once.
type Core struct {
	id   view.NodeID
	now  time.Duration
	out  []Effect
	loop []wire.Message // to itself, delivered before Step returns

	view    view.View
	stopped bool
	leaving bool
	left    bool

	sessions []*session // ascending slots
	early    []EvFrame

	locks   map[Resource]*lock
	cache   masterCache
	req     uint64
	retries []retry

	masters map[Resource]*master

	dir    map[Resource]*entry
	floor  uint64 // highest token of a mastership that ended in this share of the directory
	parked []parkedLookup

	rebuild rebuild

	armed time.Duration // time of the EffTimer that is out; 0: none
	stats Stats
}

// NewCore makes the lock manager of one life of a node. Requests wait until the first EvView.
func NewCore(id view.NodeID) *Core {
	return &Core{
		id:      id,
		locks:   map[Resource]*lock{},
		masters: map[Resource]*master{},
		dir:     map[Resource]*entry{},
	}
}

// Step takes one event in and appends what must be done to out. now never steps back.
func (c *Core) Step(now time.Duration, ev Event, out []Effect) []Effect {
	c.now, c.out = now, out
	switch ev := ev.(type) {
	case EvLock:
		c.lockRequested(ev)
	case EvStop:
		c.stop()
	default:
		if !c.stopped {
			c.step(ev)
		}
	}
	c.drain()
	if !c.stopped {
		c.checkLeft()
		c.arm()
	}
	out = c.out
	c.out = nil
	return out
}

func (c *Core) step(ev Event) {
	switch ev := ev.(type) {
	case EvCancel:
		c.cancelRequested(ev)
	case EvDowngrade:
		c.downgradeRequested(ev)
	case EvFrame:
		c.receive(ev.From, ev.Data)
	case EvView:
		c.setView(ev.View)
	case EvLeave:
		c.leave()
	case EvTimer:
		c.armed = 0
		c.sessionTimers()
		c.retryTimers()
	}
}

func (c *Core) effect(e Effect) { c.out = append(c.out, e) }

// drain delivers what the node has to say to itself.
func (c *Core) drain() {
	for len(c.loop) > 0 && !c.stopped {
		m := c.loop[0]
		c.loop = c.loop[1:]
		c.deliver(c.id, m)
	}
}

// send passes m to a member, this node included. What is meant for others is lost.
func (c *Core) send(to view.NodeID, m wire.Message) {
	if to == c.id {
		c.loop = append(c.loop, m)
		return
	}
	s := c.session(to)
	if s == nil {
		return
	}
	c.stats.Sent[m.Kind()]++
	c.sendOn(s, wire.Append(nil, m))
}

// deliver dispatches a message from a member of the view. Those that name an epoch count in that epoch only.
func (c *Core) deliver(from view.NodeID, m wire.Message) {
	switch m := m.(type) {
	case *wire.Lookup:
		c.onLookup(from, m)
	case *wire.Master:
		c.onMaster(from, m)
	case *wire.Drop:
		c.onDrop(from, m)
	case *wire.Request:
		c.onRequest(from, m)
	case *wire.Grant:
		c.onGrant(from, m)
	case *wire.Deny:
		c.onDeny(from, m)
	case *wire.Cancel:
		c.onCancel(from, m)
	case *wire.Release:
		c.onRelease(from, m)
	case *wire.Blocking:
		c.onBlocking(m)
	case *wire.Register:
		c.onRegister(from, m)
	case *wire.Markers:
		c.onMarkers(m)
	case *wire.Claims:
		c.onClaims(from, m)
	case *wire.Ready:
		c.onReady(from, m)
	case *wire.Done:
		c.onDone(from, m)
	}
}

// arm asks for the next timer if none that is out comes early enough.
func (c *Core) arm() {
	var at time.Duration
	sooner := func(t time.Duration) {
		if t != 0 && (at == 0 || t < at) {
			at = t
		}
	}
	for _, s := range c.sessions {
		sooner(s.deadline())
	}
	for _, r := range c.retries {
		sooner(r.at)
	}
	if at != 0 && (c.armed == 0 || at < c.armed) {
		c.armed = at
		c.effect(EffTimer{At: at})
	}
}

// stop refuses every request and forgets the peers.
func (c *Core) stop() {
	if c.stopped {
		return
	}
	c.stopped = true
	for _, r := range sortedKeys(c.locks) {
		for _, q := range c.locks[r].queue {
			c.effect(EffRefuse{ID: q.id, Res: r, Err: ErrStopped})
		}
		c.locks[r].queue = nil
	}
	c.sessions, c.early, c.loop = nil, nil, nil
}

// leave gives up everything that is held and takes no new requests.
func (c *Core) leave() {
	if c.leaving {
		return
	}
	c.leaving = true
	for _, r := range sortedKeys(c.locks) {
		l := c.locks[r]
		for len(l.queue) > 0 {
			c.withdraw(l, l.queue[0], ErrStopped)
		}
		if l.mode != NL {
			c.lower(l, NL, nil)
		}
		c.forget(l)
	}
}

func (c *Core) checkLeft() {
	if !c.leaving || c.left || len(c.locks) > 0 {
		return
	}
	for _, s := range c.sessions {
		if len(s.out) > 0 {
			return
		}
	}
	c.left = true
	c.effect(EffLeft{})
}
