package fs

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/dlm"
	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/blockdev/memdev"
	"github.com/covol/covol/ondisk/check/checktest"
	"github.com/covol/covol/ondisk/sched/simsched"
)

// logEntries counts the entries of a store's own free log, and the height of its tree.
func logEntries(t *testing.T, s *store) (n, height int) {
	in, err := s.readFreeLog(context.Background(), s.j, uint16(s.slot))
	require.NoError(t, err)
	sh := treeCheck(t, s.j, in)
	return sh.entries, sh.height
}

// TestFreeLogKeepsWhatOthersHold: space freed in groups of another node waits in the free log, however much it is, and
// is given back in the background.
func TestFreeLogKeepsWhatOthersHold(t *testing.T) {
	simulate(t, 1, func(sc *simsched.Scheduler, _ *rand.Rand) {
		r := newStoreRig(t, storeOptions{sched: sc})
		s0, s1 := r.mustOpen(0), r.mustOpen(1)
		ctx := context.Background()
		tx, err := s0.begin(ctx, need{clusters: 3000})
		require.NoError(t, err)
		rs, err := tx.allocData(ctx, 3000, 0)
		require.NoError(t, err)
		_, err = tx.commit(ctx)
		require.NoError(t, err)
		require.NoError(t, s0.j.SyncAll(ctx))
		require.NoError(t, s0.j.Checkpoint(ctx)) // so that the other node sees what is taken
		asked := r.med.token
		entries := 0
		for c := uint32(0); c < rs[0].Len && entries < 1000; c += 2 { // every second cluster: runs of one
			tx, err := s1.begin(ctx, need{essential: true})
			require.NoError(t, err)
			for k := uint32(0); k < 40 && c < rs[0].Len; k++ {
				require.NoError(t, tx.freeData(ctx, rs[0].Start+uint64(c), 1))
				c += 2
				entries++
			}
			c -= 2
			_, err = tx.commit(ctx)
			require.NoError(t, err)
		}
		got, height := logEntries(t, s1)
		assert.Equal(t, entries, got)
		assert.Positive(t, height)
		assert.LessOrEqual(t, r.med.token-asked, uint64(2), "no lock was asked for but that of the group for the log's own blocks")
		free, _, err := s1.space.sum(ctx)
		require.NoError(t, err)
		before := free

		// What is in the log cannot be freed once more.
		tx, err = s1.begin(ctx, need{essential: true})
		require.NoError(t, err)
		require.NoError(t, tx.freeData(ctx, rs[0].Start, 1))
		_, err = tx.commit(ctx)
		require.ErrorIs(t, err, ondisk.ErrCorrupt)

		require.NoError(t, sc.Sleep(ctx, time.Minute))
		got, height = logEntries(t, s1)
		assert.Zero(t, got)
		assert.Zero(t, height)
		free, _, err = s1.space.sum(ctx)
		require.NoError(t, err)
		assert.Equal(t, before+uint64(entries), free)
		for c := uint32(1); c < rs[0].Len; c += 2 {
			freeAll(t, s0, []run{{rs[0].Start + uint64(c), 1}})
		}
		if l := len(rs); l > 1 {
			freeAll(t, s0, rs[1:])
		}
		for c := uint32(2 * entries); c < rs[0].Len; c += 2 {
			freeAll(t, s1, []run{{rs[0].Start + uint64(c), 1}})
		}
		r.close(s1)
		r.close(s0)
		checktest.MustBeClean(t, r.dev)
	})
}

// TestFreeOnFullVolume: a node that holds no group deletes on a volume without any space, as much as it likes, and then
// there is space.
func TestFreeOnFullVolume(t *testing.T) {
	simulate(t, 2, func(sc *simsched.Scheduler, _ *rand.Rand) {
		r := newStoreRig(t, storeOptions{sched: sc, cluster: 65536})
		s0, s1 := r.mustOpen(0), r.mustOpen(1)
		ctx := context.Background()
		runs := takeAll(t, s0, 100, false)
		runs = append(runs, takeAll(t, s0, 1, false)...)
		require.NoError(t, s0.j.SyncAll(ctx))
		_, err := s1.begin(ctx, need{clusters: 20})
		require.ErrorIs(t, err, ErrNoSpace)
		for _, rn := range runs {
			for c := range rn.Len {
				freeAll(t, s1, []run{{rn.Start + uint64(c), 1}})
			}
		}
		tx, err := s1.begin(ctx, need{clusters: 2000})
		require.NoError(t, err, "what was freed is called in")
		tx.abort()
		r.close(s0)
		r.close(s1)
		checktest.MustBeClean(t, r.dev)
	})
}

// TestDemoteWaitsForDiscard: a group changes hands only when nothing freed in it is still to be discarded; a late discard
// would hit the data of the next owner.
func TestDemoteWaitsForDiscard(t *testing.T) {
	simulate(t, 3, func(sc *simsched.Scheduler, _ *rand.Rand) {
		spy := &spyDevice{Device: memdev.New(blockdev.Geometry{SectorSize: 4096, Size: ondisk.MinVolume}, nil)}
		r := newStoreRig(t, storeOptions{sched: sc, dev: spy})
		s0, s1 := r.mustOpen(0), r.mustOpen(1)
		ctx := context.Background()
		tx, err := s0.begin(ctx, need{clusters: 50})
		require.NoError(t, err)
		rs, err := tx.allocData(ctx, 50, 0)
		require.NoError(t, err)
		_, err = tx.commit(ctx)
		require.NoError(t, err)
		g, _ := r.sb.GroupOf(rs[0].Start * uint64(r.sb.ClusterBlocks()))

		release, inside := sc.NewEvent(), sc.NewEvent()
		spy.gate = func() {
			inside.Set()
			_ = release.Wait(ctx)
		}
		freeAll(t, s0, rs)
		done := false
		sc.Go("other node", func() {
			h, err := s1.locks.lock(ctx, groupRes(g), useWrite)
			assert.NoError(t, err)
			h.unlock()
			done = true
		})
		require.NoError(t, inside.Wait(ctx))
		require.NoError(t, sc.Sleep(ctx, time.Minute))
		assert.False(t, done)
		assert.Equal(t, dlm.EX, r.med.held[groupRes(g)][0])
		release.Set()
		require.NoError(t, sc.Sleep(ctx, time.Minute))
		assert.True(t, done)
		assert.Nil(t, s0.alloc.groups[g], "forgotten")
		r.close(s0)
		r.close(s1)
		checktest.MustBeClean(t, r.dev)
	})
}

// TestKillLetsWaitersGo: who waits for freed space when the node withdraws is told.
func TestKillLetsWaitersGo(t *testing.T) {
	simulate(t, 4, func(sc *simsched.Scheduler, _ *rand.Rand) {
		spy := &spyDevice{Device: memdev.New(blockdev.Geometry{SectorSize: 4096, Size: ondisk.MinVolume}, nil)}
		r := newStoreRig(t, storeOptions{sched: sc, dev: spy})
		s := r.mustOpen(0)
		ctx := context.Background()
		runs := takeAll(t, s, 3000, true)
		release := sc.NewEvent()
		spy.gate = func() { _ = release.Wait(ctx) }
		freeAll(t, s, runs[:1])
		var got error
		sc.Go("begin", func() { _, got = s.begin(ctx, need{clusters: 1, essential: true}) })
		require.NoError(t, sc.Sleep(ctx, time.Minute))
		assert.NoError(t, got)
		s.alloc.kill(ErrWithdrawn)
		s.j.Kill()
		require.NoError(t, sc.Sleep(ctx, time.Minute))
		assert.ErrorIs(t, got, ErrWithdrawn)
		release.Set()
	})
}
