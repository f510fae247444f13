// Package volumetest builds small volumes with files in them, for tests of what reads volumes. It writes each block
// once, straight to its home, and is as simple as can be: nothing that the file system does is used.
package volumetest

import (
	"cmp"
	"context"
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/blockdev/memdev"
	"github.com/covol/covol/ondisk/mkfs"
	"github.com/covol/covol/ondisk/volume"
)

// Builder collects files in memory; Finish writes them.
type Builder struct {
	t      testing.TB
	S      *ondisk.Super
	Dev    *memdev.Device
	inodes map[uint64]*object
	groups map[uint32][][]byte // as FormatGroup makes them
	meta   []uint64            // free blocks of the current chunk
	data   uint64              // next cluster to give out
	space  ondisk.Space
}

// object is an inode with the contents of its tree.
type object struct {
	*ondisk.Inode
	pairs []pair
}

type pair struct {
	key   uint64
	value []byte
}

// Options are those of a volume that is the same each time.
func Options() mkfs.Options {
	return mkfs.Options{Label: "test", UUID: ondisk.UUID{1, 2, 3}, HashSeed: [16]byte{4, 5},
		Now: func() time.Time { return time.Unix(1_700_000_000, 0) }}
}

// New formats a volume of size bytes in memory.
func New(t testing.TB, size int64, o mkfs.Options) *Builder {
	t.Helper()
	dev := memdev.New(blockdev.Geometry{SectorSize: 512, Size: size}, nil)
	s, err := mkfs.Format(context.Background(), dev, o)
	require.NoError(t, err)
	b := &Builder{t: t, S: s, Dev: dev, inodes: map[uint64]*object{}, groups: map[uint32][][]byte{}}
	b.data = (s.GroupFirst(1))/uint64(s.ClusterBlocks()) + uint64(s.GroupMetaClusters())
	for _, blk := range append([]uint64{ondisk.RootBlock}, s.OrphanBlock(0), s.FreeLogBlock(0)) {
		raw, err := volume.ReadBlock(context.Background(), dev, blk)
		require.NoError(t, err)
		in, err := ondisk.DecodeInode(raw)
		require.NoError(t, err)
		b.inodes[blk] = &object{Inode: in}
	}
	return b
}

// group returns the blocks of group g.
func (b *Builder) group(g uint32) [][]byte {
	if b.groups[g] == nil {
		b.groups[g] = ondisk.FormatGroup(b.S, g)
	}
	return b.groups[g]
}

// flip changes bit n of a bitmap of group g, which must have been the other way.
func (b *Builder) flip(g, n, kind uint32, set bool) {
	at := 1 + n/ondisk.BitsPerBitmap
	if kind == ondisk.MetaBitmap {
		at += b.S.ClusterBitmapBlocks()
	}
	bits, err := ondisk.BitmapBits(b.group(g)[at], kind, n/ondisk.BitsPerBitmap)
	require.NoError(b.t, err)
	n %= ondisk.BitsPerBitmap
	require.Equal(b.t, !set, bits[n/8]>>(n%8)&1 == 1)
	bits[n/8] ^= 1 << (n % 8)
	head, err := ondisk.DecodeGroup(b.S, g, b.group(g)[0])
	require.NoError(b.t, err)
	count := &head.FreeClusters
	if kind == ondisk.MetaBitmap {
		count = &head.FreeMeta
	}
	if set {
		*count--
	} else {
		*count++
	}
	head.Put(b.group(g)[0])
}

// Clusters takes n clusters one after the other and returns the first.
func (b *Builder) Clusters(n uint32) uint64 {
	k := uint64(b.S.ClusterBlocks())
	if !b.S.IsDataPlace(b.data, n) {
		g, ok := b.S.GroupOf(b.data * k)
		require.True(b.t, ok)
		b.data = b.S.GroupFirst(g+1)/k + uint64(b.S.GroupMetaClusters())
		require.True(b.t, b.S.IsDataPlace(b.data, n), "volume is full")
	}
	first := b.data
	g, _ := b.S.GroupOf(first * k)
	for i := range n {
		b.flip(g, uint32(first-b.S.GroupFirst(g)/k)+i, ondisk.ClusterBitmap, true)
	}
	b.data += uint64(n)
	b.space.Clusters -= int64(n)
	return first
}

// Meta takes one metadata block.
func (b *Builder) Meta() uint64 {
	k := uint64(b.S.ClusterBlocks())
	if len(b.meta) == 0 {
		n := b.S.MetaChunkClusters()
		c := b.Clusters(n)
		for blk := c * k; blk < (c+uint64(n))*k; blk++ {
			g, _ := b.S.GroupOf(blk)
			b.flip(g, uint32(blk-b.S.GroupFirst(g)), ondisk.MetaBitmap, false)
			b.meta = append(b.meta, blk)
		}
	}
	blk := b.meta[0]
	b.meta = b.meta[1:]
	g, _ := b.S.GroupOf(blk)
	b.flip(g, uint32(blk-b.S.GroupFirst(g)), ondisk.MetaBitmap, true)
	return blk
}

// Add makes an inode under a name in directory parent and returns it, to be filled before Finish. Parent 0 means no name.
func (b *Builder) Add(parent uint64, name string, mode uint32) *ondisk.Inode {
	t := ondisk.Time{Sec: 1_700_000_001, Nsec: 5}
	in := &ondisk.Inode{Ino: b.Meta(), Generation: 7, Mode: mode, Nlink: 1, Change: 1, Atime: t, Mtime: t, Ctime: t, Btime: t}
	if mode&0o170000 == 0o040000 {
		in.Nlink, in.Body = 2, ondisk.BodyIndex
		b.inodes[parent].Nlink++
	}
	if parent != 0 {
		in.Names = []ondisk.KeptName{{Parent: parent, Name: name}}
		b.Link(parent, name, in)
	}
	b.inodes[in.Ino] = &object{Inode: in}
	b.space.Inodes++
	return in
}

// Link adds a name to directory parent.
func (b *Builder) Link(parent uint64, name string, in *ondisk.Inode) {
	b.Put(parent, b.S.HashName(name), ondisk.EncodeDirents([]ondisk.Dirent{{Ino: in.Ino, Type: uint8(in.Mode >> 12), Name: name}}))
}

// Put adds a pair to the tree of an inode.
func (b *Builder) Put(ino, key uint64, value []byte) {
	o := b.inodes[ino]
	o.pairs = append(o.pairs, pair{key, value})
}

// File makes a file with n extents of each length clusters, a hole of a cluster before each, every third unwritten.
func (b *Builder) File(parent uint64, name string, n int, length uint32) *ondisk.Inode {
	in := b.Add(parent, name, 0o100644)
	in.Body = ondisk.BodyExtents
	logical := uint64(1)
	for i := range n {
		e := ondisk.Extent{Logical: logical, Physical: b.Clusters(length), Length: length}
		if i%3 == 2 {
			e.Flags = ondisk.ExtentUnwritten
		}
		b.Put(in.Ino, e.Logical, ondisk.EncodeExtent(e))
		in.Clusters += uint64(length)
		logical = e.End() + 1
	}
	in.Size = (logical - 1) * uint64(b.S.ClusterSize)
	return in
}

// Orphan makes a nameless file in the index of orphans of slot 0, and Free a deferred free of clusters and of a block.
func (b *Builder) Orphan() *ondisk.Inode {
	in := b.Add(0, "", 0o100600)
	in.Nlink = 0
	b.Put(b.S.OrphanBlock(0), in.Ino, ondisk.EncodeOrphan(ondisk.Orphan{Ino: in.Ino, Generation: in.Generation}))
	return in
}

// Free defers the freeing of two clusters and of one metadata block, in slot 0.
func (b *Builder) Free() {
	k := b.S.ClusterBlocks()
	b.Put(b.S.FreeLogBlock(0), b.Clusters(2)*uint64(k), ondisk.EncodeFree(ondisk.Free{Blocks: 2 * k, Kind: ondisk.FreeClusters}))
	b.Put(b.S.FreeLogBlock(0), b.Meta(), ondisk.EncodeFree(ondisk.Free{Blocks: 1, Kind: ondisk.FreeMeta}))
}

// Finish writes everything.
func (b *Builder) Finish() {
	b.t.Helper()
	inos := make([]uint64, 0, len(b.inodes))
	for ino := range b.inodes {
		inos = append(inos, ino)
	}
	slices.Sort(inos)
	for _, ino := range inos {
		b.finishInode(b.inodes[ino])
	}
	b.Write(ondisk.EncodeSpace(b.S, &b.space))
	for _, blocks := range b.groups {
		for _, raw := range blocks {
			b.Write(raw)
		}
	}
}

func (b *Builder) finishInode(o *object) {
	if o.Body == ondisk.BodyIndex || o.Body == ondisk.BodyExtents {
		slices.SortFunc(o.pairs, func(x, y pair) int { return cmp.Compare(x.key, y.key) })
		o.Root = ondisk.InitNode(make([]byte, o.AttrRoom()), 0)
		for level := 0; !fill(o.Root, level, o.pairs); level++ {
			o.pairs = b.level(o, level)
		}
	}
	require.True(b.t, o.Fits())
	b.Write(ondisk.EncodeInode(b.S.UUID, o.Inode))
}

// fill puts pairs into an empty node; false if they are too many.
func fill(n ondisk.Node, level int, pairs []pair) bool {
	ondisk.InitNode(n, level)
	for i, p := range pairs {
		if !n.Insert(i, p.key, p.value) {
			return false
		}
	}
	return true
}

// level writes pairs as a level of nodes, each as full as it gets, and returns what leads to them.
func (b *Builder) level(o *object, level int) []pair {
	var up []pair
	for rest := o.pairs; len(rest) > 0; {
		blk := b.Meta()
		raw := ondisk.NewBlock(ondisk.TypeNode, blk, b.S.UUID, o.Ino, o.Generation)
		n := ondisk.InitNode(raw[ondisk.NodeBody:], level)
		i := 0
		for i < len(rest) && n.Insert(i, rest[i].key, rest[i].value) {
			i++
		}
		b.Write(raw)
		up = append(up, pair{rest[0].key, binary.LittleEndian.AppendUint64(nil, blk)})
		rest = rest[i:]
		o.Meta++
	}
	return up
}

// Write seals a block and writes it to the home that its header names.
func (b *Builder) Write(raw []byte) {
	b.t.Helper()
	ondisk.Stamp(raw, 1, 1, 0, 1)
	ondisk.Seal(raw)
	at := int64(ondisk.GetHeader(raw).Block) * ondisk.BlockSize
	require.NoError(b.t, b.Dev.WriteAt(context.Background(), raw, at, false))
}

// Sample is a volume of 256 MiB with one of everything.
func Sample(t testing.TB) *Builder {
	t.Helper()
	b := New(t, 256<<20, Options())
	root := uint64(ondisk.RootBlock)
	dir := b.Add(root, "dir", 0o040755)
	b.File(dir.Ino, "disk.raw", 5, 3)
	b.File(dir.Ino, "fragments", 600, 1)
	small := b.Add(dir.Ino, "small", 0o100644)
	small.Body, small.Resident, small.Size = ondisk.BodyResident, []byte("hello\n"), 6
	small.Xattrs = []ondisk.Xattr{{Name: "user.note", Value: []byte("v")}}
	b.Link(root, "hard link", small)
	small.Nlink, small.Names = 2, append(small.Names, ondisk.KeptName{Parent: root, Name: "hard link"})
	link := b.Add(root, "link", 0o120777)
	link.Body, link.Resident, link.Size = ondisk.BodyResident, []byte("dir/small"), 9
	many := b.Add(root, "many", 0o040700)
	for i := range 1500 {
		b.Link(many.Ino, "name of entry "+string(rune('0'+i%10))+"-"+time.Duration(i).String(), small)
	}
	small.Nlink += 1500
	small.Flags |= ondisk.InodeMoreNames
	b.Add(root, "empty", 0o100600)
	b.Add(root, "null", 0o020666).Rdev = 0x103
	b.Orphan()
	b.Free()
	b.Finish()
	return b
}
