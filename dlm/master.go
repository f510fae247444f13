package dlm

import (
	"slices"
	"time"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/dlm/wire"
)

// master is a resource that this node decides about.
//
// A holder's mode is never below what the holder has: it is raised before a grant is sent and lowered when a
// release arrives (D1).
type master struct {
	res     Resource
	holders []*holder // in the order of their first grants
	convert []waiter  // holders that want more, first come first served among the grantable
	wait    []waiter  // others, first come, first served

	token   uint64 // last one given
	value   []byte
	valid   bool
	version uint64

	// unrecovered are dead nodes whose holds are not known, because they or the master before this one died:
	// nothing is granted until all of them are recovered.
	unrecovered []view.NodeID
}

type holder struct {
	node     view.NodeID
	mode     Mode
	token    uint64
	req      uint64 // number of its last granted request
	signaled Mode   // union of what it was asked to make room for, at its present mode
	dead     bool   // dead and not yet recovered: stands in the way, answers nothing
}

type waiter struct {
	node  view.NodeID
	req   uint64
	want  Mode
	since time.Duration
}

func (m *master) holder(n view.NodeID) *holder {
	for _, h := range m.holders {
		if h.node == n {
			return h
		}
	}
	return nil
}

// fits reports whether node may hold want beside the others.
func (m *master) fits(node view.NodeID, want Mode) bool {
	for _, h := range m.holders {
		if h.node != node && !Compatible(h.mode, want) {
			return false
		}
	}
	return true
}

// becomeMaster makes an empty mastership, unless there is one.
func (c *Core) becomeMaster(r Resource, floor uint64) *master {
	m := c.masters[r]
	if m == nil {
		m = &master{res: r, token: floor}
		c.masters[r] = m
	}
	return m
}

func (c *Core) onRequest(from view.NodeID, q *wire.Request) {
	r := fromWire(q.Res)
	m := c.masters[r]
	if m == nil {
		c.deny(from, r, q.Req, wire.NotMaster)
		return
	}
	w := waiter{node: from, req: q.Req, want: Mode(q.Want), since: c.now}
	h := m.holder(from)
	grantable := len(m.unrecovered) == 0 && m.fits(from, w.want)
	if h == nil {
		grantable = grantable && len(m.convert) == 0 && len(m.wait) == 0
	}
	switch {
	case grantable:
		c.grant(m, w)
	case q.NoQueue:
		c.deny(from, r, q.Req, wire.Busy)
	case h == nil:
		m.wait = append(m.wait, w)
	case m.wouldDeadlock(w):
		c.deny(from, r, q.Req, wire.Deadlock)
	default:
		m.convert = append(m.convert, w)
	}
	c.signal(m)
	c.dropIfIdle(r)
}

func (c *Core) deny(to view.NodeID, r Resource, req uint64, reason uint8) {
	c.send(to, &wire.Deny{Res: r.wire(), Req: req, Reason: reason})
}

// grant records the holder first and then tells it.
func (c *Core) grant(m *master, w waiter) {
	m.token = max(m.token, uint64(c.view.Epoch)<<32) + 1
	h := m.holder(w.node)
	if h == nil {
		h = &holder{node: w.node}
		m.holders = append(m.holders, h)
	}
	h.mode, h.token, h.req, h.signaled = w.want, m.token, w.req, NL
	g := &wire.Grant{Res: m.res.wire(), Req: w.req, Mode: uint8(w.want), Token: m.token, Version: m.version}
	if m.valid {
		g.Valid, g.Value = true, m.value
	}
	c.send(w.node, g)
}

func (c *Core) onRelease(from view.NodeID, q *wire.Release) {
	r := fromWire(q.Res)
	m := c.masters[r]
	if m == nil {
		c.stats.Unexpected++
		return
	}
	h := m.holder(from)
	if h == nil {
		c.stats.Unexpected++
		return
	}
	if q.Written && h.mode.Writes() {
		m.value, m.valid, m.version = q.Value, len(q.Value) > 0, q.Version
	}
	if q.Req == h.req && h.mode.Covers(Mode(q.Mode)) { // else a grant is on its way that the holder had not seen
		h.mode, h.signaled = Mode(q.Mode), NL
		if h.mode == NL {
			m.remove(h)
		}
	}
	c.evaluate(m)
}

func (m *master) remove(h *holder) {
	m.holders = slices.DeleteFunc(m.holders, func(o *holder) bool { return o == h })
}

func (c *Core) onCancel(from view.NodeID, q *wire.Cancel) {
	r := fromWire(q.Res)
	m := c.masters[r]
	if m == nil {
		return
	}
	is := func(w waiter) bool { return w.node == from && w.req == q.Req }
	if slices.ContainsFunc(m.convert, is) || slices.ContainsFunc(m.wait, is) {
		m.convert = slices.DeleteFunc(m.convert, is)
		m.wait = slices.DeleteFunc(m.wait, is)
		c.deny(from, r, q.Req, wire.Cancelled)
		c.evaluate(m)
	} // else the answer is on its way
}

// evaluate grants what can be granted: conversions before others, and no other while a conversion waits. Then it
// asks those who stand in the way, and ends a mastership that nobody uses.
func (c *Core) evaluate(m *master) {
	if len(m.unrecovered) == 0 {
		for i := 0; i < len(m.convert); {
			if w := m.convert[i]; m.fits(w.node, w.want) {
				m.convert = slices.Delete(m.convert, i, i+1)
				c.grant(m, w)
				continue
			}
			i++
		}
		for len(m.convert) == 0 && len(m.wait) > 0 && m.fits(m.wait[0].node, m.wait[0].want) {
			w := m.wait[0]
			m.wait = m.wait[1:]
			c.grant(m, w)
		}
		c.signal(m)
	}
	c.dropIfIdle(m.res)
}

// signal sends blocking callbacks: to every living holder whose mode is in the way of a waiting request, unless it
// was already asked to make that much room.
func (c *Core) signal(m *master) {
	if len(m.unrecovered) > 0 {
		return
	}
	for _, h := range m.holders {
		want := NL
		for _, queue := range [...][]waiter{m.convert, m.wait} {
			for _, w := range queue {
				if w.node != h.node && !Compatible(h.mode, w.want) {
					want = want.Union(w.want)
				}
			}
		}
		if h.dead || h.signaled.Covers(want) {
			continue
		}
		h.signaled = h.signaled.Union(want)
		c.send(h.node, &wire.Blocking{Res: m.res.wire(), Want: uint8(h.signaled)})
	}
}

// dropIfIdle ends a mastership without holders and requests, and tells the directory.
func (c *Core) dropIfIdle(r Resource) {
	m := c.masters[r]
	if m == nil || len(m.holders)+len(m.convert)+len(m.wait)+len(m.unrecovered) > 0 {
		return
	}
	if l := c.locks[r]; l != nil && l.state == settled && l.master == c.id && (l.told != NL || l.asked.req != 0) {
		return // its message to itself is under way
	}
	delete(c.masters, r)
	c.send(c.keeper(r), &wire.Drop{Res: r.wire(), Token: m.token})
}

// masterMembers takes a view change in: what the gone waited for is forgotten; what they held stays while they are
// recovered, and vanishes with its value block after that.
func (c *Core) masterMembers(m *master) {
	gone := func(w waiter) bool { return !c.view.Has(w.node) }
	m.convert = slices.DeleteFunc(m.convert, gone)
	m.wait = slices.DeleteFunc(m.wait, gone)
	m.unrecovered = c.stillRecovering(m.unrecovered)
	m.holders = slices.DeleteFunc(m.holders, func(h *holder) bool {
		switch {
		case c.view.Has(h.node):
			return false
		case c.view.IsRecovering(h.node):
			h.dead = true
			return false
		case h.mode.Writes():
			m.invalidate()
		}
		return true
	})
}

func (m *master) invalidate() { m.value, m.valid, m.version = nil, false, m.token }
