package reservation

import (
	"fmt"

	"github.com/covol/covol/cluster/fence"
	"github.com/covol/covol/cluster/view"
)

// Key names a life at the storage: 16 bits of the volume, 16 of the slot, 32 of the incarnation. 0 is no key.
type Key uint64

// toolSlot is the slot in the keys of tools that take a volume for themselves; no volume has so many.
const toolSlot = view.Slot(0xffff)

// KeyOf returns the key of a life.
func KeyOf(me fence.Self) Key { return makeKey(me.Volume, me.NodeID) }

func makeKey(volume [16]byte, id view.NodeID) Key {
	return Key(clusterOf(volume))<<48 | Key(id.Slot)<<32 | Key(id.Incarnation)
}

// clusterOf folds a UUID, so that every bit of it counts.
func clusterOf(volume [16]byte) (c uint16) {
	for i, b := range volume {
		c ^= uint16(b) << (8 * (i % 2))
	}
	return c
}

// Life is the slot and incarnation.
func (k Key) Life() view.NodeID {
	return view.NodeID{Slot: view.Slot(k >> 32), Incarnation: view.Incarnation(k)}
}

// of reports whether k is a key of that volume.
func (k Key) of(volume [16]byte) bool { return uint16(k>>48) == clusterOf(volume) }

// earlier reports whether k is the key of an earlier life in the slot of other.
func (k Key) earlier(other Key) bool { return k>>32 == other>>32 && uint32(k) < uint32(other) }

// String is the key as sg_persist prints it.
func (k Key) String() string { return fmt.Sprintf("%#x", uint64(k)) }
