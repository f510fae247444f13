package cluster

import (
	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/ondisk"
)

// The mark of death: a slot whose Seq has the top bit set belongs to a life that was proven dead. The owner never
// writes such a Seq, so the mark makes its next renewal miscompare. The other bits name the life of the node that is
// bringing the journal home:
//
//	bit 63      1
//	bits 32-62  slot of the recoverer + 1, 0 for none
//	bits 0-31   incarnation of the recoverer
const deadBit = uint64(1) << 63

func isDead(s *ondisk.Slot) bool { return s.State != ondisk.SlotFree && s.Seq&deadBit != 0 }

// recoverer is the life that has taken the dead slot s to recover it.
func recoverer(s *ondisk.Slot) (view.NodeID, bool) {
	k := s.Seq &^ deadBit >> 32
	if !isDead(s) || k == 0 || k > ondisk.MaxSlots {
		return view.NodeID{}, false
	}
	return view.NodeID{Slot: view.Slot(k - 1), Incarnation: view.Incarnation(uint32(s.Seq))}, true
}

func deadSeq(by view.NodeID) uint64 {
	return deadBit | (uint64(by.Slot)+1)<<32 | uint64(by.Incarnation)
}

// unknownLives is added to the highest incarnation that the view knows when a slot block is lost: lives that the
// view never saw must not come again.
const unknownLives = 1 << 16

// deadOf is the slot block that declares the life in old dead. A block that cannot be read is replaced by one whose
// incarnation is higher than any that the view knows.
func deadOf(index uint16, old *ondisk.Slot, v *ondisk.View, seq uint64) *ondisk.Slot {
	if old == nil {
		inc := max(v.Members[index], v.Recovering[index]) + unknownLives
		return &ondisk.Slot{Index: index, State: ondisk.SlotActive, Incarnation: inc, Seq: seq, Epoch: v.Epoch}
	}
	s := *old
	s.Seq = seq
	if s.State == ondisk.SlotFree {
		s.State = ondisk.SlotActive
	}
	return &s
}

// freeOf is the slot block that frees the slot of a life that is over. The name stays, so that its node gets the same
// slot again.
func freeOf(old *ondisk.Slot) *ondisk.Slot {
	return &ondisk.Slot{Index: old.Index, State: ondisk.SlotFree, Incarnation: old.Incarnation, Epoch: old.Epoch, Name: old.Name}
}
