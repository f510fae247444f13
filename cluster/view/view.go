// Package view names the nodes of one volume: who is in, since when, and under which epoch. It is plain data,
// shared by the packages that must agree on it and import nothing of each other.
package view

import "slices"

// Slot is the index of a node's slot on the volume, from 0. It is the node's identity on the wire and on disk.
type Slot uint16

// NoSlot stands for no node.
const NoSlot Slot = 0xffff

// Incarnation counts the claims of one slot. It grows by one with every claim, so that what an earlier life of
// the node wrote or sent can be told from the present one's. 0 means never claimed.
type Incarnation uint32

// Epoch counts the views of one volume. Every message and every metadata block carries it (design, C3).
type Epoch uint64

// NodeID is one life of one node.
type NodeID struct {
	Slot        Slot
	Incarnation Incarnation
}

// Member is a node that belongs to a view.
type Member struct {
	NodeID
	Name string // as given to mount --node, unique on the volume
	Addr string // host:port of its lock manager
}

// View is the membership of one volume in one epoch.
type View struct {
	Epoch   Epoch
	Members []Member // ascending slots
	// Recovering are the dead whose journals have not been replayed yet, ascending slots. What they held or
	// mastered must not be granted until a later view lists them no more.
	Recovering []NodeID
}

// Member returns the member in slot s.
func (v *View) Member(s Slot) (Member, bool) {
	i, ok := slices.BinarySearchFunc(v.Members, s, func(m Member, s Slot) int { return int(m.Slot) - int(s) })
	if !ok {
		return Member{}, false
	}
	return v.Members[i], true
}

// Has reports whether exactly this life of the node is a member.
func (v *View) Has(id NodeID) bool {
	m, ok := v.Member(id.Slot)
	return ok && m.Incarnation == id.Incarnation
}

// IsRecovering reports whether this life of the node is dead and not yet recovered.
func (v *View) IsRecovering(id NodeID) bool { return slices.Contains(v.Recovering, id) }
