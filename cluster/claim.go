package cluster

import (
	"fmt"
	"time"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/ondisk"
)

// claim decides on a slot: the one with our name, else a free one, else a dead one if nobody is alive.
func (c *core) claim(now time.Duration, out []effect) []effect {
	for j := range c.watch {
		if w := &c.watch[j]; w.slot != nil && IsTool(w.slot.Name) && w.verdict(c.profile) == slotAlive {
			return c.fail(&ToolAtWork{w.slot.Name}, out)
		}
	}
	out, named, blocked := c.claimNamed(now, out)
	if blocked {
		return out
	}
	if named != view.NoSlot {
		return c.take(now, named, out)
	}
	if free := c.findFree(now); free != view.NoSlot {
		return c.take(now, free, out)
	}
	return c.claimDead(now, out)
}

// claimNamed looks at all slots with our name. blocked means that there is something to wait for, or that the join has
// failed. Slots that are still being recovered come first, then the lowest.
func (c *core) claimNamed(now time.Duration, out []effect) (_ []effect, found view.Slot, blocked bool) {
	found = view.NoSlot
	for j := range c.watch {
		w, slot := &c.watch[j], view.Slot(j)
		if w.slot == nil || w.slot.Name != c.name {
			continue
		}
		switch v := w.verdict(c.profile); v {
		case slotFree:
		case slotDead:
			if by, ok := recoverer(w.slot); ok && !c.over(by.Slot, uint32(by.Incarnation)) {
				c.waits.add(fmt.Sprintf("our slot is being recovered by slot %d", by.Slot), slot)
				out, blocked = c.judge(now, by.Slot, out), true // it may have died meanwhile
				continue
			}
		case slotAlive:
			// One change may be the last write of a process that has just been killed.
			if w.moves > 1 {
				return c.fail(&NameInUse{Name: c.name, Addr: w.slot.Addr, Slot: slot, Pid: w.slot.Pid}, out), found, true
			}
			blocked = true
		default:
			c.waits.add("is our earlier life over", slot)
			out, blocked = c.judge(now, slot, out), true
		}
		if found == view.NoSlot || (!c.tracked(found) && c.tracked(slot)) {
			found = slot
		}
	}
	return out, found, blocked
}

// tracked reports whether the view still speaks of slot j.
func (c *core) tracked(j view.Slot) bool {
	return c.im.view.Members[j] != 0 || c.im.view.Recovering[j] != 0
}

// findFree prefers slots that no name belongs to, so that a node that comes back gets its old one.
func (c *core) findFree(now time.Duration) view.Slot {
	best := view.NoSlot
	for j := range c.watch {
		w := &c.watch[j]
		if w.verdict(c.profile) != slotFree || c.tracked(view.Slot(j)) || c.lockTaken(now, view.Slot(j)) {
			continue
		}
		if w.slot.Name == "" {
			return view.Slot(j)
		}
		if best == view.NoSlot {
			best = view.Slot(j)
		}
	}
	return best
}

func (c *core) lockTaken(now time.Duration, j view.Slot) bool {
	at, ok := c.locked[j]
	return ok && now-at < 2*c.profile.Heartbeat
}

// slotPatience is how many times W a join waits for others to free a dead slot: they may be replaying its journal, or
// may have been told not to.
const slotPatience = 10

// claimDead is for a volume without free slots. A dead slot is taken only when nobody is alive who could free it.
func (c *core) claimDead(now time.Duration, out []effect) []effect {
	var in []string
	alive, unclear, pending, dead := false, false, false, view.NoSlot
	for j := range c.watch {
		w, slot := &c.watch[j], view.Slot(j)
		name := "unreadable"
		if w.slot != nil {
			name = w.slot.Name
		}
		v := w.verdict(c.profile)
		in = append(in, fmt.Sprintf("%s (slot %d, %s)", name, j, v))
		switch v {
		case slotAlive:
			alive = true
		case slotFree, slotDead:
			pending = pending || c.takeover || !c.tracked(slot)
			by, taken := recoverer(w.slot)
			switch {
			case c.lockTaken(now, slot) || (taken && !c.over(by.Slot, uint32(by.Incarnation))):
				unclear = true
			case dead == view.NoSlot:
				dead = slot
			}
		default:
			unclear = true
		}
	}
	switch {
	case alive && !unclear && (!pending || now-c.since > slotPatience*c.profile.Wait()):
		return c.fail(&NoSlot{Slots: len(c.watch), In: in}, out)
	case alive:
		c.waits.add("a slot to become free", view.NoSlot)
		return out
	case unclear || dead == view.NoSlot:
		c.waits.add("who is alive", view.NoSlot)
		for j := range c.watch {
			out = c.judge(now, view.Slot(j), out)
		}
		return out
	}
	return c.take(now, dead, out)
}

// take claims slot j, which is free, or dead and nobody's to recover.
func (c *core) take(now time.Duration, j view.Slot, out []effect) []effect {
	if c.lockTaken(now, j) {
		c.waits.add("another process of this host holds the lock of the slot", j)
		return out
	}
	w := &c.watch[j]
	inc := max(w.slot.Incarnation, c.im.view.Members[j], c.im.view.Recovering[j]) + 1
	return append(out, claimSlot{slot: j, old: w.raw, new: c.self(j, inc)})
}

// checkPeer refuses times that differ from those of a node that is in.
func (c *core) checkPeer(s *ondisk.Slot) error {
	if s.Arbitration != c.arbitration {
		return fmt.Errorf("%w: node %s in slot %d", ErrMixed, s.Name, s.Index)
	}
	if want := c.self(0, 0).Profile; s.Profile != want {
		return fmt.Errorf("%w: node %s in slot %d uses %v ms, this one %v ms", ErrProfile, s.Name, s.Index, s.Profile, want)
	}
	return nil
}
