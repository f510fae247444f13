package fs

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/covol/covol/ondisk"
)

// Nodes that together fill no more than mergeFill bytes become one; a node with more than tryMerge is left alone
// without looking at its neighbours.
const (
	mergeFill = ondisk.NodeSize * 6 / 10
	tryMerge  = ondisk.NodeSize * 4 / 10
)

// rootSlack is how many bytes a root gets more than it needs.
const rootSlack = 64

// treeNeed is how many metadata blocks a transaction must have for one treePut or treeShrinkRoot, one level of growth
// by an earlier put of the same transaction included.
func treeNeed(in *ondisk.Inode) int { return treeRoot(in).Level() + 3 }

// treeEntry is a slot of a node that is being laid out anew.
type treeEntry struct {
	key   uint64
	value []byte
}

func treeEntries(n ondisk.Node) []treeEntry {
	es := make([]treeEntry, n.Count(), n.Count()+1)
	for i := range es {
		es[i] = treeEntry{n.Key(i), n.Value(i)}
	}
	return es
}

func treeCost(es []treeEntry) int {
	c := 0
	for _, e := range es {
		c += ondisk.SlotCost(len(e.value))
	}
	return c
}

// layNode fills n, which must be large enough, with es.
func layNode(n []byte, level int, es []treeEntry) ondisk.Node {
	node := ondisk.InitNode(n, level)
	for i, e := range es {
		node.Insert(i, e.key, e.value)
	}
	return node
}

// layRoot gives in a root of at most room bytes; false means that es needs more.
func layRoot(in *ondisk.Inode, level int, es []treeEntry, room int) bool {
	room &^= 7
	need := (rootHead + treeCost(es) + 7) &^ 7
	if need > room || room < ondisk.MinNodeSize {
		return false
	}
	in.Root = layNode(make([]byte, min(max(need+rootSlack, ondisk.MinNodeSize), room)), level, es)
	return true
}

// layBlock writes a block of the tree with es, which must fit.
func layBlock(tx *txn, in *ondisk.Inode, blk uint64, level int, es []treeEntry) {
	b := ondisk.NewBlock(ondisk.TypeNode, blk, tx.s.sb.UUID, in.Ino, in.Generation)
	layNode(b[ondisk.NodeBody:], level, es)
	tx.Write(blk, in.Ino, b)
}

// editNode changes a copy of n, and puts it into the record or the transaction if edit says that it worked. It is the
// quick way: most changes fit where they belong.
func editNode(tx *txn, in *ondisk.Inode, n treeNode, edit func(ondisk.Node) bool) (ondisk.Node, bool) {
	if n.blk == 0 {
		root := slices.Clone(n.Node)
		if len(root) > in.AttrRoom() || !edit(root) {
			return nil, false
		}
		in.Root = root
		return root, true
	}
	b := ondisk.NewBlock(ondisk.TypeNode, n.blk, tx.s.sb.UUID, in.Ino, in.Generation)
	node := ondisk.Node(b[ondisk.NodeBody:])
	copy(node, n.Node)
	if !edit(node) {
		return nil, false
	}
	tx.Write(n.blk, in.Ino, b)
	return node, true
}

// treeAlloc writes a new block of the tree with es and returns its number as the value of a slot.
func treeAlloc(ctx context.Context, tx *txn, in *ondisk.Inode, level int, es []treeEntry) ([]byte, error) {
	blk, err := tx.allocMeta(ctx)
	if err != nil {
		return nil, fmt.Errorf("tree of inode %d: %w", in.Ino, err)
	}
	in.Meta++
	layBlock(tx, in, blk, level, es)
	return binary.LittleEndian.AppendUint64(nil, blk), nil
}

// treeFree gives a block of the tree back.
func treeFree(tx *txn, in *ondisk.Inode, blk uint64) {
	in.Meta -= min(in.Meta, 1)
	tx.freeMeta(blk)
}

// treePut maps key to value, which must not be longer than maxTreeValue. in is the caller's private copy of the record
// and must be written by the caller afterwards; after an error the transaction and the copy are of no use.
func treePut(ctx context.Context, tx *txn, in *ondisk.Inode, key uint64, value []byte) error {
	if len(value) > maxTreeValue {
		return fmt.Errorf("tree of inode %d: value of %d bytes: %w", in.Ino, len(value), errTreeFull)
	}
	p, err := treeDescend(ctx, tx, in, key)
	if err != nil {
		return err
	}
	i, found := p.leaf().Search(key)
	return treeUpsert(ctx, tx, in, &p, len(p.nodes)-1, i, found, treeEntry{key, value})
}

// treeUpsert puts e into slot i of the node at depth d of the path, or over it, and cuts nodes in two as needed, upwards.
func treeUpsert(ctx context.Context, tx *txn, in *ondisk.Inode, p *treePath, d, i int, over bool, e treeEntry) error {
	n := p.nodes[d]
	if _, ok := editNode(tx, in, n, func(m ondisk.Node) bool {
		if over {
			return m.Replace(i, e.value)
		}
		return m.Insert(i, e.key, e.value)
	}); ok {
		return nil
	}
	es := treeEntries(n.Node)
	edge := !over && i == len(es) && p.rightmost(d)
	if over {
		es[i] = e
	} else {
		es = append(es, treeEntry{})
		copy(es[i+1:], es[i:])
		es[i] = e
	}
	if d == 0 {
		if layRoot(in, n.Level(), es, in.AttrRoom()) {
			return nil
		}
		return treePushDown(ctx, tx, in, n.Level(), es, edge, in.AttrRoom())
	}
	cut := treeCut(es, edge)
	right, err := treeAlloc(ctx, tx, in, n.Level(), es[cut:])
	if err != nil {
		return err
	}
	layBlock(tx, in, n.blk, n.Level(), es[:cut])
	return treeUpsert(ctx, tx, in, p, d-1, p.slots[d-1]+1, false, treeEntry{es[cut].key, right})
}

// rightmost reports whether nothing lies to the right of the node at depth d.
func (p *treePath) rightmost(d int) bool {
	for i := range d {
		if p.slots[i] != p.nodes[i].Count()-1 {
			return false
		}
	}
	return true
}

// treeCut says how many of the entries of an overfull node stay in the left half: all but the last at the right edge of
// the tree, so that ascending keys leave full nodes behind, else about half of the bytes.
func treeCut(es []treeEntry, edge bool) int {
	if edge {
		return len(es) - 1
	}
	total, left := treeCost(es), 0
	best, cut := math.MaxInt, 1
	for i := range len(es) - 1 {
		left += ondisk.SlotCost(len(es[i].value))
		if larger := max(left, total-left); larger < best {
			best, cut = larger, i+1
		}
	}
	return cut
}

// treePushDown moves the entries of a root into one block, or two, and makes a root of the next level above them.
func treePushDown(ctx context.Context, tx *txn, in *ondisk.Inode, level int, es []treeEntry, edge bool, room int) error {
	if level >= ondisk.MaxNodeLevel {
		return fmt.Errorf("tree of inode %d: %d levels: %w", in.Ino, level, errTreeFull)
	}
	parts := [][]treeEntry{es}
	if rootHead+treeCost(es) > ondisk.NodeSize {
		cut := treeCut(es, edge)
		parts = [][]treeEntry{es[:cut], es[cut:]}
	}
	var top []treeEntry
	for i, part := range parts {
		v, err := treeAlloc(ctx, tx, in, level, part)
		if err != nil {
			return err
		}
		e := treeEntry{0, v}
		if i > 0 {
			e.key = part[0].key
		}
		top = append(top, e)
	}
	if !layRoot(in, level+1, top, room) {
		return fmt.Errorf("tree of inode %d: root of %d bytes: %w", in.Ino, room, errTreeFull)
	}
	return nil
}

// treeShrinkRoot makes the root take at most room bytes of the record, because names or extended attributes need the
// space. It may need treeNeed blocks.
func treeShrinkRoot(ctx context.Context, tx *txn, in *ondisk.Inode, room int) error {
	room = min(room, in.AttrRoom())
	n := treeRoot(in)
	es := treeEntries(n.Node)
	if layRoot(in, n.Level(), es, room) {
		return nil
	}
	return treePushDown(ctx, tx, in, n.Level(), es, false, room)
}

// treeDelete removes key, and gives back blocks that are empty or fit into a neighbour. It needs no space.
func treeDelete(ctx context.Context, tx *txn, in *ondisk.Inode, key uint64) (found bool, err error) {
	p, err := treeDescend(ctx, tx, in, key)
	if err != nil {
		return false, err
	}
	i, ok := p.leaf().Search(key)
	if !ok {
		return false, nil
	}
	return true, treeRemove(ctx, tx, in, &p, len(p.nodes)-1, i)
}

// treeRemove takes slot i out of the node at depth d of the path.
func treeRemove(ctx context.Context, tx *txn, in *ondisk.Inode, p *treePath, d, i int) error {
	n := p.nodes[d]
	if n.Count() == 1 {
		if d == 0 {
			layRoot(in, 0, nil, ondisk.MinNodeSize)
			return nil
		}
		treeFree(tx, in, n.blk)
		return treeRemove(ctx, tx, in, p, d-1, p.slots[d-1])
	}
	remove := func(m ondisk.Node) bool {
		if m.Level() > 0 && i == 0 {
			m.SetKey(1, n.lo) // the next child now takes over from the lower bound on
		}
		m.Delete(i)
		return true
	}
	left, ok := editNode(tx, in, n, remove)
	switch {
	case !ok: // the record has no room for so large a root
		root := slices.Clone(n.Node)
		remove(root)
		if !layRoot(in, n.Level(), treeEntries(root), len(root)) {
			return fmt.Errorf("tree of inode %d: root: %w", in.Ino, errTreeFull)
		}
		fallthrough
	case d == 0:
		return treeCollapse(ctx, tx, in)
	case left.Need() > tryMerge:
		return nil
	}
	return treeMerge(ctx, tx, in, p, d, treeEntries(left))
}

// treeMerge joins the node at depth d, which now holds es, with a neighbour under the same parent if they fit.
func treeMerge(ctx context.Context, tx *txn, in *ondisk.Inode, p *treePath, d int, es []treeEntry) error {
	n, up, at := p.nodes[d], p.nodes[d-1], p.slots[d-1]
	for _, other := range []int{at - 1, at + 1} {
		if other < 0 || other >= up.Count() {
			continue
		}
		sib, err := treeChild(ctx, tx, in, up, other)
		if err != nil {
			return err
		}
		left, right, l, r := treeEntries(sib.Node), es, sib.blk, n.blk
		if other > at {
			left, right, l, r = es, treeEntries(sib.Node), n.blk, sib.blk
		}
		if rootHead+treeCost(left)+treeCost(right) > mergeFill {
			continue
		}
		if n.Level() > 0 {
			right[0].key = up.Key(max(at, other))
		}
		layBlock(tx, in, l, n.Level(), append(left, right...))
		treeFree(tx, in, r)
		return treeRemove(ctx, tx, in, p, d-1, max(at, other))
	}
	return nil
}

// treeCollapse pulls an only child up into the root while it fills no more than half of its room, so that the next put
// does not push it down again.
func treeCollapse(ctx context.Context, tx *txn, in *ondisk.Inode) error {
	for {
		root := treeRoot(in)
		if root.Level() == 0 || root.Count() != 1 {
			return nil
		}
		c, err := treeChild(ctx, tx, in, root, 0)
		if err != nil {
			return err
		}
		if !layRoot(in, c.Level(), treeEntries(c.Node), max(in.AttrRoom()/2, ondisk.MinNodeSize)) {
			return nil
		}
		treeFree(tx, in, c.blk)
	}
}
