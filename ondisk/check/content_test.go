package check_test

import (
	"context"
	"hash/fnv"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/check"
)

// files is what a volume holds: by inode number, a digest of what a reader of the file gets, and by path its number. It
// is read by code that shares nothing with the repair but the codecs.
type files struct {
	digest map[uint64]uint64
	paths  map[string]uint64
}

// contents reads a volume as far as it can be read.
func contents(dev blockdev.Device, sb *ondisk.Super) *files {
	f := &files{digest: map[uint64]uint64{}, paths: map[string]uint64{}}
	w := &contentWalk{dev: dev, sb: sb, f: f, seen: map[uint64]bool{}}
	w.dir(ondisk.RootBlock, "")
	return f
}

type contentWalk struct {
	dev  blockdev.Device
	sb   *ondisk.Super
	f    *files
	seen map[uint64]bool
}

func (w *contentWalk) block(blk uint64) []byte {
	b := make([]byte, ondisk.BlockSize)
	if blk < w.sb.Blocks {
		_ = w.dev.ReadAt(context.Background(), b, int64(blk)*ondisk.BlockSize)
	}
	return b
}

func (w *contentWalk) inode(ino uint64) *ondisk.Inode {
	b := w.block(ino)
	if ondisk.CheckHeader(b, ondisk.TypeInode, ino, w.sb.UUID) != nil {
		return nil
	}
	in, err := ondisk.DecodeInode(b)
	if err != nil {
		return nil
	}
	return in
}

// slots calls fn for all leaves; false if part of the tree cannot be read.
func (w *contentWalk) slots(in *ondisk.Inode, n ondisk.Node, depth int, fn func(key uint64, v []byte)) bool {
	whole := true
	for i := range n.Count() {
		if n.Level() == 0 {
			fn(n.Key(i), n.Value(i))
			continue
		}
		blk := n.Child(i)
		b := w.block(blk)
		h := ondisk.GetHeader(b)
		if depth > 12 || ondisk.CheckHeader(b, ondisk.TypeNode, blk, w.sb.UUID) != nil || h.Owner != in.Ino || h.Generation != in.Generation ||
			ondisk.Node(b[ondisk.NodeBody:]).Check(blk) != nil || ondisk.Node(b[ondisk.NodeBody:]).Level() >= n.Level() {
			whole = false
			continue
		}
		whole = w.slots(in, b[ondisk.NodeBody:], depth+1, fn) && whole
	}
	return whole
}

func (w *contentWalk) dir(ino uint64, path string) {
	in := w.inode(ino)
	if in == nil || in.Body != ondisk.BodyIndex || w.seen[ino] {
		return
	}
	w.seen[ino] = true
	w.slots(in, in.Root, 0, func(_ uint64, v []byte) {
		ds, err := ondisk.DecodeDirents(0, v)
		if err != nil {
			return
		}
		for _, d := range ds {
			p := path + "/" + d.Name
			child := w.inode(d.Ino)
			if child == nil {
				continue
			}
			w.f.paths[p] = d.Ino
			if child.Mode&0o170000 == 0o040000 {
				w.dir(d.Ino, p)
				continue
			}
			w.file(child)
		}
	})
}

func (w *contentWalk) file(in *ondisk.Inode) {
	h := fnv.New64a()
	_, _ = h.Write(in.Resident)
	whole := true
	if in.Body == ondisk.BodyExtents {
		at := uint64(0)
		whole = w.slots(in, in.Root, 0, func(key uint64, v []byte) {
			e, err := ondisk.DecodeExtent(w.sb, 0, key, v)
			if err != nil || e.Logical < at {
				whole = false
				return
			}
			at = e.End()
			for i := uint64(0); i < uint64(e.Length); i++ {
				if e.Flags&ondisk.ExtentUnwritten != 0 {
					continue
				}
				_, _ = h.Write([]byte{byte((key + i)), byte((key + i) >> 8), byte((key + i) >> 16)})
				for j := range uint64(w.sb.ClusterBlocks()) {
					_, _ = h.Write(w.block((e.Physical+i)*uint64(w.sb.ClusterBlocks()) + j))
				}
			}
		}) && whole
	}
	if whole {
		w.f.digest[in.Ino] = h.Sum64()
	}
}

// sameFiles makes sure that what could be read before a repair can be read after it. Files that findings speak of are
// not held to it.
func sameFiles(t testing.TB, before, after *files, r *check.Report) {
	t.Helper()
	spoken := map[uint64]bool{}
	for _, f := range r.Findings {
		if f.Severity == check.Info {
			continue
		}
		spoken[f.Where.Inode], spoken[f.Target] = true, true
		for _, o := range f.Owners {
			spoken[o.Inode], spoken[o.Block] = true, true
		}
	}
	for ino, d := range before.digest {
		if !spoken[ino] {
			got, ok := after.digest[ino]
			assert.True(t, ok, "inode %d cannot be read any more", ino)
			assert.Equal(t, d, got, "content of inode %d", ino)
		}
	}
	named := map[uint64]bool{}
	for _, ino := range after.paths {
		named[ino] = true
	}
	for path, ino := range before.paths {
		if !spoken[ino] {
			assert.True(t, named[ino], "%s, inode %d, has no name any more", path, ino)
		}
	}
}
