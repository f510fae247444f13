package ondisk

import (
	"encoding/binary"
	"fmt"
	"sort"
)

// Node is the slotted area of one node of a B+tree from 64-bit keys to short values. It fills the body of a TypeNode
// block, or, for the root, an attribute inside the record of the inode. A Node is a view of bytes: methods that
// change it change those bytes.
//
//	0  le16 level   0 for a leaf; the values of other levels are block numbers of children
//	2  le16 count   of slots
//	4  le32 heap    offset of the lowest value byte
//	8  le32 live    bytes of values in use; the rest of the heap is garbage of replaced values
//	12 le32 zero
//	16 slots, 12 bytes each: le64 key, le16 offset, le16 length; keys ascend strictly
//	   free space
//	   heap of values up to the end
//
// In an inner node slot i leads to all keys from its own key up to, but not including, that of slot i+1; slot 0 leads
// also to all that are lower.
type Node []byte

// NodeBody is where a Node begins in a TypeNode block, NodeSize is its size there.
const (
	NodeBody = HeaderSize
	NodeSize = BlockSize - HeaderSize

	nodeHead = 16
	nodeSlot = 12
	// MaxNodeLevel bounds the height of a tree: more levels than any volume can need.
	MaxNodeLevel = 12
	// MinNodeSize is the size of the smallest useful Node: a root with two children.
	MinNodeSize = nodeHead + 2*(nodeSlot+8)
)

// InitNode makes n an empty node of the given level.
func InitNode(n []byte, level int) Node {
	clear(n)
	le := binary.LittleEndian
	le.PutUint16(n[0:], uint16(level))
	le.PutUint32(n[4:], uint32(len(n)))
	return n
}

// Level is 0 for a leaf.
func (n Node) Level() int { return int(binary.LittleEndian.Uint16(n[0:])) }

// Count is the number of slots.
func (n Node) Count() int { return int(binary.LittleEndian.Uint16(n[2:])) }

func (n Node) heap() int { return int(binary.LittleEndian.Uint32(n[4:])) }
func (n Node) live() int { return int(binary.LittleEndian.Uint32(n[8:])) }

func (n Node) set(count, heap, live int) {
	le := binary.LittleEndian
	le.PutUint16(n[2:], uint16(count))
	le.PutUint32(n[4:], uint32(heap))
	le.PutUint32(n[8:], uint32(live))
}

// Key is the key of slot i.
func (n Node) Key(i int) uint64 { return binary.LittleEndian.Uint64(n[nodeHead+nodeSlot*i:]) }

// Value is the value of slot i, inside n.
func (n Node) Value(i int) []byte {
	s := n[nodeHead+nodeSlot*i:]
	off, l := int(binary.LittleEndian.Uint16(s[8:])), int(binary.LittleEndian.Uint16(s[10:]))
	return n[off : off+l : off+l]
}

// Child is the block number in slot i of an inner node.
func (n Node) Child(i int) uint64 { return binary.LittleEndian.Uint64(n.Value(i)) }

// Search returns the first slot whose key is not below key, and whether it is equal.
func (n Node) Search(key uint64) (i int, found bool) {
	c := n.Count()
	i = sort.Search(c, func(i int) bool { return n.Key(i) >= key })
	return i, i < c && n.Key(i) == key
}

// ChildFor returns the slot of an inner node that leads to key. The node must not be empty.
func (n Node) ChildFor(key uint64) int {
	i, found := n.Search(key)
	if found || i == 0 {
		return i
	}
	return i - 1
}

// Room is how many bytes of slots and values can still be added; a value of l bytes takes SlotCost(l).
func (n Node) Room() int { return len(n) - nodeHead - nodeSlot*n.Count() - n.live() }

// Need is how many bytes a Node must have to hold what n holds.
func (n Node) Need() int { return len(n) - n.Room() }

// SlotCost is how much room a slot with a value of l bytes takes.
func SlotCost(l int) int { return nodeSlot + l }

// compact rewrites the heap without garbage.
func (n Node) compact() {
	old := append([]byte(nil), n...)
	o := Node(old)
	top := len(n)
	for i := range n.Count() {
		v := o.Value(i)
		top -= len(v)
		copy(n[top:], v)
		binary.LittleEndian.PutUint16(n[nodeHead+nodeSlot*i+8:], uint16(top))
	}
	clear(n[nodeHead+nodeSlot*n.Count() : top])
	n.set(n.Count(), top, n.live())
}

// Insert puts a new slot at i, which must be where Search says. It returns false and changes nothing if there is not
// enough room. value must not lie inside n.
func (n Node) Insert(i int, key uint64, value []byte) bool {
	if n.Room() < SlotCost(len(value)) {
		return false
	}
	c := n.Count()
	if n.heap()-len(value) < nodeHead+nodeSlot*(c+1) {
		n.compact()
	}
	at := nodeHead + nodeSlot*i
	copy(n[at+nodeSlot:nodeHead+nodeSlot*(c+1)], n[at:nodeHead+nodeSlot*c])
	off := n.heap() - len(value)
	copy(n[off:], value)
	le := binary.LittleEndian
	le.PutUint64(n[at:], key)
	le.PutUint16(n[at+8:], uint16(off))
	le.PutUint16(n[at+10:], uint16(len(value)))
	n.set(c+1, off, n.live()+len(value))
	return true
}

// Delete removes slot i.
func (n Node) Delete(i int) {
	c, l := n.Count(), len(n.Value(i))
	at := nodeHead + nodeSlot*i
	copy(n[at:], n[at+nodeSlot:nodeHead+nodeSlot*c])
	clear(n[nodeHead+nodeSlot*(c-1) : nodeHead+nodeSlot*c])
	n.set(c-1, n.heap(), n.live()-l)
	if c == 1 {
		n.set(0, len(n), 0)
	}
}

// Replace gives slot i another value, which must not lie inside n. It returns false and changes nothing if there is
// not enough room.
func (n Node) Replace(i int, value []byte) bool {
	old := n.Value(i)
	if len(old) == len(value) {
		copy(old, value)
		return true
	}
	if n.Room()+len(old) < len(value) {
		return false
	}
	key := n.Key(i)
	n.Delete(i)
	return n.Insert(i, key, value)
}

// SetKey changes the key of slot i. The order of keys must stay.
func (n Node) SetKey(i int, key uint64) {
	binary.LittleEndian.PutUint64(n[nodeHead+nodeSlot*i:], key)
}

// Check holds every field of n to its bounds, so that no other method can fail or read outside n, and no two values
// share a byte. An inner node must lead somewhere. minKey and the level that the parent leads to are the caller's to
// compare. The error is a *Corrupt for block blk.
func (n Node) Check(blk uint64) error {
	bad := func(field string, got any) error {
		return &Corrupt{Struct: "node", Block: blk, Field: field, Got: got}
	}
	if len(n) < nodeHead || len(n) > NodeSize {
		return bad("size", len(n))
	}
	slots := nodeHead + nodeSlot*n.Count()
	switch {
	case n.Level() > MaxNodeLevel:
		return bad("level", n.Level())
	case slots > len(n):
		return bad("count", n.Count())
	case n.heap() < slots || n.heap() > len(n):
		return bad("heap", n.heap())
	case n.Level() > 0 && n.Count() == 0:
		return bad("count", "inner node without children")
	}
	live := 0
	var used byteSet
	for i := range n.Count() {
		s := n[nodeHead+nodeSlot*i:]
		off, l := int(binary.LittleEndian.Uint16(s[8:])), int(binary.LittleEndian.Uint16(s[10:]))
		if off < n.heap() || off+l > len(n) {
			return bad("value", fmt.Sprintf("slot %d at %d+%d", i, off, l))
		}
		if i > 0 && n.Key(i) <= n.Key(i-1) {
			return bad("order of keys", fmt.Sprintf("slot %d", i))
		}
		if n.Level() > 0 && l != 8 {
			return bad("child", fmt.Sprintf("slot %d of %d bytes", i, l))
		}
		if !used.add(off, l) {
			return bad("overlap of values", fmt.Sprintf("slot %d at %d+%d", i, off, l))
		}
		live += l
	}
	if live != n.live() {
		return bad("live bytes", n.live())
	}
	return nil
}

// byteSet marks bytes of a Node.
type byteSet [(NodeSize + 63) / 64]uint64

// add marks l bytes from off; false means that one of them was marked before.
func (s *byteSet) add(off, l int) bool {
	for l > 0 {
		n := min(l, 64-off%64)
		mask := (^uint64(0) >> (64 - n)) << (off % 64)
		if s[off/64]&mask != 0 {
			return false
		}
		s[off/64] |= mask
		off, l = off+n, l-n
	}
	return true
}
