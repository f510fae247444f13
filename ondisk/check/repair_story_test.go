package check_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/check"
)

// story damages a busy volume, repairs it, and returns what it holds before the damage and after the repair.
func story(t *testing.T, model, raw func(v *vol)) (v *vol, before, after *files, rep *check.RepairReport) {
	t.Helper()
	v = busy(t, 0)
	if model != nil {
		model(v)
	}
	v.write()
	v.data()
	before = contents(v.dev, v.sb)
	if raw != nil {
		raw(v)
	}
	rep = mustMend(t, v.dev, check.RepairOptions{})
	return v, before, contents(v.dev, v.sb), rep
}

func done(rep *check.RepairReport, code check.Code) []string {
	var all []string
	for _, f := range rep.Repaired {
		if f.Code == code {
			all = append(all, f.Done)
		}
	}
	return all
}

// TestSharedClustersAreCopied: both files read as before, and from clusters of their own.
func TestSharedClustersAreCopied(t *testing.T) {
	v, before, after, rep := story(t, shared, nil)
	one, other := v.inoOf("a", "one"), v.inoOf("a", "b", "other")
	for _, ino := range []uint64{one, other} {
		require.NotZero(t, before.digest[ino])
		assert.Equal(t, before.digest[ino], after.digest[ino])
	}
	assert.Equal(t, []string{fmt.Sprintf("kept for inode %d; copied for inode %d", other, one)}, done(rep, check.ClusterTwice), "the other was written last")
	assert.Equal(t, before.paths, after.paths)
}

// TestFullVolumeUnshares: without room for a copy the loser reads zeros, and the report says so.
func TestFullVolumeUnshares(t *testing.T) {
	_, before, after, rep := story(t, func(v *vol) {
		shared(v)
		for g := range v.taken {
			v.file(v.inoOf("a"), fmt.Sprintf("filler %d", g), 0, 0, 0)
		}
		var free []uint64 // for the trees
		for range 100 {
			free = append(free, v.block())
		}
		for _, blk := range free {
			g, rel := v.place(blk)
			v.chunks[g][rel] = false
		}
		v.spare = append(v.spare, free...)
		for g := range v.taken {
			n := v.sb.GroupClusters(uint32(g)) - v.next[g]
			f := v.inodes[v.inoOf("a", fmt.Sprintf("filler %d", g))]
			f.extents = []ondisk.Extent{{Physical: v.clusters(uint32(g), n), Length: n, Flags: ondisk.ExtentUnwritten}}
			f.in.Size = uint64(n) * uint64(v.sb.ClusterSize)
		}
	}, nil)
	require.Len(t, done(rep, check.ClusterTwice), 1)
	assert.Contains(t, done(rep, check.ClusterTwice)[0], "no room for a copy, zeros for inode")
	assert.Equal(t, before.paths, after.paths)
}

// TestLostRootIsRebuilt: everything is back in its place.
func TestLostRootIsRebuilt(t *testing.T) {
	_, before, after, _ := story(t, nil, func(v *vol) { v.put(ondisk.RootBlock, make([]byte, ondisk.BlockSize)) })
	assert.Equal(t, before, after)
}

// TestLostDirectoriesAreRebuilt: directories whose records are gone, all of them below each other, come back whole.
func TestLostDirectoriesAreRebuilt(t *testing.T) {
	_, before, after, _ := story(t, nil, func(v *vol) {
		for _, d := range []uint64{v.inoOf("a"), v.inoOf("a", "b"), v.inoOf("big")} {
			v.put(d, make([]byte, ondisk.BlockSize))
		}
	})
	for _, further := range []string{"name 1", "name 2", "name 3", "name 4", "second"} { // of files that have one in /a
		delete(before.paths, "/a/b/"+further)
	}
	b := before.paths["/a/b"] // nothing is left that says what it was called
	for path, ino := range before.paths {
		if below, ok := strings.CutPrefix(path+"/", "/a/b/"); ok {
			path = strings.TrimSuffix(fmt.Sprintf("/lost+found/#%d/%s", b, below), "/")
		}
		assert.Equal(t, ino, after.paths[path], path)
	}
	assert.Equal(t, before.digest, after.digest)
}

// TestNamesOfADamagedDirectoryComeBack: also further names of files that have others elsewhere.
func TestNamesOfADamagedDirectoryComeBack(t *testing.T) {
	_, before, after, rep := story(t, nil, func(v *vol) {
		b := v.inoOf("a", "b")
		in, err := ondisk.DecodeInode(v.read(b))
		require.NoError(t, err)
		if len(v.nodes[b]) == 0 { // all in the record
			in.Root = ondisk.InitNode(make([]byte, len(in.Root)), 0)
			blk := ondisk.EncodeInode(v.sb.UUID, in)
			v.stamp(blk)
			blk[4000] ^= 3 // two bits: it cannot be mended
			v.put(b, blk)
		}
	})
	assert.Equal(t, before.paths["/a/b/second"], after.paths["/a/b/second"], "%v", rep.Repaired)
	assert.Equal(t, before.paths["/a/two names"], after.paths["/a/two names"])
	assert.Equal(t, before.digest, after.digest)
}

// TestBrokenTreeKeepsItsLeaves: an inner node is gone, no leaf is.
func TestBrokenTreeKeepsItsLeaves(t *testing.T) {
	for _, names := range [][]string{{"a", "deep"}, {"big"}} {
		_, before, after, rep := story(t, nil, func(v *vol) {
			// The inner nodes come last.
			nodes := v.nodes[v.inoOf(names...)]
			v.put(nodes[len(nodes)-1], make([]byte, ondisk.BlockSize))
		})
		assert.Equal(t, before, after, "%v: %v", names, rep.Repaired)
	}
}

// TestOneFlippedBitIsNothing: wherever it is in a record or a node, nothing is lost.
func TestOneFlippedBitIsNothing(t *testing.T) {
	p := thePopulated()
	hurt := []uint64{ondisk.RootBlock, p.v.inoOf("a"), p.v.inoOf("a", "b", "tiny"), p.v.nodes[p.v.inoOf("a", "deep")][0], p.v.nodes[p.v.inoOf("big")][1]}
	for i, blk := range hurt {
		for _, bit := range []int{72*8 + 5, 90 * 8, 2000*8 + 3, 4095*8 + 7, 9 * 8, 33*8 + i} {
			dev := p.v.dev.Clone()
			b := make([]byte, ondisk.BlockSize)
			require.NoError(t, dev.ReadAt(context.Background(), b, int64(blk)*ondisk.BlockSize))
			b[bit/8] ^= 1 << (bit % 8)
			require.NoError(t, dev.WriteAt(context.Background(), b, int64(blk)*ondisk.BlockSize, false))
			mustMend(t, dev, check.RepairOptions{})
			require.Equal(t, p.files, contents(dev, p.v.sb), "block %d, bit %d", blk, bit)
			if raced {
				break
			}
		}
	}
}

// TestDeletedFilesStayDeleted: a bitmap that is lost brings nothing back that was deleted before.
func TestDeletedFilesStayDeleted(t *testing.T) {
	for _, kind := range []func(sb *ondisk.Super) uint64{
		func(sb *ondisk.Super) uint64 { return sb.MetaBitmapBlock(0, 0) },
		func(sb *ondisk.Super) uint64 { return sb.ClusterBitmapBlock(0, 0) },
	} {
		_, before, after, _ := story(t, func(v *vol) {
			// The record of a file that was deleted stays where it was, and its block is free.
			n := v.make(v.inoOf("a"), "deleted", 0o100644)
			delete(v.inodes[v.inoOf("a")].entries, "deleted")
			g, rel := v.place(n.in.Ino)
			v.chunks[g][rel] = false
			v.count--
		}, func(v *vol) { v.put(kind(v.sb), make([]byte, ondisk.BlockSize)) })
		assert.Equal(t, before, after)
	}
}

// TestHeldBlocksAreNotWritten: what the caller holds is judged as it was, and left to him.
func TestHeldBlocksAreNotWritten(t *testing.T) {
	v := busy(t, 0)
	v.write()
	blk := v.sb.SlotBlock(2)
	held := map[uint64][]byte{blk: make([]byte, ondisk.BlockSize)}
	mine := ondisk.EncodeSlot(v.sb, &ondisk.Slot{Index: 2, State: ondisk.SlotJoining, Incarnation: 9, Name: "fsck@x/1"})
	v.put(blk, mine)
	rep := mustMend(t, v.dev, check.RepairOptions{Held: held})
	require.Len(t, done(rep, check.SlotInvalid), 1)
	require.True(t, slices.Equal(mine, v.read(blk)))
	require.Equal(t, make([]byte, ondisk.BlockSize), held[blk])
}
