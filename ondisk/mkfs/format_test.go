package mkfs_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/blockdev/memdev"
	"github.com/covol/covol/ondisk/mkfs"
	"github.com/covol/covol/ondisk/volume"
)

const (
	mib = int64(1) << 20
	gib = int64(1) << 30
	tib = int64(1) << 40
)

func newDev(size int64) *memdev.Device {
	return memdev.New(blockdev.Geometry{SectorSize: 512, Size: size}, nil)
}

// fixed are options that give the same bytes each time.
func fixed() mkfs.Options {
	return mkfs.Options{Label: "test", UUID: ondisk.UUID{1, 2, 3}, HashSeed: [16]byte{4, 5},
		Now: func() time.Time { return time.Unix(1_700_000_000, 0) }}
}

func block(t *testing.T, dev blockdev.Device, blk uint64) []byte {
	t.Helper()
	b, err := volume.ReadBlock(context.Background(), dev, blk)
	require.NoError(t, err)
	return b
}

func TestFormatDefaultsFitTheSize(t *testing.T) {
	for _, c := range []struct {
		size                   int64
		cluster, slots, groups uint32
		journal                uint32
	}{
		{256 * mib, 4096, 4, 15, 1024},
		{gib + 511, 4096, 4, 16, 1024},
		{2 * gib, 65536, 8, 16, 1024},
		{4*gib + 4095, 65536, 8, 16, 2048},
		{63 * gib, 65536, 8, 64, 32256},
		{64 * gib, 65536, 16, 64, 32768},
		{64 * tib, 65536, 16, 67105, 65536},
	} {
		dev := newDev(c.size / 512 * 512)
		o := fixed()
		o.NoDiscard = c.size > 64*gib // page by page in memory
		s, err := mkfs.Format(context.Background(), dev, o)
		require.NoError(t, err, "%d", c.size)
		assert.Equal(t, []uint32{c.cluster, c.slots, c.groups, c.journal}, []uint32{s.ClusterSize, s.Slots, s.Groups, s.JournalBlocks}, "%d", c.size)
		assert.Equal(t, uint64(c.size/4096), s.Blocks)
		checkVolume(t, dev, s)
	}
}

// checkVolume reads every structure of a fresh volume.
func checkVolume(t *testing.T, dev blockdev.Device, want *ondisk.Super) {
	t.Helper()
	s, note, err := volume.Open(context.Background(), dev)
	require.NoError(t, err)
	require.Nil(t, note)
	require.Equal(t, want, s)
	for _, blk := range []uint64{ondisk.SuperCopyBlock, s.Blocks - 1} {
		c, err := ondisk.DecodeSuper(block(t, dev, blk), blk)
		require.NoError(t, err)
		require.Equal(t, s, c)
	}
	checkRest(t, dev, s)
}

// checkRest reads every structure but the superblocks.
func checkRest(t *testing.T, dev blockdev.Device, s *ondisk.Super) {
	t.Helper()
	checked := func(typ ondisk.Type, blk uint64) []byte {
		b := block(t, dev, blk)
		require.NoError(t, ondisk.CheckHeader(b, typ, blk, s.UUID))
		return b
	}
	record := func(blk uint64) *ondisk.Inode {
		in, err := ondisk.DecodeInode(checked(ondisk.TypeInode, blk))
		require.NoError(t, err)
		require.Equal(t, ondisk.BodyIndex, in.Body)
		require.Zero(t, in.Root.Count())
		require.True(t, in.Fits())
		return in
	}
	ready, err := ondisk.DecodeGrow(s, checked(ondisk.TypeGrow, ondisk.GrowBlock))
	require.NoError(t, err)
	require.Equal(t, min(s.Groups, mkfs.MaxReady), ready)
	root := record(ondisk.RootBlock)
	require.Equal(t, []any{uint32(0o40755), uint32(2), 0}, []any{root.Mode, root.Nlink, len(root.Names)})
	view, err := ondisk.DecodeView(s, block(t, dev, ondisk.ViewBlock))
	require.NoError(t, err)
	require.Equal(t, &ondisk.View{Epoch: 1, Members: make([]uint32, s.Slots), Recovering: make([]uint32, s.Slots), Holders: make([]ondisk.Holder, s.Slots)}, view)
	for i := range uint16(s.Slots) {
		slot, err := ondisk.DecodeSlot(s, i, block(t, dev, s.SlotBlock(i)))
		require.NoError(t, err)
		require.Equal(t, &ondisk.Slot{Index: i}, slot)
		ballot, err := ondisk.DecodeBallot(s, i, block(t, dev, s.BallotBlock(i)))
		require.NoError(t, err)
		require.Zero(t, ballot.MBal)
		require.Equal(t, &ondisk.Space{Slot: i}, ondisk.DecodeSpace(i, checked(ondisk.TypeSpace, s.SpaceBlock(i))))
		require.Equal(t, ondisk.InodeSystem, record(s.OrphanBlock(i)).Flags)
		require.Equal(t, ondisk.InodeSystem, record(s.FreeLogBlock(i)).Flags)
		for w := range ondisk.JournalHeads {
			h, err := ondisk.DecodeJournalHead(s, i, w, block(t, dev, s.JournalStart(i)+uint64(w)))
			require.NoError(t, err)
			require.True(t, h.Clean)
		}
	}
	checkGroups(t, dev, s, ready)
}

func checkGroups(t *testing.T, dev blockdev.Device, s *ondisk.Super, ready uint32) {
	var free uint64
	for g := range s.Groups {
		free += uint64(s.GroupClusters(g) - s.GroupMetaClusters())
		if g >= ready {
			continue
		}
		b := block(t, dev, s.GroupFirst(g))
		require.NoError(t, ondisk.CheckHeader(b, ondisk.TypeGroup, s.GroupFirst(g), s.UUID))
		grp, err := ondisk.DecodeGroup(s, g, b)
		require.NoError(t, err)
		clear := func(n uint32, kind uint32, at func(g, i uint32) uint64) (zero uint32) {
			for i := range n {
				b := block(t, dev, at(g, i))
				require.NoError(t, ondisk.CheckHeader(b, ondisk.TypeBitmap, at(g, i), s.UUID))
				bits, err := ondisk.BitmapBits(b, kind, i)
				require.NoError(t, err)
				for j := range uint32(ondisk.BitsPerBitmap) {
					if bits[j/8]>>(j%8)&1 != 0 {
						continue
					}
					if zero++; i*ondisk.BitsPerBitmap+j >= s.GroupBlocksOf(g) {
						t.Fatalf("group %d: bit %d beyond its end is clear", g, j)
					}
				}
			}
			return zero
		}
		require.Equal(t, grp.FreeClusters, clear(s.ClusterBitmapBlocks(), ondisk.ClusterBitmap, s.ClusterBitmapBlock))
		require.Equal(t, grp.FreeMeta, clear(s.MetaBitmapBlocks(), ondisk.MetaBitmap, s.MetaBitmapBlock))
		require.Equal(t, s.GroupClusters(g)-s.GroupMetaClusters(), grp.FreeClusters)
	}
	require.Equal(t, s.FreeClusters, free)
}
