package cluster

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/ondisk"
)

// member acts as the owner of a slot, in the order of design section 5: suspect, prove and mark dead, new view,
// recover, free.
func (c *core) member(now time.Duration, out []effect) []effect {
	k, v := c.id.Slot, c.im.view
	if mine := v.Members[k] == uint32(c.id.Incarnation); mine {
		c.entered = true
	} else if c.entered {
		c.phase = phaseOver
		return append(out, withdraw{Reason{CauseRemoved, fmt.Sprintf("epoch %d lists this node no more", v.Epoch)}})
	}
	if c.phase == phaseMember && view.Epoch(v.Epoch) > c.installed {
		if nv, ok := c.build(); ok {
			c.installed = nv.Epoch
			out = append(out, install{nv})
		}
	}
	for j := range c.watch {
		out = c.judge(now, view.Slot(j), out)
	}
	out = c.expel(now, out)
	if c.phase == phaseJoin && !c.ownJob.running && !c.ownJob.done {
		c.ownJob.running = true
		out = append(out, replay{k})
	}
	nv, why, err := c.nextView(now)
	if err != nil {
		return c.fail(err, out)
	}
	if nv != nil {
		return append(out, swapView{old: c.im.viewRaw, base: v, new: nv, why: why})
	}
	out = c.recoverDead(now, out)
	out = c.reap(out)
	if c.phase == phaseJoin && c.ready() {
		if nv, ok := c.build(); ok {
			c.installed, c.phase = nv.Epoch, phaseMember
			out = append(out, install{nv}, activate{})
		}
	}
	return out
}

// nextView is the view that should follow the present one, nil if that is as it should be.
func (c *core) nextView(now time.Duration) (*ondisk.View, string, error) {
	k, v := c.id.Slot, c.im.view
	n := &ondisk.View{Epoch: v.Epoch + 1, Members: slices.Clone(v.Members), Recovering: slices.Clone(v.Recovering)}
	var why []string
	for j, m := range v.Members {
		if m != 0 && c.over(view.Slot(j), m) {
			n.Members[j], n.Recovering[j] = 0, m
			why = append(why, fmt.Sprintf("slot %d.%d is dead", j, m))
		}
	}
	if len(why) == 0 { // a death is a view of its own, so that others have a chance to see it as one
		if c.ownJob.done && n.Recovering[k] != 0 {
			n.Recovering[k] = 0
			why = append(why, fmt.Sprintf("slot %d is recovered by its next life", k))
		}
		if j := c.job.slot; c.job.done && n.Recovering[j] == c.job.life {
			n.Recovering[j] = 0
			why = append(why, fmt.Sprintf("slot %d is recovered", j))
		}
		enter, err := c.mayEnter(now, n)
		if err != nil {
			return nil, "", err
		}
		if enter {
			n.Members[k] = uint32(c.id.Incarnation)
			why = append(why, fmt.Sprintf("slot %d.%d joins", k, c.id.Incarnation))
		}
	}
	if len(why) == 0 {
		return nil, "", nil
	}
	return n, strings.Join(why, ", "), nil
}

// mayEnter reports whether our life may be added to the members of n. It may as the first, when everybody else is
// proven dead, or next to one that is seen alive and at work. While a first one is still recovering the others, it
// must wait: the lock manager of a newcomer could not know what the dead held.
func (c *core) mayEnter(now time.Duration, n *ondisk.View) (bool, error) {
	k := c.id.Slot
	if c.phase != phaseJoin || c.entered || !c.ownJob.done || n.Members[k] != 0 {
		return false, nil
	}
	first, second := true, false
	for j, m := range n.Members {
		w := &c.watch[j]
		if m == 0 || view.Slot(j) == k {
			continue
		}
		first = false
		v := w.verdict(c.profile)
		if w.slot == nil || v != slotAlive {
			c.waits.add("is this member alive", view.Slot(j))
			continue
		}
		if w.slot.Name == c.name {
			return false, &NameInUse{Name: c.name, Addr: w.slot.Addr, Slot: view.Slot(j), Pid: w.slot.Pid}
		}
		if err := c.checkPeer(w.slot); err != nil {
			return false, err
		}
		if w.slot.State == ondisk.SlotActive {
			second = true
		} else {
			c.waits.add("this member is joining or leaving", view.Slot(j))
		}
	}
	return (first || second) && !c.namesake(n), nil
}

// namesake reports whether a member that is not proven dead has our name.
func (c *core) namesake(n *ondisk.View) bool {
	for j, m := range n.Members {
		if s := c.watch[j].slot; m != 0 && view.Slot(j) != c.id.Slot && s != nil && s.Name == c.name {
			return true
		}
	}
	return false
}

// ready reports whether the join is done: the view lists us, and next to a member at work, or with nothing left to
// recover.
func (c *core) ready() bool {
	return c.entered && (c.othersAtWork() || !slices.ContainsFunc(c.im.view.Recovering, func(r uint32) bool { return r != 0 }))
}

func (c *core) othersAtWork() bool {
	for j, m := range c.im.view.Members {
		w := &c.watch[j]
		if m != 0 && view.Slot(j) != c.id.Slot && w.verdict(c.profile) == slotAlive &&
			w.slot.State == ondisk.SlotActive && w.slot.Incarnation == m {
			return true
		}
	}
	return false
}

// leaveBlind is leave while the view cannot be read. A slot whose life never was in a view can be given back all the
// same, marked dead: whoever finds it asks the view then.
func (c *core) leaveBlind(out []effect) []effect {
	switch {
	case c.phase != phaseLeave || c.entered || c.ownJob.running || c.job.running:
		return out
	case c.id.Slot == view.NoSlot:
		c.phase = phaseOver
		return append(out, left{c.err})
	}
	return append(out, release{dead: true})
}

// leave gives back what we have: first the place in the view, then the slot.
func (c *core) leave(out []effect) []effect {
	k, v := c.id.Slot, c.im.view
	switch {
	case k == view.NoSlot:
		c.phase = phaseOver
		return append(out, left{c.err})
	case c.ownJob.running || c.job.running:
		c.waits.add("a replay to stop", k)
		return out
	case v.Members[k] == uint32(c.id.Incarnation):
		n := &ondisk.View{Epoch: v.Epoch + 1, Members: slices.Clone(v.Members), Recovering: slices.Clone(v.Recovering)}
		n.Members[k] = 0
		return append(out, swapView{old: c.im.viewRaw, base: v, new: n, why: fmt.Sprintf("slot %d.%d leaves", k, c.id.Incarnation)})
	}
	// An earlier life's journal may still be dirty: then the slot is not free but dead, for others to recover.
	return append(out, release{dead: !c.ownJob.done && c.tracked(k)})
}
