package dlm

import (
	"cmp"
	"slices"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/dlm/wire"
)

// entry says who masters a resource of this node's share of the directory.
type entry struct {
	master view.NodeID
	// orphan: the master is gone. Until the rebuild is finished holders may claim the resource; while one of
	// unrecovered is not recovered, nobody knows who held it, and it is not given to anyone.
	orphan      bool
	unrecovered []view.NodeID
	// seen is the epoch in which the master last registered or was named.
	seen view.Epoch
}

type parkedLookup struct {
	from    view.NodeID
	res     Resource
	noQueue bool
}

// keeperAmong is the node that keeps the directory entry of r: the highest random weight among the members, so
// that a member that comes or goes moves no more than its own share.
func keeperAmong(members []view.NodeID, r Resource) view.NodeID {
	best, weight := view.NodeID{Slot: view.NoSlot}, uint64(0)
	for _, m := range members {
		w := mix(mix(r.ID^uint64(r.Kind)<<56) ^ uint64(m.Slot)<<32 ^ uint64(m.Incarnation))
		if best.Slot == view.NoSlot || w > weight {
			best, weight = m, w
		}
	}
	return best
}

// mix is the finalizer of splitmix64. It is part of the protocol.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func (c *Core) keeper(r Resource) view.NodeID { return keeperAmong(c.rebuild.members(), r) }

func (c *Core) onLookup(from view.NodeID, m *wire.Lookup) {
	if m.Epoch != c.view.Epoch {
		return // the asker repeats it in its new epoch
	}
	c.answerLookup(parkedLookup{from: from, res: fromWire(m.Res), noQueue: m.NoQueue})
}

// answerLookup names the master, makes the asker the master of what nobody uses, or keeps the question until the
// rebuild is finished; after the next view change it is asked again.
func (c *Core) answerLookup(q parkedLookup) {
	e := c.dir[q.res]
	known := e != nil && !e.orphan
	if !c.rebuild.serves(c.id, q.res) || (!known && (e != nil || len(c.lostTo(q.res)) > 0)) {
		if q.noQueue {
			c.send(q.from, &wire.Master{Epoch: c.view.Epoch, Res: q.res.wire(), Master: view.NodeID{Slot: view.NoSlot}})
			return
		}
		c.parked = append(c.parked, q)
		return
	}
	if !known {
		e = &entry{master: q.from}
		c.dir[q.res] = e
	}
	if e.master == q.from {
		e.seen = c.view.Epoch
	}
	c.send(q.from, &wire.Master{Epoch: c.view.Epoch, Res: q.res.wire(), Master: e.master, Floor: c.floor})
}

func (c *Core) onDrop(from view.NodeID, m *wire.Drop) {
	c.floor = max(c.floor, m.Token)
	r := fromWire(m.Res)
	if e := c.dir[r]; e != nil && e.master == from {
		delete(c.dir, r)
	}
}

func (c *Core) onRegister(from view.NodeID, m *wire.Register) {
	if m.Epoch != c.view.Epoch {
		return
	}
	for _, r := range m.Res {
		c.dir[fromWire(r)] = &entry{master: from, seen: m.Epoch}
	}
}

func (c *Core) onMarkers(m *wire.Markers) {
	if m.Epoch != c.view.Epoch {
		return
	}
	for _, r := range m.Res {
		if e := c.dir[fromWire(r)]; e == nil || e.orphan {
			c.dir[fromWire(r)] = &entry{orphan: true, unrecovered: c.view.Recovering}
		}
	}
}

func (c *Core) onClaims(from view.NodeID, m *wire.Claims) {
	if m.Epoch != c.view.Epoch {
		return
	}
	for _, i := range m.Items {
		r := fromWire(i.Res)
		c.rebuild.claims[r] = append(c.rebuild.claims[r], claim{from: from, Claim: i})
	}
}

// settleDirectory ends a rebuild here: claims are answered, this node masters what no living node registered, and
// entries that nobody stands behind go.
func (c *Core) settleDirectory() {
	for _, r := range sortedKeys(c.dir) {
		e := c.dir[r]
		switch {
		case c.keeper(r) != c.id:
			delete(c.dir, r)
		case e.orphan && len(e.unrecovered) == 0:
			delete(c.dir, r)
		case !e.orphan && e.seen != c.view.Epoch:
			delete(c.dir, r)
		}
	}
	for _, r := range sortedKeys(c.rebuild.claims) {
		claims := c.rebuild.claims[r]
		slices.SortFunc(claims, func(a, b claim) int { return cmp.Compare(a.from.Slot, b.from.Slot) })
		e := c.dir[r]
		if e == nil || e.orphan {
			e = &entry{master: c.id, seen: c.view.Epoch}
			c.dir[r] = e
			c.masterFromClaims(r, claims)
		}
		for _, k := range claims {
			c.send(k.from, &wire.Master{Epoch: c.view.Epoch, Res: r.wire(), Master: e.master, Floor: c.floor})
		}
	}
	c.rebuild.claims = nil
	parked := c.parked
	c.parked = nil
	for _, q := range parked {
		c.answerLookup(q)
	}
}

// masterFromClaims makes a mastership out of what the holders report. What the dead held is not among it, so
// nothing is granted before they are recovered. The value block is only known to be current where a claimant's
// mode kept writers away.
func (c *Core) masterFromClaims(r Resource, claims []claim) {
	m := c.becomeMaster(r, c.floor)
	m.unrecovered = c.view.Recovering
	var current *wire.Claim
	for i := range claims {
		k := &claims[i].Claim
		m.token = max(m.token, k.Token, k.Version)
		mode := Mode(k.Mode)
		if mode == NL {
			continue
		}
		m.holders = append(m.holders, &holder{node: claims[i].from, mode: mode, token: k.Token, req: k.Req})
		if mode.Covers(PR) && (current == nil || k.Version > current.Version) {
			current = k
		}
	}
	m.invalidate()
	if current != nil && current.Valid {
		m.value, m.valid, m.version = current.Value, true, current.Version
	}
}
