package check

import (
	"fmt"
	"math"

	"github.com/covol/covol/ondisk"
)

// tree walks the tree of one inode, claims its nodes and judges their shape.
type tree struct {
	c      *checker
	ino    uint64
	gen    uint64
	path   string
	nodes  uint64 // besides the root
	levels int    // of the root, 0 for an empty tree
	broken bool   // part of it could not be walked
	// leaf is given every slot of every leaf in order of keys, blk being the block that the leaf lies in.
	leaf func(blk, key uint64, v []byte) error
}

// walk starts at the root, which lies in the record.
func (t *tree) walk(root ondisk.Node) error {
	if root.Count() > 0 {
		t.levels = root.Level() + 1
	}
	return t.node(root, t.ino, 0, math.MaxUint64)
}

func (t *tree) at(blk uint64) Where { return Where{Block: blk, Inode: t.ino, Path: t.path} }

func (t *tree) tell(code Code, blk uint64, format string, args ...any) {
	t.c.tell(code, t.at(blk), format, args...)
}

// node walks n, found in block blk, whose keys must lie in [lo, hi]. n has passed Check.
func (t *tree) node(n ondisk.Node, blk, lo, hi uint64) error {
	count := n.Count()
	if count > 0 && (n.Key(0) < lo || n.Key(count-1) > hi) {
		t.tell(NodeRange, blk, "keys %#x to %#x, want %#x to %#x", n.Key(0), n.Key(count-1), lo, hi)
	}
	for i := range count {
		if n.Level() == 0 {
			if err := t.leaf(blk, n.Key(i), n.Value(i)); err != nil {
				return err
			}
			continue
		}
		from, to := lo, hi
		if i > 0 {
			from = n.Key(i)
		}
		if i+1 < count {
			to = n.Key(i+1) - 1
		}
		if err := t.child(n, blk, i, from, to); err != nil {
			return err
		}
	}
	return nil
}

// child claims and walks what slot i of n leads to.
func (t *tree) child(n ondisk.Node, parent uint64, i int, lo, hi uint64) error {
	c, blk := t.c, n.Child(i)
	if !c.metaPlace(blk) {
		t.broken = true
		c.add(Finding{Code: NodePlace, Where: t.at(parent), Key: n.Key(i), First: blk, Count: 1,
			Text: fmt.Sprintf("slot %d leads to block %d, where no node can be", i, blk)})
		return nil
	}
	if free, err := c.claimMeta(blk, false, t.at(parent)); err != nil || !free {
		t.broken = true
		return err
	}
	t.nodes++
	c.rep.Stats.TreeNodes++
	b, err := c.load(ondisk.TypeNode, blk)
	if err == nil {
		err = ondisk.Node(b[ondisk.NodeBody:]).Check(blk)
	}
	if err != nil {
		if !isFinding(err) {
			return err
		}
		t.broken = true
		t.tell(NodeInvalid, blk, "the tree node is not valid (%s)", reason(err))
		return nil
	}
	child := ondisk.Node(b[ondisk.NodeBody:])
	if h := ondisk.GetHeader(b); h.Owner != t.ino || h.Generation != t.gen {
		t.tell(NodeOwner, blk, "the node belongs to inode %d generation %d, it was found in inode %d generation %d",
			h.Owner, h.Generation, t.ino, t.gen)
	}
	if child.Count() == 0 {
		t.tell(NodeEmpty, blk, "the node is empty")
	}
	if child.Level() != n.Level()-1 {
		t.tell(NodeLevel, blk, "the node has level %d, want %d", child.Level(), n.Level()-1)
		if child.Level() >= n.Level() {
			t.broken = true
			return nil
		}
	}
	return t.node(child, blk, lo, hi)
}
