package cluster

import (
	"fmt"
	"slices"
	"time"

	"github.com/covol/covol/cluster/reach"
	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/ondisk"
)

// The mark of expulsion: a slot in state leaving whose Seq has this bit set was taken from a life that may well be alive,
// because the network between it and the others is cut. The owner never writes such a Seq, so its next renewal
// miscompares and it withdraws. The mark proves nothing: the block does not change any more, and so the life is proven
// dead like any other that stops (R2). The bits below name the slot that did it.
const expelledBit = uint64(1) << 62

func isExpelled(s *ondisk.Slot) bool { return s.State == ondisk.SlotLeaving && s.Seq&expelledBit != 0 }

// expeller is the slot of the node that has expelled the owner of s.
func expeller(s *ondisk.Slot) view.Slot { return view.Slot(uint16(s.Seq)) }

// expelledOf is the slot block that expels the life in old. State leaving: nobody may take it for a member at work.
func expelledOf(old *ondisk.Slot, by view.Slot) *ondisk.Slot {
	s := *old
	s.State, s.Seq = ondisk.SlotLeaving, deadBit>>1|uint64(by)
	return &s
}

// link is what one node knows of the network between two members.
type link struct {
	cut    bool
	since  time.Duration // it is so
	worked bool          // it was not cut once
}

// links are all of them, by lives: the lower slot first.
type links map[[2]view.NodeID]link

// see takes in one look: what the members, ascending, say that they hear. Whoever does not publish it is taken to hear
// all.
func (l links) see(now time.Duration, members []ondisk.Slot) {
	seen := map[[2]view.NodeID]bool{}
	for a := range members {
		for b := a + 1; b < len(members); b++ {
			i, j := &members[a], &members[b]
			key := [2]view.NodeID{lifeOf(i), lifeOf(j)}
			cut := deaf(i, j) || deaf(j, i)
			was, known := l[key]
			if !known || was.cut != cut {
				was.cut, was.since = cut, now
			}
			was.worked = was.worked || !cut
			l[key], seen[key] = was, true
		}
	}
	for key := range l {
		if !seen[key] {
			delete(l, key)
		}
	}
}

// forgive leaves time out of account.
func (l links) forgive(d time.Duration) {
	for key, k := range l {
		k.since += d
		l[key] = k
	}
}

// deaf reports whether s says that it does not hear other.
func deaf(s, other *ondisk.Slot) bool {
	return s.Hears.Has(ondisk.HearsKnown) && !s.Hears.Has(other.Index)
}

func lifeOf(s *ondisk.Slot) view.NodeID {
	return view.NodeID{Slot: view.Slot(s.Index), Incarnation: view.Incarnation(s.Incarnation)}
}

// freshLink is how many times the patience for a cut link a new one gets until both nodes have found each other.
const freshLink = 3

// patience is how long a link may be cut before one of its ends must go: a lease, during which whoever has really died
// shows it on the disk, and whoever is only slow comes back.
func (k link) patience(p ondisk.Profile) time.Duration {
	if !k.worked {
		return freshLink * p.Lease
	}
	return p.Lease
}

// cutLong reports whether a link is cut for so long that one of its ends must go.
func (l links) cutLong(now time.Duration, key [2]view.NodeID, p ondisk.Profile) bool {
	k := l[key]
	return k.cut && now-k.since >= k.patience(p)
}

// cutAlready reports whether a link is cut for long enough to count when it is decided which end of another link goes.
// The links of a node that is cut off do not break at the same instant: were only those counted whose time is up, the
// first of them would look like a broken link between equals, and its other end might go.
func (l links) cutAlready(now time.Duration, key [2]view.NodeID, p ondisk.Profile) bool {
	k := l[key]
	return k.cut && now-k.since >= k.patience(p)/2
}

// judge returns which of the lives, ascending by slot, stay, and which must go now. Others, whose links have been cut
// for less time, are in neither.
func (l links) judge(now time.Duration, lives []view.NodeID, p ondisk.Profile) (keep, out []view.Slot) {
	of, slots := map[uint16]view.NodeID{}, make([]uint16, 0, len(lives))
	for _, n := range lives {
		of[uint16(n.Slot)] = n
		slots = append(slots, uint16(n.Slot))
	}
	due := map[uint16]bool{} // has a link whose time is up
	for a, i := range slots {
		for _, j := range slots[a+1:] {
			if l.cutLong(now, [2]view.NodeID{of[i], of[j]}, p) {
				due[i], due[j] = true, true
			}
		}
	}
	kept := reach.Keep(slots, func(i, j uint16) bool { return l.cutAlready(now, [2]view.NodeID{of[i], of[j]}, p) })
	for _, j := range slots {
		switch {
		case slices.Contains(kept, j):
			keep = append(keep, view.Slot(j))
		case due[j]:
			out = append(out, view.Slot(j))
		}
	}
	return keep, out
}

// expel puts out the members that cannot talk to those who stay. Only a member at work does it, and only if it stays.
func (c *core) expel(now time.Duration, out []effect) []effect {
	if c.phase != phaseMember {
		return out
	}
	var members []ondisk.Slot
	for j, m := range c.im.view.Members {
		s := c.im.slots[j].slot
		if m == 0 || s == nil || s.Incarnation != m || s.State != ondisk.SlotActive || isDead(s) {
			continue
		}
		if view.Slot(j) == c.id.Slot || c.watch[j].verdict(c.profile) == slotAlive {
			members = append(members, *s)
		}
	}
	if away := now - c.linked - credit*c.profile.Heartbeat; away > 0 {
		c.links.forgive(away) // as with heartbeats: who did not look has not watched
	}
	c.linked = now
	c.links.see(now, members)
	lives := make([]view.NodeID, 0, len(members))
	for i := range members {
		lives = append(lives, lifeOf(&members[i]))
	}
	keep, gone := c.links.judge(now, lives, c.profile)
	for _, j := range gone {
		if !slices.Contains(keep, c.id.Slot) {
			c.waits.add("cut off from the network: others are about to put this node out", j)
			continue
		}
		w := &c.watch[j]
		out = append(out, swapSlot{slot: j, old: w.raw, new: expelledOf(w.slot, c.id.Slot),
			why: fmt.Sprintf("%s cannot talk to the others over the network: put out", w.slot.Name)})
	}
	return out
}
