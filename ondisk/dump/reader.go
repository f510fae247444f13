package dump

import (
	"context"
	"fmt"

	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/layout"
	"github.com/covol/covol/ondisk/volume"
)

// dumper reads one volume.
type dumper struct {
	ctx context.Context
	dev blockdev.Device
	s   *ondisk.Super
}

// block reads block blk and prints it as what it should be. bytes are nil if it could not be read; err is what is wrong
// with it, as the item says too. Only a context that has ended, or a place outside the device, is not a finding: see read.
func (d *dumper) block(name string, want ondisk.Type, blk uint64) (it item, b []byte, err error) {
	it = item{name: name, sub: []item{}}
	b, err = volume.ReadBlock(d.ctx, d.dev, blk)
	if err != nil {
		it.add(finding(err))
		return it, nil, err
	}
	if err = ondisk.CheckHeader(b, want, blk, d.s.UUID); err != nil {
		it.add(finding(err))
	}
	it.add(tableItems(want.String(), b)...)
	return it, b, err
}

// tableItems prints b by the layout of that name, and what the layout cannot make of it.
func tableItems(name string, b []byte) []item {
	v, err := ondisk.Layouts.Dump(name, b)
	all := items(v.Sub)
	if err != nil {
		all = append(all, finding(err))
	}
	return all
}

// sequenceOf prints elements of the layout of that name.
func sequenceOf(name string, b []byte) []layout.Value {
	v, _ := ondisk.Layouts.Sequence(name, b)
	return v.Sub
}

// tree is what is needed to read the tree of an inode.
type tree struct {
	d        *dumper
	ino, gen uint64
	seen     map[uint64]bool
	blocks   int
	height   int
	findings []error
}

func (d *dumper) tree(in *ondisk.Inode) *tree {
	return &tree{d: d, ino: in.Ino, gen: in.Generation, seen: map[uint64]bool{}}
}

// node reads and checks a node below the root.
func (t *tree) node(blk uint64, level int) (ondisk.Node, error) {
	if !t.d.s.IsMetaPlace(blk) {
		return nil, fmt.Errorf("node in block %d: no place for metadata", blk)
	}
	b, err := volume.ReadBlock(t.d.ctx, t.d.dev, blk)
	if err != nil {
		return nil, err
	}
	if err := ondisk.CheckHeader(b, ondisk.TypeNode, blk, t.d.s.UUID); err != nil {
		return nil, err
	}
	h := ondisk.GetHeader(b)
	n := ondisk.Node(b[ondisk.NodeBody:])
	switch {
	case h.Owner != t.ino || h.Generation != t.gen:
		return nil, fmt.Errorf("node in block %d: belongs to inode %d generation %d, not %d generation %d", blk, h.Owner, h.Generation, t.ino, t.gen)
	case n.Check(blk) != nil:
		return nil, n.Check(blk)
	case n.Level() != level:
		return nil, fmt.Errorf("node in block %d: level %d, want %d", blk, n.Level(), level)
	}
	return n, nil
}

// walk calls fn for every slot of every leaf, in order. Nodes that cannot be read are findings and left out; so are
// nodes that come twice, which bounds the walk whatever the blocks say.
func (t *tree) walk(n ondisk.Node, blk uint64, fn func(blk, key uint64, value []byte)) error {
	t.height = max(t.height, n.Level()+1)
	for i := range n.Count() {
		if err := t.d.ctx.Err(); err != nil {
			return err
		}
		if n.Level() == 0 {
			fn(blk, n.Key(i), n.Value(i))
			continue
		}
		child := n.Child(i)
		if t.seen[child] {
			t.findings = append(t.findings, fmt.Errorf("node in block %d: reached twice", child))
			continue
		}
		t.seen[child] = true
		c, err := t.node(child, n.Level()-1)
		if err != nil {
			t.findings = append(t.findings, err)
			continue
		}
		t.blocks++
		if err := t.walk(c, child, fn); err != nil {
			return err
		}
	}
	return nil
}

// get finds the value of key; blk is the block that holds it.
func (t *tree) get(n ondisk.Node, key uint64) (value []byte, blk uint64, err error) {
	blk = t.ino
	for n.Level() > 0 {
		if n.Count() == 0 {
			return nil, 0, nil
		}
		blk = n.Child(n.ChildFor(key))
		if n, err = t.node(blk, n.Level()-1); err != nil {
			return nil, 0, err
		}
	}
	if i, ok := n.Search(key); ok {
		return n.Value(i), blk, nil
	}
	return nil, 0, nil
}

// inode reads the record of an inode.
func (d *dumper) inode(ino uint64) (*ondisk.Inode, error) {
	if !d.s.IsMetaPlace(ino) {
		return nil, fmt.Errorf("inode %d: no place for a record", ino)
	}
	b, err := volume.ReadBlock(d.ctx, d.dev, ino)
	if err != nil {
		return nil, err
	}
	if err := ondisk.CheckHeader(b, ondisk.TypeInode, ino, d.s.UUID); err != nil {
		return nil, err
	}
	return ondisk.DecodeInode(b)
}
