package fs

import (
	"context"
	"errors"
	"fmt"

	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
)

// A tree maps 64-bit keys to short values. Its root lies in the record of an inode, all other nodes in blocks that the
// inode owns. Writers hold separators to the exact lower bound of what they lead to; readers also accept a first
// separator that is higher, as the format allows (see ondisk.Node).

// maxTreeValue is the longest value in bytes: an overfull node can always be cut into two that fit.
const maxTreeValue = (ondisk.NodeSize-rootHead)/3 - 12

// rootHead is what a Node needs besides its slots, in bytes.
const rootHead = 16

// errTreeFull means that a tree would outgrow its height, or a root the room that its record has.
var errTreeFull = errors.New("tree is full")

// blockReader reads metadata blocks: the journal, or a transaction with what it has written itself.
type blockReader interface {
	Read(ctx context.Context, blk uint64, want ondisk.Type, owner uint64) ([]byte, error)
}

// treeNode is a node with what its parent promises of it. All its keys lie in [lo, hi]. Its bytes must not be changed.
type treeNode struct {
	ondisk.Node
	blk    uint64 // 0: the root, in the record
	lo, hi uint64
}

// where is the block that holds the node.
func (n treeNode) where(in *ondisk.Inode) uint64 {
	if n.blk == 0 {
		return in.Ino
	}
	return n.blk
}

// treeRoot is the root of the tree in in, which may not have been laid out yet.
func treeRoot(in *ondisk.Inode) treeNode {
	root := in.Root
	if len(root) == 0 {
		root = ondisk.InitNode(make([]byte, ondisk.MinNodeSize), 0)
	}
	return treeNode{Node: root, hi: ^uint64(0)}
}

// treeChild reads what slot i of n leads to and holds it to what n says of it (F1).
func treeChild(ctx context.Context, r blockReader, in *ondisk.Inode, n treeNode, i int) (treeNode, error) {
	c := treeNode{blk: n.Child(i), lo: n.lo, hi: n.hi}
	if i > 0 {
		c.lo = n.Key(i)
	}
	if i+1 < n.Count() {
		c.hi = n.Key(i+1) - 1 // keys ascend strictly, so it is not 0
	}
	bad := func(field string, got, want any) (treeNode, error) {
		return treeNode{}, &ondisk.Corrupt{Struct: "node", Block: c.blk, Field: field, Got: got, Want: want}
	}
	if c.blk == 0 || c.blk >= ondisk.MaxVolume/ondisk.BlockSize {
		return treeNode{}, &ondisk.Corrupt{Struct: "node", Block: n.where(in), Field: "child", Got: c.blk}
	}
	b, err := r.Read(ctx, c.blk, ondisk.TypeNode, in.Ino)
	if errors.Is(err, blockdev.ErrRange) {
		return treeNode{}, &ondisk.Corrupt{Struct: "node", Block: n.where(in), Field: "child", Got: c.blk}
	}
	if err != nil {
		return treeNode{}, fmt.Errorf("tree of inode %d: %w", in.Ino, err)
	}
	c.Node = b[ondisk.NodeBody:]
	if h := ondisk.GetHeader(b); h.Owner != in.Ino || h.Generation != in.Generation {
		return bad("owner", fmt.Sprintf("%d generation %d", h.Owner, h.Generation), fmt.Sprintf("%d generation %d", in.Ino, in.Generation))
	}
	if err := c.Check(c.blk); err != nil {
		return treeNode{}, err
	}
	switch count := c.Count(); {
	case c.Level() != n.Level()-1:
		return bad("level", c.Level(), n.Level()-1)
	case count == 0:
		return bad("count", 0, nil)
	case c.Key(0) < c.lo:
		return bad("first key", c.Key(0), fmt.Sprintf("at least %d", c.lo))
	case c.Key(count-1) > c.hi:
		return bad("last key", c.Key(count-1), fmt.Sprintf("at most %d", c.hi))
	}
	return c, nil
}

// treePath is the way from the root to a leaf, the root first; slots[i] is the slot of nodes[i] that leads on.
type treePath struct {
	nodes []treeNode
	slots []int
}

// treeDescend walks to the leaf where key belongs.
func treeDescend(ctx context.Context, r blockReader, in *ondisk.Inode, key uint64) (treePath, error) {
	n := treeRoot(in)
	if n.Level() > ondisk.MaxNodeLevel {
		return treePath{}, &ondisk.Corrupt{Struct: "node", Block: in.Ino, Field: "level", Got: n.Level()}
	}
	p := treePath{nodes: []treeNode{n}}
	for n.Level() > 0 {
		i := n.ChildFor(key)
		c, err := treeChild(ctx, r, in, n, i)
		if err != nil {
			return treePath{}, err
		}
		p.nodes, p.slots = append(p.nodes, c), append(p.slots, i)
		n = c
	}
	return p, nil
}

// leaf is where the path ends.
func (p *treePath) leaf() treeNode { return p.nodes[len(p.nodes)-1] }

// treeGet returns the value under key. It may share memory with a block that must not be changed.
func treeGet(ctx context.Context, r blockReader, in *ondisk.Inode, key uint64) (value []byte, found bool, err error) {
	p, err := treeDescend(ctx, r, in, key)
	if err != nil {
		return nil, false, err
	}
	leaf := p.leaf()
	if i, ok := leaf.Search(key); ok {
		return leaf.Value(i), true, nil
	}
	return nil, false, nil
}

// treeFloor returns the greatest key that is not above key, with its value.
func treeFloor(ctx context.Context, r blockReader, in *ondisk.Inode, key uint64) (k uint64, value []byte, found bool, err error) {
	p, err := treeDescend(ctx, r, in, key)
	if err != nil {
		return 0, nil, false, err
	}
	n := p.leaf()
	i, eq := n.Search(key)
	if eq {
		return key, n.Value(i), true, nil
	}
	// No node but the root is empty, so one step to the left at the lowest fork that has one finds the floor.
	for d := len(p.slots) - 1; i == 0; d-- {
		if d < 0 {
			return 0, nil, false, nil
		}
		if p.slots[d] == 0 {
			continue
		}
		n, i = p.nodes[d], p.slots[d]
		for n.Level() > 0 {
			if n, err = treeChild(ctx, r, in, n, i-1); err != nil {
				return 0, nil, false, err
			}
			i = n.Count()
		}
	}
	return n.Key(i - 1), n.Value(i - 1), true, nil
}

// treeScan calls fn for every key from from on, ascending, until fn returns false. fn must not change the tree; value
// may share memory with a block that must not be changed.
func treeScan(ctx context.Context, r blockReader, in *ondisk.Inode, from uint64, fn func(key uint64, value []byte) (more bool)) error {
	_, err := treeScanNode(ctx, r, in, treeRoot(in), from, fn)
	return err
}

func treeScanNode(ctx context.Context, r blockReader, in *ondisk.Inode, n treeNode, from uint64, fn func(uint64, []byte) bool) (bool, error) {
	if n.Level() == 0 {
		for i, _ := n.Search(from); i < n.Count(); i++ {
			if !fn(n.Key(i), n.Value(i)) {
				return false, nil
			}
		}
		return true, nil
	}
	if n.Level() > ondisk.MaxNodeLevel {
		return false, &ondisk.Corrupt{Struct: "node", Block: n.where(in), Field: "level", Got: n.Level()}
	}
	for i := n.ChildFor(from); i < n.Count(); i++ {
		c, err := treeChild(ctx, r, in, n, i)
		if err != nil {
			return false, err
		}
		if more, err := treeScanNode(ctx, r, in, c, from, fn); err != nil || !more {
			return false, err
		}
	}
	return true, nil
}
