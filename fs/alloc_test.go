package fs

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/blockdev/memdev"
	"github.com/covol/covol/ondisk/check/checktest"
)

func TestBitset(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 300).Draw(rt, "n")
		s, model := bitsFrom(n, [][]byte{make([]byte, 40)}, 320), make([]bool, (n+63)/64*64)
		for i := range model {
			model[i] = i >= n
		}
		for range rapid.IntRange(0, 20).Draw(rt, "edits") {
			at := rapid.IntRange(0, n-1).Draw(rt, "at")
			l := rapid.IntRange(0, n-at).Draw(rt, "l")
			set := rapid.Bool().Draw(rt, "set")
			s.fill(at, l, set)
			for i := at; i < at+l; i++ {
				model[i] = set
			}
		}
		clear, runAt := 0, func(i int) (l int) {
			for ; i+l < len(model) && !model[i+l]; l++ {
			}
			return l
		}
		longest := 0
		for i := range model {
			require.Equal(rt, model[i], s.has(i))
			if !model[i] {
				clear++
			}
			next := i
			for next < len(model) && model[next] {
				next++
			}
			if next == len(model) {
				next = -1
			}
			require.Equal(rt, next, s.nextClear(i))
			limit := rapid.IntRange(0, 80).Draw(rt, "limit")
			require.Equal(rt, min(runAt(i), limit), s.run(i, limit))
			longest = max(longest, runAt(i))
		}
		require.Equal(rt, clear, s.clear())
		require.Equal(rt, -1, s.nextClear(len(model)))
		from, want := rapid.IntRange(0, len(model)-1).Draw(rt, "from"), rapid.IntRange(1, 200).Draw(rt, "want")
		at, l := s.find(from, want)
		if l > 0 {
			require.Equal(rt, l, s.run(at, l))
		}
		// A run across from is seen in two parts by the first pass and whole by the second, unless it begins before.
		require.Equal(rt, min(want, longest), l)
	})
}

// takeAll allocates clusters in transactions of step until there are no more, and returns the runs.
func takeAll(t *testing.T, s *store, step int, essential bool) (out []run) {
	ctx := context.Background()
	for step > 0 {
		tx, err := s.begin(ctx, need{clusters: step, essential: essential})
		if err != nil {
			require.ErrorIs(t, err, ErrNoSpace)
			step /= 2
			continue
		}
		rs, err := tx.allocData(ctx, step, 0)
		require.NoError(t, err)
		require.Equal(t, step, length(rs))
		_, err = tx.commit(ctx)
		require.NoError(t, err)
		out = append(out, rs...)
	}
	return out
}

func freeAll(t *testing.T, s *store, runs []run) {
	ctx := context.Background()
	for len(runs) > 0 {
		n := min(len(runs), 50)
		tx, err := s.begin(ctx, need{essential: true})
		require.NoError(t, err)
		for _, r := range runs[:n] {
			require.NoError(t, tx.freeData(ctx, r.Start, r.Len))
		}
		_, err = tx.commit(ctx)
		require.NoError(t, err)
		runs = runs[n:]
	}
}

// unique fails if two runs share a cluster.
func unique(t *testing.T, sb *ondisk.Super, runs []run) {
	seen := map[uint64]bool{}
	for _, r := range runs {
		require.True(t, sb.IsDataPlace(r.Start, r.Len), "%v", r)
		for c := r.Start; c < r.Start+uint64(r.Len); c++ {
			require.False(t, seen[c], "cluster %d twice", c)
			seen[c] = true
		}
	}
}

// TestFillAndEmpty takes every cluster of the smallest volume, gives all back, and again: the counters return exactly.
func TestFillAndEmpty(t *testing.T) {
	for _, cluster := range []uint32{4096, 65536, 1 << 20} {
		t.Run(fmt.Sprint(cluster), func(t *testing.T) {
			r := newStoreRig(t, storeOptions{cluster: cluster})
			checktest.CleanAtEnd(t, r.dev)
			s := r.mustOpen(0)
			ctx := context.Background()
			for range 3 {
				runs := takeAll(t, s, 3000, true)
				require.Equal(t, int(r.sb.FreeClusters), length(runs))
				unique(t, r.sb, runs)
				free, _, err := s.space.sum(ctx)
				require.NoError(t, err)
				require.Zero(t, free)
				_, err = s.begin(ctx, need{clusters: 1})
				require.ErrorIs(t, err, ErrNoSpace)
				freeAll(t, s, runs)
				free, _, err = s.space.sum(ctx)
				require.NoError(t, err)
				require.Equal(t, r.sb.FreeClusters, free)
			}
			r.close(s)
		})
	}
}

// TestKeptBack: ordinary transactions leave what essential ones may need, and metadata can be had from clusters then.
func TestKeptBack(t *testing.T) {
	r := newStoreRig(t, storeOptions{})
	checktest.CleanAtEnd(t, r.dev)
	s := r.mustOpen(0)
	ctx := context.Background()
	runs := takeAll(t, s, 3000, false)
	free, _, err := s.space.sum(ctx)
	require.NoError(t, err)
	assert.Equal(t, uint64(keepBack), free)
	_, err = s.begin(ctx, need{meta: 1})
	require.ErrorIs(t, err, ErrNoSpace)
	tx, err := s.begin(ctx, need{meta: keepBack, essential: true})
	require.NoError(t, err)
	for range keepBack {
		blk, err := tx.allocMeta(ctx)
		require.NoError(t, err)
		require.True(t, r.sb.IsMetaPlace(blk))
	}
	_, err = tx.allocMeta(ctx)
	require.ErrorIs(t, err, ErrNoSpace)
	tx.abort()
	freeAll(t, s, runs)
	r.close(s)
}

// TestNoSpaceChangesNothing: with n clusters left, every need beyond that fails before anything has changed, and every
// need that fits is met (F5).
func TestNoSpaceChangesNothing(t *testing.T) {
	r := newStoreRig(t, storeOptions{cluster: 65536})
	s := r.mustOpen(0)
	ctx := context.Background()
	runs := takeAll(t, s, 3000, true)
	for left := range 12 {
		if left > 0 {
			last := &runs[len(runs)-left]
			freeAll(t, s, []run{{last.Start + uint64(last.Len) - 1, 1}})
			last.Len--
		}
		for clusters := range 14 {
			for _, meta := range []int{0, 1, 16, 17, 40} {
				require.NoError(t, s.alloc.settle(ctx))
				before := r.imageAfterSync(s)
				total := 0
				for _, g := range s.alloc.groups {
					total += g.spareMeta()
				}
				blocks := (max(meta-total, 0) + 15) / 16 // clusters that metadata needs
				tx, err := s.begin(ctx, need{clusters: clusters, meta: meta, essential: true})
				if clusters+blocks > left && clusters == 0 {
					require.NoError(t, err, "a delete may try without a promise")
					require.Zero(t, tx.promised())
					tx.abort()
				} else if clusters+blocks > left {
					require.ErrorIs(t, err, ErrNoSpace, "%d clusters, %d blocks, %d left", clusters, meta, left)
				} else {
					require.NoError(t, err, "%d clusters, %d blocks, %d left", clusters, meta, left)
					tx.abort()
				}
				for _, g := range s.alloc.groups {
					require.Zero(t, g.promised)
					require.Zero(t, g.promisedMeta)
				}
				if meta == 0 {
					require.Equal(t, before, r.imageAfterSync(s))
				}
				// Chunks that were set aside are not given back (F3): start from what is left now.
				left = s.alloc.spareAll()
			}
		}
		if left == 0 {
			break
		}
	}
	require.NoError(t, s.j.Close(ctx))
}

func (a *allocator) spareAll() (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, g := range a.groups {
		n += g.spare()
	}
	return n
}

// imageAfterSync is the content of all groups' metadata, everything durable and home.
func (r *storeRig) imageAfterSync(s *store) (all []any) {
	require.NoError(r.t, s.j.SyncAll(context.Background()))
	require.NoError(r.t, s.j.Checkpoint(context.Background()))
	for g := range r.sb.Groups {
		h, c, m := groupBits(r.t, r.dev, r.sb, g)
		all = append(all, *h, c, m)
	}
	return all
}

// spyDevice notes discards.
type spyDevice struct {
	blockdev.Device
	mu       sync.Mutex
	discards []run // in bytes
	gate     func()
}

func (d *spyDevice) Discard(ctx context.Context, off, n int64) error {
	d.mu.Lock()
	d.discards = append(d.discards, run{uint64(off), uint32(n)})
	gate := d.gate
	d.mu.Unlock()
	if gate != nil {
		gate()
	}
	return d.Device.Discard(ctx, off, n)
}

// TestFreedClustersNotReusedBeforeDurable is F2: what a transaction frees stays taken until that transaction is durable
// and the clusters have been discarded, adjacent ones at once.
func TestFreedClustersNotReusedBeforeDurable(t *testing.T) {
	spy := &spyDevice{Device: memdev.New(blockdev.Geometry{SectorSize: 4096, Size: ondisk.MinVolume}, nil)}
	r := newStoreRig(t, storeOptions{cluster: 65536, dev: spy})
	checktest.CleanAtEnd(t, r.dev)
	s := r.mustOpen(0)
	ctx := context.Background()
	runs := takeAll(t, s, 500, true)
	require.NoError(t, s.j.SyncAll(ctx))
	victim := runs[3]
	first, second := run{victim.Start, 4}, run{victim.Start + 4, 4}

	release := make(chan struct{})
	spy.gate = func() { <-release }
	freeAll(t, s, []run{first})
	freeAll(t, s, []run{second})
	tx := s.newTxn()
	require.ErrorIs(t, s.alloc.more(ctx, tx, need{clusters: 1, essential: true}), ErrNoSpace, "not durable")
	require.Empty(t, spy.discards)
	go func() { _ = s.j.SyncAll(ctx) }()
	require.NoError(t, s.j.SyncAll(ctx))
	require.ErrorIs(t, s.alloc.more(ctx, tx, need{clusters: 1, essential: true}), ErrNoSpace, "durable, not discarded")
	close(release)
	require.NoError(t, s.alloc.settle(ctx))
	require.NoError(t, s.alloc.more(ctx, tx, need{clusters: 8, essential: true}))
	tx.release()
	covered := 0
	for _, d := range spy.discards {
		assert.GreaterOrEqual(t, d.Start, victim.Start*65536)
		covered += int(d.Len)
	}
	assert.Equal(t, 8*65536, covered)

	// begin waits for the space instead of refusing.
	tx, err := s.begin(ctx, need{clusters: 8, essential: true})
	require.NoError(t, err)
	got, err := tx.allocData(ctx, 8, 0)
	require.NoError(t, err)
	_, err = tx.commit(ctx)
	require.NoError(t, err)
	freeAll(t, s, got)
	tx, err = s.begin(ctx, need{clusters: 8, essential: true})
	require.NoError(t, err)
	tx.abort()

	runs[3].Start, runs[3].Len = runs[3].Start+8, runs[3].Len-8
	freeAll(t, s, runs)
	r.close(s)
}

// TestWindowsKeepFilesApart grows several files in turn, a cluster at a time: each stays in long runs.
func TestWindowsKeepFilesApart(t *testing.T) {
	r := newStoreRig(t, storeOptions{size: 1 << 30, cluster: 4096})
	checktest.CleanAtEnd(t, r.dev)
	s := r.mustOpen(0)
	ctx := context.Background()
	const files, each = 4, 3000
	wins := make([]window, files)
	got := make([][]run, files)
	for range each {
		for f := range files {
			goal := uint64(0)
			if l := len(got[f]); l > 0 {
				goal = got[f][l-1].Start + uint64(got[f][l-1].Len)
			}
			tx, err := s.begin(ctx, need{clusters: 1, win: &wins[f]})
			require.NoError(t, err)
			rs, err := tx.allocData(ctx, 1, goal)
			require.NoError(t, err)
			got[f] = appendRun(got[f], rs[0].Start, int(rs[0].Len))
			_, err = tx.commit(ctx)
			require.NoError(t, err)
		}
	}
	var all []run
	for f := range files {
		assert.LessOrEqual(t, len(got[f]), 8, "file %d", f)
		assert.Equal(t, each, length(got[f]))
		all = append(all, got[f]...)
	}
	unique(t, r.sb, all)
	for f := range files {
		wins[f].release(s)
		wins[f].release(s)
	}
	assert.Empty(t, s.alloc.windows)
	for _, g := range s.alloc.groups {
		assert.Zero(t, g.ahead)
	}
	freeAll(t, s, all)
	r.close(s)
}

// TestWindowsGiveWay: space reserved ahead is space for whoever needs it.
func TestWindowsGiveWay(t *testing.T) {
	r := newStoreRig(t, storeOptions{})
	checktest.CleanAtEnd(t, r.dev)
	s := r.mustOpen(0)
	ctx := context.Background()
	tx, err := s.begin(ctx, need{clusters: 10})
	require.NoError(t, err)
	a, err := tx.allocData(ctx, 5, 0)
	require.NoError(t, err)
	b, err := tx.allocData(ctx, 5, a[0].Start+5)
	require.NoError(t, err)
	require.Equal(t, a[0].Start+5, b[0].Start)
	_, err = tx.commit(ctx)
	require.NoError(t, err)
	require.NotEmpty(t, s.alloc.windows)
	rest := takeAll(t, s, 3000, true)
	require.Equal(t, int(r.sb.FreeClusters)-10, length(rest))
	for _, g := range s.alloc.groups {
		require.Zero(t, g.ahead)
	}
	freeAll(t, s, append(rest, a[0], b[0]))
	r.close(s)
}

// TestGrow: groups that mkfs has left alone are formatted when they are needed, by whichever node comes first, and all
// nodes can use them.
func TestGrow(t *testing.T) {
	r := newStoreRig(t, storeOptions{cluster: 65536, ready: 2})
	checktest.CleanAtEnd(t, r.dev)
	require.Greater(t, r.sb.Groups, uint32(2+growBatch))
	s0, s1 := r.mustOpen(0), r.mustOpen(1)
	per := int(r.sb.GroupClusters(0) - r.sb.GroupMetaClusters())
	ctx := context.Background()
	var runs [2][]run
	for i := 0; length(runs[0])+length(runs[1]) < int(r.sb.FreeClusters); i++ {
		s := []*store{s0, s1}[i%2]
		n := min(per/2, int(r.sb.FreeClusters)-length(runs[0])-length(runs[1]))
		tx, err := s.begin(ctx, need{clusters: n, essential: true})
		require.NoError(t, err)
		rs, err := tx.allocData(ctx, n, 0)
		require.NoError(t, err)
		_, err = tx.commit(ctx)
		require.NoError(t, err)
		runs[i%2] = append(runs[i%2], rs...)
	}
	unique(t, r.sb, append(append([]run(nil), runs[0]...), runs[1]...))
	assert.Equal(t, r.sb.Groups, s0.alloc.ready)
	freeAll(t, s0, runs[1]) // each frees what the other took: much of it through the free logs
	freeAll(t, s1, runs[0])
	r.close(s0)
	r.close(s1)
}

// TestGrowAfterCrash: a node that died while formatting leaves blocks with high stamps where the grow block says there
// is nothing. What the next node writes there must still win over them at replay.
func TestGrowAfterCrash(t *testing.T) {
	r := newStoreRig(t, storeOptions{cluster: 65536, ready: 2})
	checktest.CleanAtEnd(t, r.dev)
	ctx := context.Background()
	for i, b := range ondisk.FormatGroup(r.sb, 2) {
		ondisk.Stamp(b, 1_000_000, 1, 3, 1)
		ondisk.Seal(b)
		require.NoError(t, r.dev.WriteAt(ctx, b, int64(r.sb.GroupFirst(2)+uint64(i))*ondisk.BlockSize, false))
	}
	s := r.mustOpen(0)
	runs := takeAll(t, s, 100, true)
	assert.Greater(t, s.j.LSN(), uint64(1_000_000))
	freeAll(t, s, runs)
	r.close(s)
}

// TestCorruptGroupIsLeftAlone: one bad bitmap costs its group, not the volume.
func TestCorruptGroupIsLeftAlone(t *testing.T) {
	for name, bend := range map[string]func(sb *ondisk.Super, blocks [][]byte){
		"rot":           func(_ *ondisk.Super, blocks [][]byte) { blocks[1][2000] ^= 1 },
		"counter":       func(_ *ondisk.Super, blocks [][]byte) { blocks[0][ondisk.HeaderSize+8]++; ondisk.Seal(blocks[0]) },
		"meta counter":  func(_ *ondisk.Super, blocks [][]byte) { blocks[0][ondisk.HeaderSize+12]++; ondisk.Seal(blocks[0]) },
		"bits too many": func(_ *ondisk.Super, blocks [][]byte) { blocks[1][96+100] = 1; ondisk.Seal(blocks[1]) },
		"own clusters": func(_ *ondisk.Super, blocks [][]byte) {
			blocks[1][96] = 0xfd
			blocks[1][97] = 1
			ondisk.Seal(blocks[1])
		},
		"free metadata in data": func(sb *ondisk.Super, blocks [][]byte) {
			blocks[2][96+200] = 0xfe
			g := ondisk.Group{Index: 0, Clusters: sb.GroupClusters(0), FreeClusters: sb.GroupClusters(0) - sb.GroupMetaClusters(), FreeMeta: 1}
			g.Put(blocks[0])
			ondisk.Seal(blocks[0])
			ondisk.Seal(blocks[2])
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newStoreRig(t, storeOptions{cluster: 4096})
			ctx := context.Background()
			blocks := ondisk.FormatGroup(r.sb, 0)
			for _, b := range blocks {
				ondisk.Stamp(b, 1, 1, 0, 0)
				ondisk.Seal(b)
			}
			bend(r.sb, blocks)
			for i, b := range blocks {
				require.NoError(t, r.dev.WriteAt(ctx, b, int64(r.sb.GroupFirst(0)+uint64(i))*ondisk.BlockSize, false))
			}
			s := r.mustOpen(0)
			runs := takeAll(t, s, 3000, true)
			own := int(r.sb.GroupClusters(0) - r.sb.GroupMetaClusters())
			assert.Equal(t, int(r.sb.FreeClusters)-own, length(runs))
			// What is freed there waits in the free log, now and after leaving.
			freeAll(t, s, append(runs, run{(r.sb.GroupFirst(0) / uint64(r.sb.ClusterBlocks())) + 50, 1}))
			r.close(s)
		})
	}
}

// TestWrongBitFailsTheCommit: what contradicts the bitmaps is not published.
func TestWrongBitFailsTheCommit(t *testing.T) {
	r := newStoreRig(t, storeOptions{})
	checktest.CleanAtEnd(t, r.dev)
	s := r.mustOpen(0)
	ctx := context.Background()
	tx, err := s.begin(ctx, need{clusters: 4, meta: 2})
	require.NoError(t, err)
	rs, err := tx.allocData(ctx, 4, 0)
	require.NoError(t, err)
	_, err = tx.allocMeta(ctx)
	require.NoError(t, err)
	require.NoError(t, tx.freeData(ctx, rs[0].Start+100, 2)) // nobody has them
	_, err = tx.commit(ctx)
	require.ErrorIs(t, err, ondisk.ErrCorrupt)
	tx.abort()

	tx, err = s.begin(ctx, need{})
	require.NoError(t, err)
	require.NoError(t, tx.freeData(ctx, rs[0].Start, 1)) // given back by the failure
	_, err = tx.commit(ctx)
	require.ErrorIs(t, err, ondisk.ErrCorrupt)

	tx, err = s.begin(ctx, need{clusters: 1})
	require.NoError(t, err)
	rs, err = tx.allocData(ctx, 1, 0)
	require.NoError(t, err)
	_, err = tx.commit(ctx)
	require.NoError(t, err)
	tx, err = s.begin(ctx, need{})
	require.NoError(t, err)
	require.NoError(t, tx.freeData(ctx, rs[0].Start, 1))
	require.NoError(t, tx.freeData(ctx, rs[0].Start, 1)) // twice in one transaction
	_, err = tx.commit(ctx)
	require.ErrorIs(t, err, ondisk.ErrCorrupt)

	tx, err = s.begin(ctx, need{})
	require.NoError(t, err)
	require.ErrorIs(t, tx.freeData(ctx, 3, 1), ondisk.ErrCorrupt, "not in a group")
	require.ErrorIs(t, tx.freeData(ctx, r.sb.GroupFirst(1)/uint64(r.sb.ClusterBlocks()), 1), ondisk.ErrCorrupt, "header of a group")
	tx.abort()
	freeAll(t, s, rs)
	r.close(s)
}

// TestTakeAndFreeInOneTransaction leaves the bitmaps as they were.
func TestTakeAndFreeInOneTransaction(t *testing.T) {
	r := newStoreRig(t, storeOptions{})
	checktest.CleanAtEnd(t, r.dev)
	s := r.mustOpen(0)
	ctx := context.Background()
	for range 50 {
		tx, err := s.begin(ctx, need{clusters: 4, meta: 2})
		require.NoError(t, err)
		rs, err := tx.allocData(ctx, 4, 0)
		require.NoError(t, err)
		blk, err := tx.allocMeta(ctx)
		require.NoError(t, err)
		written, err := tx.allocMeta(ctx)
		require.NoError(t, err)
		require.NotEqual(t, blk, written)
		tx.Write(written, 77, ondisk.NewBlock(ondisk.TypeNode, written, r.sb.UUID, 77, 1))
		tx.freeMeta(blk)
		tx.freeMeta(written)
		require.NoError(t, tx.freeData(ctx, rs[0].Start, 4))
		_, err = tx.commit(ctx)
		require.NoError(t, err)
	}
	require.NoError(t, s.alloc.settle(ctx))
	for _, g := range s.alloc.groups {
		_, clusters, meta := groupBitsOf(t, s, g.idx)
		assert.Equal(t, clusters, g.clusters)
		assert.Equal(t, meta, g.meta)
	}
	r.close(s)
}

// groupBitsOf reads the published bitmaps of a group through the journal.
func groupBitsOf(t *testing.T, s *store, idx uint32) (*group, bitset, bitset) {
	g, err := s.alloc.readGroup(context.Background(), idx)
	require.NoError(t, err)
	return g, g.clusters, g.meta
}

// TestMetaStaysMeta is F3: clusters that were given to metadata never become data.
func TestMetaStaysMeta(t *testing.T) {
	r := newStoreRig(t, storeOptions{})
	checktest.CleanAtEnd(t, r.dev)
	s := r.mustOpen(0)
	ctx := context.Background()
	var blks []uint64
	for range 40 {
		tx, err := s.begin(ctx, need{meta: 20})
		require.NoError(t, err)
		for range 20 {
			blk, err := tx.allocMeta(ctx)
			require.NoError(t, err)
			blks = append(blks, blk)
		}
		_, err = tx.commit(ctx)
		require.NoError(t, err)
	}
	tx, err := s.begin(ctx, need{})
	require.NoError(t, err)
	for _, b := range blks[:100] {
		tx.freeInode(b)
	}
	_, err = tx.commit(ctx)
	require.NoError(t, err)
	for len(blks) > 100 {
		tx, err := s.begin(ctx, need{})
		require.NoError(t, err)
		for _, b := range blks[len(blks)-50:] {
			tx.freeMeta(b)
		}
		blks = blks[:len(blks)-50]
		_, err = tx.commit(ctx)
		require.NoError(t, err)
	}
	runs := takeAll(t, s, 3000, true)
	k := uint64(r.sb.ClusterBlocks())
	for _, rn := range runs {
		for _, b := range blks {
			require.False(t, b/k >= rn.Start && b/k < rn.Start+uint64(rn.Len))
		}
	}
	meta := 0
	for _, g := range s.alloc.groups {
		meta += g.spareMeta()
	}
	assert.Equal(t, int(r.sb.FreeClusters), length(runs)+meta/int(k))
	freeAll(t, s, runs)
	r.close(s)
}

// TestStatfsSeesOtherNodes: what others took shows once it is home.
func TestStatfsSeesOtherNodes(t *testing.T) {
	r := newStoreRig(t, storeOptions{})
	s0, s1 := r.mustOpen(0), r.mustOpen(1)
	ctx := context.Background()
	tx, err := s0.begin(ctx, need{clusters: 100})
	require.NoError(t, err)
	_, err = tx.allocData(ctx, 100, 0)
	require.NoError(t, err)
	tx.countInode(3)
	_, err = tx.commit(ctx)
	require.NoError(t, err)
	free, inodes, err := s0.space.sum(ctx)
	require.NoError(t, err)
	assert.Equal(t, r.sb.FreeClusters-100, free, "own changes show at once")
	assert.Equal(t, uint64(3), inodes)
	require.NoError(t, s0.j.SyncAll(ctx))
	require.NoError(t, s0.j.Checkpoint(ctx))
	free, inodes, err = s1.space.sum(ctx)
	require.NoError(t, err)
	assert.Equal(t, r.sb.FreeClusters-100, free)
	assert.Equal(t, uint64(3), inodes)
}

// TestParallelTransactions runs transactions of one node at once under the race detector.
func TestParallelTransactions(t *testing.T) {
	r := newStoreRig(t, storeOptions{cluster: 65536})
	checktest.CleanAtEnd(t, r.dev)
	s := r.mustOpen(0)
	ctx := context.Background()
	var wg sync.WaitGroup
	var mu sync.Mutex
	owned := map[uint64]bool{}
	var kept []run
	for w := range 6 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 3))
			var mine []run
			for range 150 {
				if len(mine) > 0 && rng.IntN(2) == 0 {
					i := rng.IntN(len(mine))
					mu.Lock()
					for c := range mine[i].Len {
						delete(owned, mine[i].Start+uint64(c))
					}
					mu.Unlock()
					freeAll(t, s, mine[i:i+1])
					mine = append(mine[:i], mine[i+1:]...)
					continue
				}
				n := 1 + rng.IntN(40)
				tx, err := s.begin(ctx, need{clusters: n, meta: rng.IntN(20)})
				if err != nil {
					assert.ErrorIs(t, err, ErrNoSpace)
					continue
				}
				rs, err := tx.allocData(ctx, n, 0)
				assert.NoError(t, err)
				if rng.IntN(4) == 0 {
					tx.abort()
					continue
				}
				mu.Lock()
				for _, x := range rs {
					for c := range x.Len {
						assert.False(t, owned[x.Start+uint64(c)])
						owned[x.Start+uint64(c)] = true
					}
				}
				mu.Unlock()
				_, err = tx.commit(ctx)
				assert.NoError(t, err)
				mine = append(mine, rs...)
			}
			mu.Lock()
			kept = append(kept, mine...)
			mu.Unlock()
		})
	}
	wg.Wait()
	unique(t, r.sb, kept)
	freeAll(t, s, kept)
	r.close(s)
}
