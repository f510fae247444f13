package cluster

import (
	"fmt"
	"time"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/ondisk"
)

// mayRecover reports whether bringing home the journals of the dead is our business: as the first mounter always,
// next to others only with Takeover and when active.
func (c *core) mayRecover() bool {
	if c.phase == phaseMember {
		return c.takeover
	}
	return c.phase == phaseJoin && c.entered && !c.othersAtWork()
}

// recoverDead works on the slots whose journals are to be replayed, one at a time. The right to replay the journal of a
// slot is its slot block: the mark of death names the recoverer, and only a swap of that block can change it (J3).
func (c *core) recoverDead(now time.Duration, out []effect) []effect {
	for j, r := range c.im.view.Recovering {
		slot := view.Slot(j)
		if r == 0 || slot == c.id.Slot || (c.job.done && c.job.slot == slot && c.job.life == r) {
			continue
		}
		if !c.mayRecover() {
			c.waits.add(fmt.Sprintf("journal of slot %d.%d to be replayed", j, r), slot)
			continue
		}
		w := &c.watch[j]
		switch w.verdict(c.profile) {
		case slotFree, slotDead:
			out = c.recoverSlot(now, slot, r, out)
		default:
			c.waits.add("the next life of the slot to replay its journal", slot)
		}
	}
	return out
}

func (c *core) recoverSlot(now time.Duration, slot view.Slot, life uint32, out []effect) []effect {
	w := &c.watch[slot]
	by, taken := recoverer(w.slot)
	switch {
	case taken && by == c.id:
		if c.job.running || (c.job.err != nil && c.job.slot == slot && now < c.job.retry) {
			c.waits.add("replay of its journal", slot)
			return out
		}
		c.job = job{slot: slot, life: life, running: true}
		return append(out, replay{slot})
	case taken && !c.over(by.Slot, uint32(by.Incarnation)):
		c.waits.add(fmt.Sprintf("slot %d replays its journal", by.Slot), slot)
		return out
	case c.job.running:
		c.waits.add("another replay to end", slot)
		return out
	}
	mine := deadOf(uint16(slot), w.slot, c.im.view, deadSeq(c.id))
	return append(out, swapSlot{slot: slot, old: w.raw, new: mine, why: fmt.Sprintf("recovery of slot %d by slot %d.%d", slot, c.id.Slot, c.id.Incarnation)})
}

// replayEnded takes in the end of a replay. A join cannot go on without; an active member tries again later.
func (c *core) replayEnded(now time.Duration, e replayed, out []effect) []effect {
	j := &c.job
	if e.slot == c.id.Slot {
		j = &c.ownJob
	}
	j.running, j.err, j.done = false, e.err, e.err == nil
	if e.err == nil {
		return out
	}
	j.retry = now + c.profile.Lease
	if c.phase == phaseJoin {
		return c.fail(fmt.Errorf("replay the journal of slot %d: %w", e.slot, e.err), out)
	}
	return out
}

// reap frees the slots of the dead that nobody must recover: their journals are clean, because a life is in the view
// from before it opens its journal until the journal is closed or replayed.
func (c *core) reap(out []effect) []effect {
	for j := range c.watch {
		w, slot := &c.watch[j], view.Slot(j)
		if slot == c.id.Slot || w.verdict(c.profile) != slotDead || c.tracked(slot) || w.slot.State == ondisk.SlotFree {
			continue
		}
		if by, ok := recoverer(w.slot); ok && by != c.id && !c.over(by.Slot, uint32(by.Incarnation)) {
			continue
		}
		out = append(out, swapSlot{slot: slot, old: w.raw, new: freeOf(w.slot), why: "nothing left to recover"})
	}
	return out
}
