package check

import (
	"cmp"
	"fmt"
	"math/bits"
	"slices"

	"github.com/covol/covol/ondisk"
)

// nameOwners reports everything that was claimed twice, with all its owners: it walks all records once more.
func (c *checker) nameOwners() error {
	if len(c.conflicts) == 0 {
		return nil
	}
	c.conflicts = disjoint(c.conflicts)
	o := &owners{c: c, by: make([][]Where, len(c.conflicts))}
	if err := o.all(); err != nil {
		return err
	}
	for i, x := range c.conflicts {
		c.tellConflict(x, o.by[i])
	}
	return nil
}

// tellConflict reports a range with its owners.
func (c *checker) tellConflict(x conflict, by []Where) {
	blk := x.first
	if x.code != MetaTwice {
		blk *= uint64(c.sb.ClusterBlocks())
	}
	w := Where{Block: blk}
	if g, ok := c.sb.GroupOf(blk); ok {
		w = atGroup(g, blk)
	}
	c.add(Finding{Code: x.code, Where: w, First: x.first, Count: x.count, Owners: by,
		Text: fmt.Sprintf("%s (%d to %d): %s", plural(x.count, unit(x.code)), x.first, x.first+x.count-1, kinds[x.code].Title)})
}

// disjoint sorts conflicts by code and place and makes those that overlap one.
func disjoint(all []conflict) []conflict {
	slices.SortFunc(all, func(a, b conflict) int {
		return cmp.Or(cmp.Compare(a.code, b.code), cmp.Compare(a.first, b.first), cmp.Compare(a.count, b.count))
	})
	out := all[:0]
	for _, x := range all {
		if n := len(out); n > 0 && out[n-1].code == x.code && x.first < out[n-1].first+out[n-1].count {
			out[n-1].count = max(out[n-1].count, x.first+x.count-out[n-1].first)
			continue
		}
		out = append(out, x)
	}
	return out
}

// owners finds out who claims the ranges in conflict.
type owners struct {
	c    *checker
	by   [][]Where
	seen map[uint64]bool // nodes of the inode in hand
	in   *ondisk.Inode
}

func (o *owners) all() error {
	for slot := range uint16(o.c.sb.Slots) {
		for _, ino := range []uint64{o.c.sb.OrphanBlock(slot), o.c.sb.FreeLogBlock(slot)} {
			if err := o.record(ino); err != nil {
				return err
			}
		}
	}
	if err := o.record(ondisk.RootBlock); err != nil {
		return err
	}
	for g := range o.c.ready {
		for p, page := range o.c.own.get(g).records.pages {
			if page == nil {
				continue
			}
			for i, w := range page {
				for ; w != 0; w &= w - 1 {
					rel := uint64(p*pageBits + i*64 + bits.TrailingZeros64(w))
					if err := o.record(o.c.sb.GroupFirst(g) + rel); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}

// record adds what one inode claims.
func (o *owners) record(ino uint64) error {
	in, err := o.c.record(ino)
	if err != nil {
		if isFinding(err) {
			return nil
		}
		return err
	}
	o.in, o.seen = in, map[uint64]bool{}
	o.meta(ino, ino)
	if in.Body != ondisk.BodyExtents && in.Body != ondisk.BodyIndex {
		return nil
	}
	return o.node(in.Root, ino)
}

func (o *owners) node(n ondisk.Node, blk uint64) error {
	for i := range n.Count() {
		if n.Level() == 0 {
			o.slot(blk, n.Key(i), n.Value(i))
			continue
		}
		child := n.Child(i)
		o.meta(child, blk)
		if o.seen[child] || !o.c.metaPlace(child) {
			continue
		}
		o.seen[child] = true
		b, err := o.c.load(ondisk.TypeNode, child)
		if err == nil {
			err = ondisk.Node(b[ondisk.NodeBody:]).Check(child)
		}
		if err != nil {
			if !isFinding(err) {
				return err
			}
			continue
		}
		if next := ondisk.Node(b[ondisk.NodeBody:]); next.Level() < n.Level() {
			if err := o.node(next, child); err != nil {
				return err
			}
		}
	}
	return nil
}

// slot adds what a slot of a leaf claims.
func (o *owners) slot(blk, key uint64, v []byte) {
	k := uint64(o.c.sb.ClusterBlocks())
	switch {
	case o.in.Body == ondisk.BodyExtents:
		if e, err := ondisk.DecodeExtent(o.c.sb, blk, key, v); err == nil {
			o.data(e.Physical, uint64(e.Length), blk)
		}
	case o.in.Flags&ondisk.InodeSystem != 0:
		f, err := ondisk.DecodeFree(o.c.sb, blk, key, v)
		if err != nil || !o.isFreeLog() {
			return
		}
		if f.Kind == ondisk.FreeMeta {
			o.meta(f.Block, blk)
			return
		}
		o.data(f.Block/k, uint64(f.Blocks)/k, blk)
	case isDir(o.in):
		ds, err := ondisk.DecodeDirents(blk, v)
		if err != nil {
			return
		}
		for _, d := range ds {
			if !o.c.isRecord(d.Ino) {
				o.meta(d.Ino, blk)
			}
		}
	}
}

func (o *owners) isFreeLog() bool {
	first := o.c.sb.OrphanBlock(0)
	return o.in.Ino >= first && (o.in.Ino-first)%ondisk.SystemPerSlot == 1
}

func (o *owners) meta(blk, from uint64) {
	o.claim(MetaTwice, blk, 1, from)
	o.claim(DataAndMetadata, blk/uint64(o.c.sb.ClusterBlocks()), 1, from)
}

func (o *owners) data(first, n, from uint64) {
	o.claim(ClusterTwice, first, n, from)
	o.claim(DataAndMetadata, first, n, from)
}

const maxOwners = 16 // named per range

// claim notes that block from of the inode in hand claims [first, first+n).
func (o *owners) claim(code Code, first, n, from uint64) {
	all := o.c.conflicts
	i, _ := slices.BinarySearchFunc(all, first, func(x conflict, first uint64) int {
		return cmp.Or(cmp.Compare(x.code, code), cmp.Compare(x.first+x.count, first+1))
	})
	for ; i < len(all) && all[i].code == code && all[i].first < first+n; i++ {
		w := Where{Block: from, Inode: o.in.Ino, Path: o.path()}
		if len(o.by[i]) < maxOwners && !slices.Contains(o.by[i], w) {
			o.by[i] = append(o.by[i], w)
		}
	}
}

// path is the path of the inode in hand, as far as its own record tells.
func (o *owners) path() string {
	if o.c.dirs[o.in.Ino] != nil {
		return o.c.dirPath(o.in.Ino)
	}
	if len(o.in.Names) > 0 && o.c.dirs[o.in.Names[0].Parent] != nil {
		return o.c.join(o.in.Names[0].Parent, o.in.Names[0].Name)
	}
	return ""
}
