package dlm

import (
	"slices"
	"time"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/dlm/wire"
)

// lock is what this node holds of a resource, or wants of it.
//
// The master may believe that more is held, never less: told is raised by the arrival of a grant, which the master
// recorded before it sent it, and lowered when a release is sent, which the master sees before anything else that
// is sent later. So told, not mode, is what a claim reports to a new master.
type lock struct {
	res  Resource
	mode Mode // held, as the user above knows
	told Mode // held, as far as any master may believe

	token    uint64
	value    []byte
	valid    bool
	version  uint64 // token under which value was written
	written  bool   // value is newer than what the master was told
	wrote    bool   // value was written after asked was sent, so the answer may not know it
	answered uint64 // number of the last grant that arrived

	state  lockState
	master view.NodeID
	asked  asked
	queue  []localRequest // first come, first served; the first is in service
	tries  int
}

type lockState uint8

const (
	unknown  lockState = iota // the master is not known; nothing is held
	looking                   // a Lookup is out, or a retry of one is due
	settled                   // the master is known
	claiming                  // held under a master that is gone: claimed at the directory, waiting for a new one
)

// asked is the request that is at the master. Only one is at a time.
type asked struct {
	req       uint64 // 0: none
	want      Mode
	cancelled bool
}

type localRequest struct {
	id      uint64
	mode    Mode
	noQueue bool
	since   time.Duration
}

func (c *Core) lockRequested(ev EvLock) {
	if c.stopped || c.leaving {
		c.effect(EffRefuse{ID: ev.ID, Res: ev.Res, Err: ErrStopped})
		return
	}
	l := c.locks[ev.Res]
	if l != nil && l.mode.Covers(ev.Mode) {
		c.stats.LocalGrants++
		c.effect(EffGrant{ID: ev.ID, Res: ev.Res, Grant: l.grant()})
		return
	}
	if l == nil {
		l = &lock{res: ev.Res}
		if _, ok := c.masters[ev.Res]; ok {
			l.state, l.master = settled, c.id
		} else if m, ok := c.cache.take(ev.Res); ok {
			l.state, l.master = settled, m
		}
		c.locks[ev.Res] = l
	}
	if ev.NoQueue && (len(l.queue) > 0 || l.asked.req != 0 || l.state == looking) {
		c.effect(EffRefuse{ID: ev.ID, Res: ev.Res, Err: ErrBusy})
		return
	}
	l.queue = append(l.queue, localRequest{id: ev.ID, mode: ev.Mode, noQueue: ev.NoQueue, since: c.now})
	c.serve(l)
}

// serve does what can be done for the first request of l, and for those behind it.
func (c *Core) serve(l *lock) {
	for len(l.queue) > 0 && l.asked.req == 0 {
		q := l.queue[0]
		switch {
		case l.mode.Covers(q.mode):
			c.stats.LocalGrants++
			l.queue = l.queue[1:]
			c.effect(EffGrant{ID: q.id, Res: l.res, Grant: l.grant()})
			continue
		case q.noQueue && (c.view.Epoch == 0 || l.state == claiming):
			l.queue = l.queue[1:]
			c.effect(EffRefuse{ID: q.id, Res: l.res, Err: ErrBusy})
			continue
		case l.state == unknown && c.view.Epoch != 0:
			c.lookup(l)
		case l.state == settled:
			c.ask(l, q)
		}
		return
	}
	c.forget(l)
}

func (c *Core) ask(l *lock, q localRequest) {
	c.req++
	l.wrote = false
	l.asked = asked{req: c.req, want: l.mode.Union(q.mode)}
	c.send(l.master, &wire.Request{Res: l.res.wire(), Req: c.req, Want: uint8(l.asked.want), NoQueue: q.noQueue})
}

func (c *Core) lookup(l *lock) {
	l.state = looking
	noQueue := len(l.queue) > 0 && l.queue[0].noQueue
	c.send(c.keeper(l.res), &wire.Lookup{Epoch: c.view.Epoch, Res: l.res.wire(), NoQueue: noQueue})
}

func (l *lock) grant() Grant {
	g := Grant{Mode: l.mode, Token: l.token}
	if l.valid {
		g.Value, g.ValueValid = l.value, true
	}
	return g
}

// forget drops a lock that is not held, not wanted and about which no message is on its way.
func (c *Core) forget(l *lock) {
	if l.mode != NL || l.told != NL || l.asked.req != 0 || len(l.queue) > 0 || l.state == looking || l.state == claiming {
		return
	}
	if l.state == settled && l.master != c.id {
		c.cache.put(l.res, l.master)
	}
	delete(c.locks, l.res)
}

func (c *Core) cancelRequested(ev EvCancel) {
	l := c.locks[ev.Res]
	if l == nil {
		return
	}
	for _, q := range l.queue {
		if q.id == ev.ID {
			c.withdraw(l, q, nil)
			c.serve(l)
			return
		}
	}
}

// withdraw takes q out of the queue; if it is at the master it is cancelled there.
func (c *Core) withdraw(l *lock, q localRequest, reason error) {
	i := slices.IndexFunc(l.queue, func(o localRequest) bool { return o.id == q.id })
	if i == 0 && l.asked.req != 0 && !l.asked.cancelled {
		l.asked.cancelled = true
		c.send(l.master, &wire.Cancel{Res: l.res.wire(), Req: l.asked.req})
	}
	l.queue = slices.Delete(l.queue, i, i+1)
	c.effect(EffRefuse{ID: q.id, Res: l.res, Err: reason})
}

func (c *Core) downgradeRequested(ev EvDowngrade) {
	l := c.locks[ev.Res]
	if l == nil || !l.mode.Covers(ev.Mode) {
		return
	}
	c.lower(l, ev.Mode, ev.Value)
	c.serve(l)
}

// lower converts down. While no master is known the news waits; the claim still reports the mode of before.
func (c *Core) lower(l *lock, m Mode, value []byte) {
	if value != nil && l.mode.Writes() {
		l.value, l.valid, l.version = slices.Clone(value), len(value) > 0, l.token
		l.written, l.wrote = true, true
	}
	l.mode = m
	if l.state == settled {
		c.release(l)
	}
}

// release tells the master what is held and what was written.
func (c *Core) release(l *lock) {
	m := &wire.Release{Res: l.res.wire(), Req: l.answered, Mode: uint8(l.mode)}
	if l.written {
		m.Written, m.Version, m.Value = true, l.version, l.value
		l.written = false
	}
	l.told = l.mode
	c.send(l.master, m)
}

// onMaster learns the master of a resource that was looked up or claimed.
func (c *Core) onMaster(from view.NodeID, m *wire.Master) {
	if m.Epoch != c.view.Epoch {
		return
	}
	r := fromWire(m.Res)
	if m.Master == c.id {
		c.becomeMaster(r, m.Floor)
		defer func() { c.dropIfIdle(r) }()
	}
	l := c.locks[r]
	if l == nil {
		return
	}
	switch {
	case l.state == claiming && m.Master.Slot != view.NoSlot:
		l.state, l.master = settled, m.Master
		if l.mode != l.told || l.written {
			c.release(l)
		}
	case l.state == looking && m.Master.Slot == view.NoSlot:
		l.state = unknown
		if len(l.queue) > 0 && l.queue[0].noQueue {
			c.refuseFirst(l, ErrBusy)
		}
	case l.state == looking:
		l.state, l.master = settled, m.Master
	}
	c.serve(l)
}

func (c *Core) refuseFirst(l *lock, err error) {
	c.effect(EffRefuse{ID: l.queue[0].id, Res: l.res, Err: err})
	l.queue = l.queue[1:]
}

func (c *Core) onGrant(from view.NodeID, m *wire.Grant) {
	l := c.locks[fromWire(m.Res)]
	if l == nil || l.state != settled || l.master != from || l.asked.req != m.Req {
		c.stats.Unexpected++
		return
	}
	cancelled := l.asked.cancelled
	l.asked = asked{}
	l.answered, l.told, l.tries = m.Req, Mode(m.Mode), 0
	if cancelled {
		c.release(l)
		c.serve(l)
		return
	}
	l.mode, l.token = Mode(m.Mode), m.Token
	if !l.wrote || m.Version > l.version {
		l.value, l.valid, l.version = m.Value, m.Valid, m.Version
	}
	q := l.queue[0]
	l.queue = l.queue[1:]
	if from == c.id {
		c.stats.LocalGrants++
	} else {
		c.stats.RemoteGrants++
	}
	c.effect(EffGrant{ID: q.id, Res: l.res, Grant: l.grant()})
	c.serve(l)
}

func (c *Core) onDeny(from view.NodeID, m *wire.Deny) {
	l := c.locks[fromWire(m.Res)]
	if l == nil || l.state != settled || l.master != from || l.asked.req != m.Req {
		c.stats.Unexpected++
		return
	}
	cancelled := l.asked.cancelled
	l.asked = asked{}
	if m.Reason == wire.NotMaster {
		l.state = unknown
		if len(l.queue) > 0 {
			c.lookupAgain(l)
		}
	} else if !cancelled {
		err := ErrBusy
		if m.Reason == wire.Deadlock {
			err = ErrDeadlock
		}
		c.refuseFirst(l, err)
	}
	c.serve(l)
}

// onBlocking passes on that others wait, unless what they wait for has been made room for meanwhile.
func (c *Core) onBlocking(m *wire.Blocking) {
	l := c.locks[fromWire(m.Res)]
	if l == nil || Compatible(l.mode, Mode(m.Want)) {
		return
	}
	c.stats.Blocking++
	c.effect(EffBlocking{Res: l.res, Want: Mode(m.Want)})
}
