package check_test

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev/memdev"
	"github.com/covol/covol/ondisk/mkfs"
)

// vol writes a volume by hand: a model is filled by its methods, then write puts it onto the device in one go. It
// shares the codecs with the format and nothing else.
type vol struct {
	t   testing.TB
	dev *memdev.Device
	sb  *ondisk.Super
	lsn uint64

	inodes map[uint64]*node
	taken  []map[uint32]bool // clusters of each group
	chunks []map[uint32]bool // blocks of metadata chunks of each group, true: in use
	next   []uint32          // cluster of each group that was not given out yet
	spare  []uint64          // free blocks of metadata chunks

	fan    int                            // most slots per node, 0 for what fits
	tweaks map[uint64]func(*ondisk.Inode) // last change before a record is written
	nodes  map[uint64][]uint64            // tree nodes of each inode, leaves first
	count  int64                          // inodes
}

// node is an inode of the model.
type node struct {
	in      ondisk.Inode
	extents []ondisk.Extent
	entries map[string]ondisk.Dirent
	slots   []kv // of system records, and extra ones
}

type kv struct {
	key uint64
	v   []byte
}

// newVolSize formats a volume; of the smallest size it has 15 groups.
func newVolSize(t testing.TB, size int64, o mkfs.Options) *vol {
	t.Helper()
	o.UUID, o.HashSeed = ondisk.UUID{1, 2, 3}, [16]byte{4, 5, 6}
	dev, sb := format(t, size, o)
	v := &vol{t: t, dev: dev, sb: sb, lsn: 100, inodes: map[uint64]*node{}, tweaks: map[uint64]func(*ondisk.Inode){}, nodes: map[uint64][]uint64{}}
	for range min(sb.Groups, mkfs.MaxReady) {
		v.taken = append(v.taken, map[uint32]bool{})
		v.chunks = append(v.chunks, map[uint32]bool{})
		v.next = append(v.next, sb.GroupMetaClusters())
	}
	for _, ino := range v.systems() {
		in, err := ondisk.DecodeInode(v.read(ino))
		require.NoError(t, err)
		v.inodes[ino] = &node{in: *in, entries: map[string]ondisk.Dirent{}}
	}
	return v
}

// systems are the records at fixed places.
func (v *vol) systems() []uint64 {
	all := []uint64{ondisk.RootBlock}
	for blk := v.sb.OrphanBlock(0); blk < v.sb.OrphanBlock(uint16(v.sb.Slots)); blk++ {
		all = append(all, blk)
	}
	return all
}

func (v *vol) read(blk uint64) []byte {
	v.t.Helper()
	b := make([]byte, ondisk.BlockSize)
	require.NoError(v.t, v.dev.ReadAt(context.Background(), b, int64(blk*ondisk.BlockSize)))
	return b
}

func (v *vol) put(blk uint64, b []byte) {
	v.t.Helper()
	require.NoError(v.t, v.dev.WriteAt(context.Background(), b, int64(blk*ondisk.BlockSize), false))
}

// edit changes a block and seals it.
func (v *vol) edit(blk uint64, fn func(b []byte)) {
	v.t.Helper()
	b := v.read(blk)
	fn(b)
	ondisk.Seal(b)
	v.put(blk, b)
}

// spoil changes a byte of a block and does not seal it.
func (v *vol) spoil(blk uint64) {
	b := v.read(blk)
	b[2000] ^= 0x55
	v.put(blk, b)
}

// clusters takes n clusters in a row and returns the first.
func (v *vol) clusters(g, n uint32) uint64 {
	v.t.Helper()
	rel := v.next[g]
	require.LessOrEqual(v.t, rel+n, v.sb.GroupClusters(g), "group %d is full", g)
	v.next[g] += n
	for i := range n {
		v.taken[g][rel+i] = true
	}
	return v.sb.GroupFirst(g)/uint64(v.sb.ClusterBlocks()) + uint64(rel)
}

// block takes a metadata block.
func (v *vol) block() uint64 {
	if len(v.spare) == 0 {
		g, n := uint32(0), v.sb.MetaChunkClusters()
		for v.next[g]+n > v.sb.GroupClusters(g) {
			g++
		}
		k := v.sb.ClusterBlocks()
		first := v.clusters(g, n) * uint64(k)
		for i := range uint64(n * k) {
			v.chunks[g][uint32(first-v.sb.GroupFirst(g)+i)] = false
			v.spare = append(v.spare, first+i)
		}
	}
	blk := v.spare[0]
	v.spare = v.spare[1:]
	g, _ := v.sb.GroupOf(blk)
	v.chunks[g][uint32(blk-v.sb.GroupFirst(g))] = true
	return blk
}

// inode makes an inode without a name.
func (v *vol) inode(mode uint32) *node {
	ino := v.block()
	n := &node{in: ondisk.Inode{Ino: ino, Generation: ino * 7, Mode: mode, Change: 1}, entries: map[string]ondisk.Dirent{}}
	if mode&0o170000 == 0o040000 {
		n.in.Body, n.in.Nlink = ondisk.BodyIndex, 2
	}
	v.inodes[ino] = n
	v.count++
	return n
}

// make makes an inode with a name.
func (v *vol) make(parent uint64, name string, mode uint32) *node {
	n := v.inode(mode)
	v.link(parent, name, n)
	return n
}

// link gives n another name.
func (v *vol) link(parent uint64, name string, n *node) {
	v.inodes[parent].entries[name] = ondisk.Dirent{Ino: n.in.Ino, Type: uint8(n.in.Mode >> 12), Name: name}
	if n.in.Mode&0o170000 == 0o040000 {
		v.inodes[parent].in.Nlink++
	} else {
		n.in.Nlink++
	}
	if len(n.in.Names) == ondisk.MaxKeptNames {
		n.in.Flags |= ondisk.InodeMoreNames
		return
	}
	n.in.Names = append(n.in.Names, ondisk.KeptName{Parent: parent, Name: name})
}

func (v *vol) dir(parent uint64, name string) uint64 { return v.make(parent, name, 0o040755).in.Ino }

// file makes a file of count extents of length clusters each, with holes between if step is greater than length.
func (v *vol) file(parent uint64, name string, count, length, step uint32) *node {
	n := v.make(parent, name, 0o100644)
	v.fill(n, count, length, step)
	return n
}

func (v *vol) fill(n *node, count, length, step uint32) {
	n.in.Body = ondisk.BodyExtents
	for i := range count {
		g := 1 + i%2
		n.extents = append(n.extents, ondisk.Extent{Logical: uint64(i) * uint64(step), Physical: v.clusters(g, length), Length: length})
	}
	if count > 0 {
		n.in.Size = n.extents[count-1].End()*uint64(v.sb.ClusterSize) - 1
	}
}

func (v *vol) orphan(slot uint16, n *node) {
	sys := v.inodes[v.sb.OrphanBlock(slot)]
	sys.slots = append(sys.slots, kv{n.in.Ino, ondisk.EncodeOrphan(ondisk.Orphan{Ino: n.in.Ino, Generation: n.in.Generation})})
}

func (v *vol) deferFree(slot uint16, f ondisk.Free) {
	sys := v.inodes[v.sb.FreeLogBlock(slot)]
	sys.slots = append(sys.slots, kv{f.Block, ondisk.EncodeFree(f)})
}

// write puts the model onto the device.
func (v *vol) write() {
	for _, ino := range slices.Sorted(maps.Keys(v.inodes)) {
		v.writeInode(v.inodes[ino])
	}
	taken := 0
	for g := range v.taken {
		v.writeGroup(uint32(g))
		taken += len(v.taken[g])
	}
	for slot, s := range []ondisk.Space{{Clusters: -int64(taken) - 7, Inodes: v.count + 5}, {Clusters: 7, Inodes: -5}} {
		s.Slot = uint16(slot)
		b := ondisk.EncodeSpace(v.sb, &s)
		ondisk.Seal(b)
		v.put(v.sb.SpaceBlock(s.Slot), b)
	}
}

func (v *vol) writeInode(n *node) {
	in := n.in
	slots := slices.Clone(n.slots)
	switch in.Body {
	case ondisk.BodyExtents:
		in.Clusters = 0
		for _, e := range n.extents {
			in.Clusters += uint64(e.Length)
			slots = append(slots, kv{e.Logical, ondisk.EncodeExtent(e)})
		}
	case ondisk.BodyIndex:
		hashes := map[uint64][]ondisk.Dirent{}
		for _, e := range n.entries {
			h := v.sb.HashName(e.Name)
			hashes[h] = append(hashes[h], e)
		}
		for h, ds := range hashes {
			slots = append(slots, kv{h, ondisk.EncodeDirents(ds)})
		}
	}
	if in.Body == ondisk.BodyExtents || in.Body == ondisk.BodyIndex {
		slices.SortStableFunc(slots, func(a, b kv) int { return cmp.Compare(a.key, b.key) })
		v.tree(&in, slots)
	}
	if fn := v.tweaks[in.Ino]; fn != nil {
		fn(&in)
	}
	require.True(v.t, in.Fits())
	b := ondisk.EncodeInode(v.sb.UUID, &in)
	v.stamp(b)
	v.put(in.Ino, b)
}

func (v *vol) stamp(b []byte) {
	v.lsn++
	ondisk.Stamp(b, v.lsn, 1, 0, 1)
	ondisk.Seal(b)
}

// pack fills one node of a level with as many slots as fit.
func (v *vol) pack(size, level int, slots []kv) (ondisk.Node, int) {
	n := ondisk.InitNode(make([]byte, size), level)
	i := 0
	for ; i < len(slots) && (v.fan == 0 || i < v.fan) && n.Insert(i, slots[i].key, slots[i].v); i++ {
	}
	return n, i
}

// tree builds the tree of in from sorted slots.
func (v *vol) tree(in *ondisk.Inode, slots []kv) {
	for level := 0; ; level++ {
		root, n := v.pack(in.AttrRoom(), level, slots)
		if n == len(slots) {
			in.Root = root
			return
		}
		var up []kv
		for len(slots) > 0 {
			leaf, n := v.pack(ondisk.NodeSize, level, slots)
			blk := v.block()
			b := ondisk.NewBlock(ondisk.TypeNode, blk, v.sb.UUID, in.Ino, in.Generation)
			copy(b[ondisk.NodeBody:], leaf)
			v.stamp(b)
			v.put(blk, b)
			up = append(up, kv{slots[0].key, binary.LittleEndian.AppendUint64(nil, blk)})
			slots = slots[n:]
			in.Meta++
			v.nodes[in.Ino] = append(v.nodes[in.Ino], blk)
		}
		slots = up
	}
}

func (v *vol) writeGroup(g uint32) {
	blocks := ondisk.FormatGroup(v.sb, g)
	set := func(first, i uint32, on bool) {
		bits := blocks[first+i/ondisk.BitsPerBitmap][96:]
		i %= ondisk.BitsPerBitmap
		if bits[i/8] &^= 1 << (i % 8); on {
			bits[i/8] |= 1 << (i % 8)
		}
	}
	free := uint32(0)
	for c := range v.taken[g] {
		set(1, c, true)
	}
	for b, used := range v.chunks[g] {
		set(1+v.sb.ClusterBitmapBlocks(), b, used)
		if !used {
			free++
		}
	}
	clusters := v.sb.GroupClusters(g)
	hd := ondisk.Group{Index: g, Clusters: clusters, FreeClusters: clusters - v.sb.GroupMetaClusters() - uint32(len(v.taken[g])), FreeMeta: free}
	hd.Put(blocks[0])
	for i, b := range blocks {
		v.stamp(b)
		v.put(v.sb.GroupFirst(g)+uint64(i), b)
	}
}

// busy makes a volume with files and directories of all shapes.
func busy(t testing.TB, clusterSize uint32) *vol {
	v := newVolSize(t, ondisk.MinVolume, mkfs.Options{Slots: 4, ClusterSize: clusterSize, JournalBytes: ondisk.MinJournal * ondisk.BlockSize})
	v.fan = 20
	root := uint64(ondisk.RootBlock)
	a := v.dir(root, "a")
	b := v.dir(a, "b")
	v.dir(b, "empty dir")
	v.make(b, "none", 0o100600)
	v.file(b, "empty root", 0, 0, 0)
	tiny := v.make(b, "tiny", 0o100644)
	tiny.in.Body, tiny.in.Resident, tiny.in.Size = ondisk.BodyResident, []byte("hello"), 5
	tiny.in.Xattrs = []ondisk.Xattr{{Name: "user.a", Value: []byte("1")}, {Name: "user.b", Value: nil}}
	v.file(a, "one", 1, 10, 10)
	v.file(a, "tree", 30, 1, 2)
	v.file(a, "deep", 450, 1, 3)
	unwritten := v.file(a, "unwritten", 3, 4, 8)
	unwritten.extents[1].Flags = ondisk.ExtentUnwritten
	pre := v.file(a, "prealloc", 2, 8, 8)
	pre.in.Size = 100
	hole := v.make(a, "hole", 0o100644)
	hole.in.Size = 1 << 40
	short := v.make(a, "short link", 0o120777)
	short.in.Body, short.in.Resident, short.in.Size = ondisk.BodyResident, []byte("../target"), 9
	long := v.make(a, "long link", 0o120777)
	v.fill(long, 1, 1, 1)
	long.in.Size = 3000
	v.make(a, "fifo", 0o010644)
	v.make(a, "chr", 0o020644).in.Rdev = 0x103
	v.make(a, "blk", 0o060644).in.Rdev = 0x800
	v.make(a, "sock", 0o140755)
	two := v.file(a, "two names", 1, 1, 1)
	v.link(b, "second", two)
	five := v.file(a, "name 0", 1, 2, 2)
	for i := range 4 {
		v.link(b, fmt.Sprintf("name %d", i+1), five)
	}
	big := v.dir(root, "big")
	for i := range 300 {
		v.make(big, fmt.Sprintf("file %d", i), 0o100644)
	}
	gone := v.inode(0o100644)
	v.fill(gone, 25, 2, 2)
	v.orphan(0, gone)
	v.orphan(1, v.inode(0o100600))
	removed := v.inode(0o040755)
	removed.in.Nlink = 0
	v.orphan(1, removed)
	k := v.sb.ClusterBlocks()
	v.deferFree(2, ondisk.Free{Block: v.clusters(3, 5) * uint64(k), Blocks: 5 * k, Kind: ondisk.FreeClusters})
	for range 30 {
		v.deferFree(0, ondisk.Free{Block: v.block(), Blocks: 1, Kind: ondisk.FreeMeta})
	}
	return v
}

// inoOf looks a name up in the model.
func (v *vol) inoOf(names ...string) uint64 {
	v.t.Helper()
	ino := uint64(ondisk.RootBlock)
	for _, name := range names {
		e, ok := v.inodes[ino].entries[name]
		require.True(v.t, ok, "no %q", name)
		ino = e.Ino
	}
	return ino
}
