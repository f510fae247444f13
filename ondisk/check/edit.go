package check

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/covol/covol/ondisk"
)

// edit is one inode that a plan writes anew: its record and, once content was asked for, its whole tree.
type edit struct {
	in    *ondisk.Inode
	tree  bool // content is loaded, the tree is written anew
	nodes []uint64

	entries map[string]ondisk.Dirent // of a directory
	extents []ondisk.Extent          // of a file, ascending
	slots   []slot                   // of a system record, ascending
}

// slot is a key with its value.
type slot struct {
	key uint64
	v   []byte
}

// open returns the edit of inode ino; nil if its record is not valid.
func (p *planner) open(ino uint64) (*edit, error) {
	if e := p.edits[ino]; e != nil {
		return e, nil
	}
	in, err := p.record(ino)
	if err != nil {
		if isFinding(err) {
			return nil, nil
		}
		return nil, err
	}
	e := &edit{in: in}
	p.edits[ino] = e
	return e, nil
}

// content returns the edit of ino with what its tree leads to, as far as it can be read.
func (p *planner) content(ino uint64) (*edit, error) {
	e, err := p.open(ino)
	if e == nil || err != nil || e.tree {
		return e, err
	}
	if e.in.Body != ondisk.BodyExtents && e.in.Body != ondisk.BodyIndex {
		return e, nil
	}
	s := &salvage{p: p, in: e.in, seen: map[uint64]bool{}}
	if err := s.node(e.in.Root, ino, 0); err != nil {
		return nil, err
	}
	if p.broken[ino] {
		if err := s.strays(); err != nil {
			return nil, err
		}
	}
	e.tree, e.nodes = true, s.nodes
	switch {
	case e.in.Body == ondisk.BodyExtents:
		e.extents = p.extentsOf(s.slots)
	case e.in.Flags&ondisk.InodeSystem != 0:
		e.slots = uniqueKeys(s.slots)
	default:
		e.entries = entriesOf(s.slots)
	}
	return e, nil
}

// slotsOf is the content of e as slots of its tree, and updates the counters that follow from it.
func (p *planner) slotsOf(e *edit) []slot {
	switch {
	case e.in.Body == ondisk.BodyExtents:
		var out []slot
		e.in.Clusters = 0
		for _, x := range e.extents {
			e.in.Clusters += uint64(x.Length)
			out = append(out, slot{x.Logical, ondisk.EncodeExtent(x)})
		}
		return out
	case e.in.Flags&ondisk.InodeSystem != 0:
		return e.slots
	}
	hashes := map[uint64][]ondisk.Dirent{}
	for _, name := range slices.Sorted(maps.Keys(e.entries)) {
		h := p.c.sb.HashName(name)
		hashes[h] = append(hashes[h], e.entries[name])
	}
	out := make([]slot, 0, len(hashes))
	for _, h := range slices.Sorted(maps.Keys(hashes)) {
		out = append(out, slot{h, ondisk.EncodeDirents(hashes[h])})
	}
	return out
}

// write plans the images of e.
func (p *planner) write(e *edit) error {
	rooted := e.in.Body == ondisk.BodyExtents || e.in.Body == ondisk.BodyIndex
	if rooted && !e.tree && !e.in.Fits() {
		if _, err := p.content(e.in.Ino); err != nil {
			return err
		}
	}
	if e.tree && rooted {
		if err := p.writeTree(e); err != nil {
			return fmt.Errorf("inode %d: %w", e.in.Ino, err)
		}
	}
	e.in.Change++
	if !e.in.Fits() {
		return fmt.Errorf("inode %d does not fit its record", e.in.Ino)
	}
	return p.put(ondisk.EncodeInode(p.c.sb.UUID, e.in))
}

// errLarge cannot happen to what was read from a node.
var errLarge = errors.New("an entry does not fit a tree node")

// writeTree builds the tree of e from its leaves up. It takes the blocks of the old one, as far as a transaction can
// hold them, and then new ones; what it does not take it marks as belonging to nothing.
func (p *planner) writeTree(e *edit) error {
	slots := p.slotsOf(e)
	spare := e.nodes
	if len(spare) > p.r.unit || nodesFor(slots) > p.r.unit {
		spare = nil
	}
	used := 0
	e.in.Meta = 0
	for level := 0; ; level++ {
		room := e.in.AttrRoom()
		if root, n := pack(room, level, slots); n == len(slots) {
			e.in.Root = root
			break
		}
		var up []slot
		for len(slots) > 0 {
			leaf, n := pack(ondisk.NodeSize, level, slots)
			if n == 0 {
				return errLarge
			}
			var blk uint64
			if used < len(spare) {
				blk = spare[used]
				used++
			} else {
				var err error
				if blk, err = p.allocMeta(); err != nil {
					return err
				}
			}
			b := ondisk.NewBlock(ondisk.TypeNode, blk, p.c.sb.UUID, e.in.Ino, e.in.Generation)
			copy(b[ondisk.NodeBody:], leaf)
			if err := p.put(b); err != nil {
				return err
			}
			up = append(up, slot{slots[0].key, binary.LittleEndian.AppendUint64(nil, blk)})
			slots = slots[n:]
			e.in.Meta++
		}
		slots = up
	}
	for _, blk := range e.nodes[min(used, len(e.nodes)):] {
		if err := p.bury(blk); err != nil {
			return err
		}
	}
	return nil
}

// nodesFor is how many nodes a tree with these slots has at most: all but one of a level are half full at least.
func nodesFor(slots []slot) int {
	bytes := 0
	for _, s := range slots {
		bytes += ondisk.SlotCost(len(s.v))
	}
	return 2*bytes/(ondisk.NodeSize/2) + ondisk.MaxNodeLevel
}

// pack fills one node with as many slots as fit.
func pack(size, level int, slots []slot) (ondisk.Node, int) {
	n := ondisk.InitNode(make([]byte, size), level)
	i := 0
	for ; i < len(slots) && n.Insert(i, slots[i].key, slots[i].v); i++ {
	}
	return n, i
}

// bury overwrites a block that was a record or a node by an empty node of nobody, so that no later search takes it for
// one that was lost.
func (p *planner) bury(blk uint64) error {
	b := ondisk.NewBlock(ondisk.TypeNode, blk, p.c.sb.UUID, 0, 0)
	ondisk.InitNode(b[ondisk.NodeBody:], 0)
	p.r.ours.set(blk)
	return p.put(b)
}

// kill plans the end of inode ino. What its tree holds belongs to nothing then.
func (p *planner) kill(ino uint64) error {
	e, err := p.content(ino)
	if err != nil {
		return err
	}
	delete(p.edits, ino)
	if e != nil {
		for _, blk := range e.nodes {
			if err := p.bury(blk); err != nil {
				return err
			}
		}
	}
	return p.bury(ino)
}

// put plans the image b of a metadata block that is journalled.
func (p *planner) put(b []byte) error {
	ondisk.Stamp(b, 0, p.c.maxEpoch, 0, 0)
	ondisk.Seal(b)
	p.changed++
	return p.d.put(viaJournal, ondisk.GetHeader(b).Block, b)
}

func (p *planner) putDirect(blk uint64, b []byte) error {
	p.changed++
	return p.d.put(direct, blk, b)
}
