package check_test

import (
	"encoding/binary"

	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/check"
)

// add32 adds to the le32 at off.
func add32(off, n int) func(b []byte) {
	return func(b []byte) {
		binary.LittleEndian.PutUint32(b[off:], binary.LittleEndian.Uint32(b[off:])+uint32(n))
	}
}

// setBit changes bit i of a bitmap block.
func setBit(i uint32, on bool) func(b []byte) {
	return func(b []byte) {
		if b[96+i/8] &^= 1 << (i % 8); on {
			b[96+i/8] |= 1 << (i % 8)
		}
	}
}

// place is the group and the place in it of a block.
func (v *vol) place(blk uint64) (g, rel uint32) {
	g, _ = v.sb.GroupOf(blk)
	return g, uint32(blk - v.sb.GroupFirst(g))
}

func groupFaults() []fault {
	header := func(sb *ondisk.Super) uint64 { return sb.GroupFirst(5) }
	return []fault{
		{name: "crc", want: check.GroupInvalid, raw: spoil(header)},
		{name: "index", want: check.GroupInvalid, raw: func(v *vol) { v.edit(header(v.sb), add32(80, 1)) }},
		{name: "clusters", want: check.BitmapInvalid, raw: spoil(func(sb *ondisk.Super) uint64 { return sb.ClusterBitmapBlock(1, 0) })},
		{name: "metadata", want: check.BitmapInvalid, raw: spoil(func(sb *ondisk.Super) uint64 { return sb.MetaBitmapBlock(0, 0) })},
		{name: "kind", want: check.BitmapInvalid, raw: func(v *vol) { v.edit(v.sb.MetaBitmapBlock(1, 0), add32(80, 5)) }},
		{name: "less", want: check.GroupFree, raw: func(v *vol) { v.edit(header(v.sb), add32(88, -1)) }},
		{name: "more", want: check.GroupFreeMeta, raw: func(v *vol) { v.edit(header(v.sb), add32(92, 1)) }},
		{name: "clusters", want: check.BeyondEnd, raw: func(v *vol) {
			v.edit(v.sb.ClusterBitmapBlock(2, 0), setBit(v.sb.GroupClusters(2), false))
		}},
		{name: "metadata", want: check.BeyondEnd, raw: func(v *vol) {
			v.edit(v.sb.MetaBitmapBlock(2, 0), setBit(ondisk.BitsPerBitmap-1, false))
		}},
		{name: "header", want: check.OwnFree, raw: func(v *vol) {
			v.edit(v.sb.ClusterBitmapBlock(2, 0), setBit(0, false))
			v.edit(v.sb.GroupFirst(2), add32(88, 1))
			v.edit(v.sb.SpaceBlock(0), func(b []byte) { b[80]++ })
		}},
		{name: "bitmap", want: check.OwnFree, raw: func(v *vol) {
			v.edit(v.sb.MetaBitmapBlock(2, 0), setBit(1, false))
			v.edit(v.sb.GroupFirst(2), add32(92, 1))
		}},
		{name: "one", want: check.ClusterLeak, model: func(v *vol) { v.taken[4][100] = true }},
		{name: "last of a group", want: check.ClusterLeak, model: func(v *vol) { v.taken[14][v.sb.GroupClusters(14)-1] = true }},
		{name: "of a file", want: check.ClusterFree, model: func(v *vol) {
			g, rel := v.place(v.inodes[v.inoOf("a", "one")].extents[0].Physical)
			delete(v.taken[g], rel)
		}},
		{name: "of a deferred free", want: check.ClusterFree, model: func(v *vol) {
			delete(v.taken[3], v.next[3]-1)
		}},
		{name: "one", want: check.MetaLeak, cluster: 16 << 10, model: func(v *vol) { v.block() }},
		{name: "one in a cluster of its own", want: check.ClusterLeak, model: func(v *vol) { v.block() }},
		{name: "record", want: check.MetaFree, model: func(v *vol) {
			g, rel := v.place(v.inoOf("a", "one"))
			v.chunks[g][rel] = false
		}},
		{name: "in data", want: check.MetaOutside, model: func(v *vol) {
			g, rel := v.place(v.inodes[v.inoOf("a", "one")].extents[0].Physical)
			v.chunks[g][rel] = false
		}},
		{name: "in free space", want: check.MetaOutside, model: func(v *vol) { v.chunks[7][500] = false }},
		{name: "two files", want: check.ClusterTwice, model: func(v *vol) {
			one := v.inodes[v.inoOf("a", "one")].extents[0]
			n := v.file(ondisk.RootBlock, "other", 0, 0, 0)
			n.extents = []ondisk.Extent{{Logical: 0, Physical: one.Physical + 3, Length: 2}}
			n.in.Size = 8192
		}},
		{name: "file and deferred free", want: check.ClusterTwice, model: func(v *vol) {
			v.deferFree(1, ondisk.Free{Block: v.inodes[v.inoOf("a", "one")].extents[0].Physical, Blocks: 1, Kind: ondisk.FreeClusters})
		}},
		{name: "file and deferred free", want: check.MetaTwice, model: func(v *vol) {
			v.deferFree(1, ondisk.Free{Block: v.inoOf("a", "one"), Blocks: 1, Kind: ondisk.FreeMeta})
		}},
		{name: "extent over a record", want: check.DataAndMetadata, model: func(v *vol) {
			n := v.file(ondisk.RootBlock, "other", 0, 0, 0)
			n.extents = []ondisk.Extent{{Logical: 0, Physical: v.inoOf("a", "one"), Length: 1}}
			n.in.Size = 8192
		}},
	}
}
