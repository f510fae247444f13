package ondisk

import "encoding/binary"

// Holder says whose a slot is, as voted: where the device has no compare-and-swap, nobody else may write the slot block
// of a life, so its end stands in the view. A slot block with a higher incarnation is a claim that is not voted on yet.
type Holder struct {
	Incarnation uint32 // latest life that a vote has spoken of, 0 for none
	State       HolderState
}

// HolderState is what the votes say of a life.
type HolderState uint16

// States of a life. HolderDead + 1 + k is a dead life whose journal the member in slot k brings home.
const (
	HolderFree   HolderState = iota // over, and nothing is left of it
	HolderHeld                      // it owns the slot
	HolderDoomed                    // it cannot renew its lease any more, but the last one may last
	HolderDead                      // over
)

// RecoveredBy is the state of a dead life whose journal the member in slot k brings home.
func RecoveredBy(k uint16) HolderState { return HolderDead + 1 + HolderState(k) }

// Recoverer is the slot of the member that brings the journal home.
func (s HolderState) Recoverer() (k uint16, ok bool) {
	if s <= HolderDead || s > HolderDead+MaxSlots {
		return 0, false
	}
	return uint16(s - HolderDead - 1), true
}

const holderSize = 6 // bytes

func putHolders(p []byte, h []Holder) {
	for i, x := range h {
		binary.LittleEndian.PutUint32(p[holderSize*i:], x.Incarnation)
		binary.LittleEndian.PutUint16(p[holderSize*i+4:], uint16(x.State))
	}
}

func getHolders(p []byte, slots uint32) []Holder {
	h := make([]Holder, slots)
	for i := range h {
		h[i].Incarnation = binary.LittleEndian.Uint32(p[holderSize*i:])
		h[i].State = HolderState(binary.LittleEndian.Uint16(p[holderSize*i+4:]))
	}
	return h
}
