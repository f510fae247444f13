package dlm

import (
	"slices"
	"time"

	"github.com/covol/covol/cluster/view"
)

// LockInfo is the state of one resource as this node sees it.
type LockInfo struct {
	Resource Resource
	Mode     Mode          // held here
	Want     Mode          // wanted here; NL: nothing
	Waiting  bool          // a request of this node waits
	Since    time.Duration // when it began to, by the node's scheduler
	Token    uint64        // of what is held here
	Known    bool          // the master is known
	Master   view.NodeID
	// Recovering: this node masters the resource, or keeps its directory entry, and gives it to nobody before
	// the nodes in Unrecovered are recovered.
	Recovering  bool
	Unrecovered []view.NodeID
	Holders     []HolderInfo // of a resource mastered here
	Waiters     []WaiterInfo // likewise: conversions first
}

// HolderInfo is one holder of a resource mastered here.
type HolderInfo struct {
	Node  view.NodeID
	Mode  Mode
	Token uint64
	Dead  bool // dead and not yet recovered
}

// WaiterInfo is one request that waits for a resource mastered here.
type WaiterInfo struct {
	Node    view.NodeID
	Want    Mode
	Convert bool
	Since   time.Duration
}

// Locks lists every resource that this node holds, wants, masters or keeps back, in ascending order.
func (n *Node) Locks() []LockInfo {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.core.Locks()
}

// Stats returns the counters.
func (c *Core) Stats() Stats { return c.stats }

// Locks is as Node.Locks.
func (c *Core) Locks() []LockInfo {
	all := map[Resource]*LockInfo{}
	get := func(r Resource) *LockInfo {
		if all[r] == nil {
			all[r] = &LockInfo{Resource: r}
		}
		return all[r]
	}
	for r, l := range c.locks {
		i := get(r)
		i.Mode, i.Token = l.mode, l.token
		i.Known, i.Master = l.state == settled, l.master
		if len(l.queue) > 0 {
			i.Waiting, i.Want, i.Since = true, l.queue[0].mode, l.queue[0].since
		}
	}
	for r, m := range c.masters {
		i := get(r)
		i.Known, i.Master = true, c.id
		m.describe(i)
	}
	for r, e := range c.dir {
		if e.orphan && len(e.unrecovered) > 0 {
			i := get(r)
			i.Recovering, i.Unrecovered = true, slices.Clone(e.unrecovered)
		}
	}
	for _, q := range c.parked {
		if i := get(q.res); !i.Recovering {
			i.Unrecovered = c.lostTo(q.res)
			i.Recovering = len(i.Unrecovered) > 0
		}
	}
	list := make([]LockInfo, 0, len(all))
	for _, r := range sortedKeys(all) {
		list = append(list, *all[r])
	}
	return list
}

func (m *master) describe(i *LockInfo) {
	if len(m.unrecovered) > 0 {
		i.Recovering, i.Unrecovered = true, slices.Clone(m.unrecovered)
	}
	for _, h := range m.holders {
		i.Holders = append(i.Holders, HolderInfo{Node: h.node, Mode: h.mode, Token: h.token, Dead: h.dead})
	}
	for k, queue := range [...][]waiter{m.convert, m.wait} {
		for _, w := range queue {
			i.Waiters = append(i.Waiters, WaiterInfo{Node: w.node, Want: w.want, Convert: k == 0, Since: w.since})
		}
	}
}
