package cluster

import (
	"fmt"
	"slices"
	"time"

	"github.com/covol/covol/cluster/fence"
	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/ondisk"
)

// death is when a life ended, as this node saw it.
type death struct{ suspected, dead time.Duration }

// tell appends the event about the owner of slot j. A node that only looks for a slot tells nothing.
func (c *core) tell(out []effect, kind EventKind, j view.Slot, s *ondisk.Slot, text string) []effect {
	if c.phase != phaseJoin && c.phase != phaseMember {
		return out
	}
	name := ""
	if s != nil {
		name = s.Name
	}
	return append(out, tell{Event{Kind: kind, Node: name, Slot: j, Epoch: view.Epoch(c.seen), Text: text}})
}

// tellChanges tells what the latest look shows of other nodes that the one before did not.
func (c *core) tellChanges(now time.Duration, out []effect) []effect {
	for j := range c.watch {
		out = c.tellDeath(now, view.Slot(j), out)
	}
	before, v := c.told, c.im.view
	c.told = v
	if before == nil || before.Epoch == v.Epoch {
		return out
	}
	for j := range c.watch {
		slot, s := view.Slot(j), c.watch[j].slot
		if slot == c.id.Slot {
			continue
		}
		was, is, dead := before.Members[j], v.Members[j], v.Recovering[j]
		if r := before.Recovering[j]; r != 0 && dead == 0 {
			id := view.NodeID{Slot: slot, Incarnation: view.Incarnation(r)}
			out = c.tell(out, EventRecovered, slot, s, c.recoveredText(now, id))
			delete(c.deaths, id)
		}
		switch {
		case was != 0 && is == 0 && dead != was:
			out = c.tell(out, EventLeft, slot, s, "")
		case is != 0 && is != was:
			out = c.tell(out, EventJoined, slot, s, "")
		}
	}
	return out
}

// tellDeath tells of a mark of death once.
func (c *core) tellDeath(now time.Duration, j view.Slot, out []effect) []effect {
	s := c.watch[j].slot
	if s == nil || j == c.id.Slot || !isDead(s) {
		return out
	}
	id := view.NodeID{Slot: j, Incarnation: view.Incarnation(s.Incarnation)}
	if _, known := c.deaths[id]; known {
		return out
	}
	text := "declared dead by another node"
	if p, ours := c.marks[id]; ours {
		text, c.fenced = "proof by "+p.String(), p.Method
	}
	c.deaths[id] = death{suspected: c.watch[j].before, dead: now}
	for old := range c.deaths { // one life of a slot is enough
		if old.Slot == j && old.Incarnation < id.Incarnation {
			delete(c.deaths, old)
			delete(c.marks, old)
		}
	}
	return c.tell(out, EventDead, j, s, text)
}

func (c *core) recoveredText(now time.Duration, id view.NodeID) string {
	d, ok := c.deaths[id]
	if !ok {
		return ""
	}
	text := fmt.Sprintf("%v after it was declared dead", (now - d.dead).Round(time.Millisecond))
	if d.suspected != 0 {
		text += fmt.Sprintf(", %v after it was suspected", (now - d.suspected).Round(time.Millisecond))
	}
	return text
}

// pending describes what is done about the suspects, for status.
func (c *core) pending(now time.Duration) (out []VictimStatus) {
	for j := range c.watch {
		w, slot := &c.watch[j], view.Slot(j)
		if slot == c.id.Slot || w.suspected == 0 || w.verdict(c.profile) != slotSuspect {
			continue
		}
		v := VictimStatus{ID: w.owner(slot).NodeID, Name: nameOf(w.slot), Since: w.suspected, AtMost: -1}
		for i, m := range c.methods {
			if m.Name() == fence.LeaseName {
				v.AtMost = max(c.profile.Wait()-w.age, 0)
			}
			if i >= len(w.tries) {
				continue
			}
			switch t := &w.tries[i]; {
			case t.running:
				v.Tries = append(v.Tries, fmt.Sprintf("%s: asked %v ago", m.Name(), (now-t.since).Round(time.Millisecond)))
			case t.text != "":
				v.Tries = append(v.Tries, m.Name()+": "+t.text)
			}
		}
		if w.proof != nil {
			v.AtMost = max(w.counts-now, 0)
			v.Tries = append(v.Tries, w.proof.String())
		}
		out = append(out, v)
	}
	return slices.Clip(out)
}
