package cluster

import (
	"bytes"
	"slices"
	"time"

	"github.com/covol/covol/cluster/fence"
	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/ondisk"
)

// verdict is what this node knows of the owner of a slot.
type verdict int

const (
	slotFree    verdict = iota // nobody's
	slotDead                   // marked dead
	slotAlive                  // seen to change, not long ago
	slotUnknown                // not seen to change, not watched long enough
	slotSuspect                // unchanged for 3h
)

func (v verdict) String() string {
	return [...]string{"free", "dead", "alive", "unknown", "suspect"}[v]
}

// suspectAfter is how many heartbeats may be missing before a node is suspected.
const suspectAfter = 3

// credit is how many heartbeats of time one look may add to the age of what it shows. A node that was away from the disk,
// frozen, or whose clock jumped has not watched: whoever was away with it gets time to show himself. Less than suspectAfter,
// so that one look after a gap suspects nobody.
const credit = 2

// watch follows the content of one slot block. All times are of this node's own looks, so that no clock but ours
// matters.
type watch struct {
	raw     []byte
	slot    *ondisk.Slot
	content uint64        // counts the contents seen, so that an answer can be told from one about an earlier content
	since   time.Duration // end of the look that first showed raw
	last    time.Duration // start of the latest look that showed raw; the end of the first one before there is another
	age     time.Duration // how long raw has certainly not changed, as far as we have watched
	moves   int           // how often the owner has been seen to change it

	tries     []try // by method
	proof     *fence.Proof
	counts    time.Duration // when proof counts
	suspected time.Duration // when this content became suspect, 0 if it is not
	before    time.Duration // suspected, of the content before
	hinted    time.Duration // when somebody outside said that he is dead, 0 if nobody did
}

// try is what came of one method about the present content.
type try struct {
	running bool // also about an earlier content
	no      bool // it has answered no
	since   time.Duration
	retry   time.Duration
	text    string
}

// see takes in one look.
func (w *watch) see(p ondisk.Profile, im slotImage, start, end time.Duration) {
	if w.raw != nil && bytes.Equal(w.raw, im.raw) {
		if start > w.last {
			w.age += min(start-w.last, credit*p.Heartbeat)
			w.last = start
		}
		return
	}
	switch {
	case w.raw == nil:
	case w.slot == nil || im.slot == nil || w.slot.Incarnation != im.slot.Incarnation:
		// Somebody has just claimed it. That he lives is shown by the next change only: a claim may land late.
		w.moves, w.hinted = 0, 0
	default:
		w.moves++
	}
	w.raw, w.slot = slices.Clone(im.raw), im.slot
	w.since, w.last, w.age = end, end, 0
	w.content++
	w.proof, w.before, w.suspected = nil, w.suspected, 0
	for i := range w.tries {
		w.tries[i] = try{running: w.tries[i].running, since: w.tries[i].since}
	}
}

func (w *watch) verdict(p ondisk.Profile) verdict {
	switch {
	case w.slot != nil && w.slot.State == ondisk.SlotFree:
		return slotFree
	case w.slot != nil && isDead(w.slot):
		return slotDead
	case w.age >= suspectAfter*p.Heartbeat:
		return slotSuspect
	case w.moves > 0:
		return slotAlive
	}
	return slotUnknown
}

// hint reports whether somebody outside has said not long ago that the owner is dead.
func (w *watch) hint(now time.Duration, p ondisk.Profile) bool {
	return w.hinted != 0 && now-w.hinted < p.Wait()
}

// neighbour reports whether the owner runs under the same boot of the same kernel as m, so that the lock of its slot
// can be looked at.
func (w *watch) neighbour(m Machine) bool {
	return w.slot != nil && fence.HostLock{Host: m.Host, Boot: m.Boot}.Neighbour(w.slot.Host, w.slot.Boot)
}

// owner describes the life in slot j to a method.
func (w *watch) owner(j view.Slot) fence.Victim {
	v := fence.Victim{NodeID: view.NodeID{Slot: j}, Unchanged: w.age}
	if s := w.slot; s != nil {
		v.Incarnation, v.Name, v.Addr, v.Host, v.Boot = view.Incarnation(s.Incarnation), s.Name, s.Addr, s.Host, s.Boot
	}
	return v
}
