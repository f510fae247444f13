package cluster

import (
	"bytes"
	"slices"
	"time"

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

// lockLook is what the lock of the host told about the content that is being watched.
type lockLook int

const (
	lockNotAsked lockLook = iota
	lockHeld
	lockOpen
)

// watch follows the content of one slot block. All times are of this node's own looks, so that no clock but ours
// matters.
type watch struct {
	raw   []byte
	slot  *ondisk.Slot
	first time.Duration // first look at this life
	since time.Duration // end of the look that first showed raw
	last  time.Duration // start of the latest look, which showed raw too
	moves int           // how often the owner has been seen to change it
	lock  lockLook
	asked time.Duration // when lock was looked at
}

// see takes in one look.
func (w *watch) see(im slotImage, start, end time.Duration) {
	if w.raw != nil && bytes.Equal(w.raw, im.raw) {
		w.last = start
		return
	}
	switch {
	case w.raw == nil:
		w.first = end
	case w.slot == nil || im.slot == nil || w.slot.Incarnation != im.slot.Incarnation:
		// Somebody has just claimed it. That he lives is shown by the next change only: a claim may land late.
		w.first, w.moves = end, 0
	default:
		w.moves++
	}
	w.raw, w.slot = slices.Clone(im.raw), im.slot
	w.since, w.last, w.lock = end, end, lockNotAsked
}

// age is how long the content has certainly not changed.
func (w *watch) age() time.Duration { return max(w.last-w.since, 0) }

func (w *watch) verdict(p ondisk.Profile) verdict {
	switch {
	case w.slot != nil && w.slot.State == ondisk.SlotFree:
		return slotFree
	case w.slot != nil && isDead(w.slot):
		return slotDead
	case w.age() >= suspectAfter*p.Heartbeat:
		return slotSuspect
	case w.moves > 0:
		return slotAlive
	}
	return slotUnknown
}

// proof says by which method the owner is proven dead, if it is.
func (w *watch) proof(p ondisk.Profile) (Method, bool) {
	if w.verdict(p) != slotSuspect {
		return MethodNone, false
	}
	switch {
	case w.lock == lockOpen:
		return MethodHostLock, true
	case w.age() >= p.Wait():
		return MethodLease, true
	}
	return MethodNone, false
}

// neighbour reports whether the owner runs under the same boot of the same kernel as m, so that the lock of its slot
// can be looked at. Equal machine-ids alone prove nothing: machines get cloned.
func (w *watch) neighbour(m Machine) bool {
	return w.slot != nil && m.Host != [16]byte{} && w.slot.Host == m.Host && w.slot.Boot == m.Boot
}

// Method is how a death is proven.
type Method int

// Methods, best first.
const (
	MethodNone     Method = iota
	MethodHostLock        // the kernel has dropped the lock that the node held for life
	MethodLease           // nothing was written for L + D + g
)

func (m Method) String() string { return [...]string{"none", "host lock", "lease"}[m] }
