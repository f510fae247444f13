package cluster

import (
	"time"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/ondisk"
)

// Heard tells that a message of the member in slot has come in over the network. It never blocks.
func (n *Node) Heard(slot view.Slot) {
	now := n.cfg.Sched.Now()
	n.hearMu.Lock()
	defer n.hearMu.Unlock()
	n.heard[slot] = now
}

// hears are the slots that were heard within the time after which a silent node is suspected.
func (n *Node) hears() (set ondisk.SlotSet) {
	if n.cfg.Greet == nil {
		return set
	}
	set.Add(ondisk.HearsKnown)
	limit := n.cfg.Sched.Now() - suspectAfter*n.cfg.Super.Profile.Heartbeat
	n.hearMu.Lock()
	defer n.hearMu.Unlock()
	for slot, at := range n.heard {
		if at >= limit {
			set.Add(uint16(slot))
		} else {
			delete(n.heard, slot)
		}
	}
	return set
}

// greet tells the other members every heartbeat that this node is there.
func (n *Node) greet() {
	h := n.cfg.Super.Profile.Heartbeat
	for n.ctx.Err() == nil {
		n.mu.Lock()
		self, members := n.core.id, n.view.Members
		n.mu.Unlock()
		others := make([]view.Member, 0, len(members))
		for _, m := range members {
			if m.NodeID != self {
				others = append(others, m)
			}
		}
		if len(others) > 0 {
			n.cfg.Greet(others)
		}
		if n.cfg.Sched.Sleep(n.ctx, h) != nil {
			return
		}
	}
}

// hearing is what a node has heard of the others, by slot, on its scheduler's clock.
type hearing map[view.Slot]time.Duration
