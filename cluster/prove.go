package cluster

import (
	"errors"
	"fmt"
	"time"

	"github.com/covol/covol/cluster/fence"
	"github.com/covol/covol/cluster/view"
)

// methodPerson names the proof that a person has given.
const methodPerson = "person"

// judge asks for a proof that the owner of slot j is dead, or marks it dead once there is one (LEASES.md, "Death").
func (c *core) judge(now time.Duration, j view.Slot, out []effect) []effect {
	w := &c.watch[j]
	v := w.verdict(c.profile)
	suspect := v == slotSuspect
	hint := (v == slotAlive || v == slotUnknown) && w.hint(now, c.profile)
	if j == c.id.Slot || !suspect && !hint {
		return out
	}
	if suspect && w.suspected == 0 {
		w.suspected = now
		out = c.tell(out, EventSuspected, j, w.slot, fmt.Sprintf("no heartbeat for %v", w.age.Round(time.Millisecond)))
	}
	if w.proof != nil && now >= w.counts {
		return c.mark(j, *w.proof, out)
	}
	if suspect {
		c.waits.add("no heartbeat: waiting for a proof of death", j)
	}
	if w.proof != nil {
		return out
	}
	for len(w.tries) < len(c.methods) {
		w.tries = append(w.tries, try{})
	}
	for i, m := range c.methods {
		t := &w.tries[i]
		if t.running || now < t.retry || m.Forces() && !c.mayForce(w, i, suspect) {
			continue
		}
		t.running, t.since = true, now
		out = append(out, prove{method: i, content: w.content, victim: w.owner(j)})
	}
	if w.slot != nil && w.slot.Name == c.name && c.phase == phaseClaim && w.age >= c.profile.Wait() {
		// Whatever methods were chosen: our own name cannot be forced, so its lease must do.
		w.proof = &fence.Proof{Method: fence.LeaseName, Text: "an earlier life of this node"}
	}
	return out
}

// mayForce holds methods that act on the victim to rule P2 of package fence. That our lease holds is looked at when it
// begins. Nobody is forced out before its own lease has run out, unless it was expelled: until then it may only be slow,
// and after that it cannot write anyway without a renewal.
func (c *core) mayForce(w *watch, method int, suspect bool) bool {
	if !suspect || c.phase != phaseJoin && c.phase != phaseMember || w.slot == nil || w.slot.Name == c.name || w.neighbour(c.machine) {
		return false
	}
	if w.age < c.profile.Lease && !isExpelled(w.slot) {
		return false
	}
	for _, t := range w.tries[:method] {
		if !t.no {
			return false
		}
	}
	return true
}

// mark declares the owner of slot j dead.
func (c *core) mark(j view.Slot, p fence.Proof, out []effect) []effect {
	w := &c.watch[j]
	dead := deadOf(uint16(j), w.slot, c.im.view, deadBit)
	c.marks[view.NodeID{Slot: j, Incarnation: view.Incarnation(dead.Incarnation)}] = p
	return append(out, swapSlot{slot: j, old: w.raw, new: dead, why: fmt.Sprintf("%s is dead (%s)", nameOf(w.slot), p)})
}

// proven takes in the answer of a method. A proof about a content that has changed proves nothing (P1).
func (c *core) proven(now time.Duration, e proved) {
	w := &c.watch[e.victim.Slot]
	if e.method >= 0 {
		t := &w.tries[e.method]
		t.running = false
		if e.content != w.content {
			return
		}
		t.no, t.text, t.retry = e.err != nil, "", now+c.profile.Heartbeat
		if e.err != nil {
			t.text = e.err.Error()
			if !errors.Is(e.err, fence.ErrNoProof) || c.methods[e.method].Forces() {
				t.retry = now + c.profile.Lease
			}
		}
	}
	if e.err != nil || e.content != w.content || w.proof != nil && w.counts <= now {
		return
	}
	w.proof, w.counts = &e.proof, now
	if e.proof.Settle {
		w.counts += c.profile.IOBound
	}
}

// hear takes in a hint from outside about the node called name.
func (c *core) hear(now time.Duration, name string, out []effect) []effect {
	for j := range c.watch {
		w := &c.watch[j]
		if view.Slot(j) == c.id.Slot || w.slot == nil || w.slot.Name != name || w.verdict(c.profile) < slotAlive {
			continue
		}
		if !w.hint(now, c.profile) {
			out = c.tell(out, EventSuspected, view.Slot(j), w.slot, "a hint from outside")
		}
		w.hinted = max(now, 1)
		for i := range w.tries {
			if !c.methods[i].Forces() {
				w.tries[i].retry = 0
			}
		}
	}
	return out
}
