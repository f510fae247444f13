package journal

import (
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/sched"
)

// TestFailEveryOperation makes the N-th operation of the device fail, for every N until none is left. Whatever the
// failing write left, what was acknowledged before must come out of the replay, in whole transactions.
func TestFailEveryOperation(t *testing.T) {
	step := 1
	if testing.Short() || raceEnabled {
		step = 5
	}
	for _, seed := range seeds(t, 1, 1) {
		for n := 1; ; n += step {
			w := runWorkload(t, seed, 30, n)
			if w.tape.calls < n {
				require.NoError(t, w.failed)
				require.Greater(t, n, 50)
				return
			}
			require.ErrorIs(t, w.failed, blockdev.ErrMedium, "operation %d", n)
			rng := rand.New(rand.NewPCG(seed, 5))
			acked, data := Seq(0), map[uint64]uint64{}
			last := moment{stable: w.tape.base}
			w.tape.moments(func(m moment) {
				switch k := m.event.mark.(type) {
				case syncedMark:
					acked = max(acked, Seq(k))
				case dataMark:
					data[k.blk] = k.v
				}
				last = m
			})
			for i, keep := range fates(len(last.pending), 2, rng) {
				dev := last.outcome(geometry(w.sb), keep, rng)
				_, err := Replay(ctx, dev, w.sb, 0, ReplayOptions{Sched: sched.Real{}})
				require.NoError(t, err, "operation %d, outcome %d", n, i)
				require.NoError(t, w.judge(dev, acked, data), "operation %d, outcome %d", n, i)
			}
		}
	}
}

func TestErrorStopsTheJournalOnce(t *testing.T) {
	for _, what := range []string{"log write", "flush", "home write"} {
		t.Run(what, func(t *testing.T) {
			sb := testSuper()
			tp := newTape(fresh(sb, 1), 1, nil)
			c := config(sb, tp)
			var calls atomic.Int32
			told := c.Sched.NewEvent()
			c.OnError = func(err error) {
				assert.ErrorIs(t, err, blockdev.ErrMedium)
				calls.Add(1)
				told.Set()
			}
			j := open(t, c)
			x := meta(sb, 0)
			read(t, j, 1, x)
			seq := write(t, j, 1, 1, x)
			var err error
			switch what {
			case "log write":
				tp.failAt = tp.calls + 1
				err = j.Sync(ctx, seq)
			case "flush":
				tp.failAt = tp.calls + 2
				err = j.Sync(ctx, seq)
			case "home write":
				require.NoError(t, j.Sync(ctx, seq))
				tp.failAt = tp.calls + 1
				err = j.FlushOwner(ctx, 1)
			}
			require.Error(t, err)
			require.NoError(t, told.Wait(ctx))
			require.NoError(t, j.Wait(ctx))
			_, err = j.Read(ctx, x, ondisk.TypeNode, 1)
			require.ErrorIs(t, err, ErrStopped)
			require.ErrorIs(t, err, blockdev.ErrMedium)
			require.ErrorIs(t, j.SyncAll(ctx), ErrStopped)
			require.ErrorIs(t, j.FlushOwner(ctx, 1), ErrStopped)
			require.ErrorIs(t, j.Barrier(ctx), ErrStopped)
			require.ErrorIs(t, j.Checkpoint(ctx), ErrStopped)
			require.ErrorIs(t, j.Close(ctx), ErrStopped)
			tx := j.Begin()
			tx.Write(x, 1, node(sb, x, 2))
			_, err = tx.Publish(ctx)
			require.ErrorIs(t, err, ErrStopped)
			assert.EqualValues(t, 1, calls.Load())
		})
	}
}

func TestReadErrorConcernsTheReaderOnly(t *testing.T) {
	sb := testSuper()
	tp := newTape(fresh(sb, 2), 1, nil)
	c := config(sb, tp)
	c.OnError = func(err error) { t.Error("withdrawn:", err) }
	j := open(t, c)
	tp.failAt = tp.calls + 1
	_, err := j.Read(ctx, meta(sb, 0), ondisk.TypeNode, 1)
	require.ErrorIs(t, err, blockdev.ErrMedium)
	assert.EqualValues(t, 0, read(t, j, 1, meta(sb, 0)))
	_, err = j.Read(ctx, meta(sb, 1), ondisk.TypeInode, 1)
	require.ErrorIs(t, err, ondisk.ErrCorrupt)
	_, err = j.Read(ctx, meta(sb, 0), ondisk.TypeInode, 1)
	require.ErrorIs(t, err, ondisk.ErrCorrupt, "cached, but of another type")
	_, err = j.Read(ctx, sb.Blocks, ondisk.TypeInode, 1)
	require.ErrorIs(t, err, ondisk.ErrCorrupt)
	require.NoError(t, j.Close(ctx))
}

func TestMisuseIsRefusedAndChangesNothing(t *testing.T) {
	sb := testSuper()
	j := open(t, config(sb, fresh(sb, 1)))
	x := meta(sb, 0)
	for name, wrong := range map[string]func(tx *Txn){
		"wrong number":      func(tx *Txn) { tx.Write(x, 1, node(sb, x+1, 1)) },
		"short block":       func(tx *Txn) { tx.Write(x, 1, node(sb, x, 1)[:100]) },
		"no header":         func(tx *Txn) { tx.Write(x, 1, make([]byte, ondisk.BlockSize)) },
		"another volume":    func(tx *Txn) { tx.Write(x, 1, ondisk.NewBlock(ondisk.TypeNode, x, ondisk.UUID{9}, 1, 0)) },
		"superblock":        func(tx *Txn) { tx.Write(0, 1, ondisk.NewBlock(ondisk.TypeSuper, 0, sb.UUID, 1, 0)) },
		"bitmap as node":    func(tx *Txn) { b := sb.ClusterBitmapBlock(0, 0); tx.Write(b, 1, node(sb, b, 1)) },
		"update not cached": func(tx *Txn) { tx.Update(meta(sb, 5), 1, addValue(1)) },
		"update of a free":  func(tx *Txn) { tx.Free(x); tx.Update(x, 1, addValue(1)) },
		"free of a journal": func(tx *Txn) { tx.Free(sb.JournalStart(0)) },
	} {
		tx := j.Begin()
		tx.Write(meta(sb, 3), 1, node(sb, meta(sb, 3), 1))
		wrong(tx)
		_, err := tx.Publish(ctx)
		require.Error(t, err, name)
		require.True(t, errors.Is(err, ErrMisuse) || errors.Is(err, ondisk.ErrCorrupt), "%s: %v", name, err)
		_, ok := j.Peek(meta(sb, 3))
		require.False(t, ok, name)
		_, err = tx.Publish(ctx)
		require.ErrorIs(t, err, ErrMisuse, "twice")
		tx.Abort()
	}
	write(t, j, 1, 1, x)
	require.ErrorIs(t, j.Drop(1), ErrMisuse)
	assert.EqualValues(t, 1, read(t, j, 1, x))
}
