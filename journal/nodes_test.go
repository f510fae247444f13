package journal

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev/memdev"
)

// handOver does what a node does before it gives the lock of owner away.
func handOver(t testing.TB, j *Journal, owners ...uint64) {
	t.Helper()
	require.NoError(t, j.FlushOwner(ctx, owners...))
	for _, o := range owners {
		require.False(t, j.HasDirty(o))
	}
	require.NoError(t, j.Drop(owners...))
}

func twoNodes(t testing.TB, sb *ondisk.Super, dev *memdev.Device) (a, b *Journal) {
	ca, cb := config(sb, dev), config(sb, dev)
	cb.Slot = 1
	return open(t, ca), open(t, cb)
}

// TestReplayNeverGoesBack: node A's journal still holds a record of a block that B has changed since.
func TestReplayNeverGoesBack(t *testing.T) {
	sb := testSuper()
	dev := fresh(sb, 1)
	a, b := twoNodes(t, sb, dev)
	x := meta(sb, 0)
	add := func(j *Journal) {
		tx := j.Begin()
		_, err := tx.Read(ctx, x, ondisk.TypeNode, 1)
		require.NoError(t, err)
		tx.Update(x, 1, addValue(1))
		_, err = tx.Publish(ctx)
		require.NoError(t, err)
		handOver(t, j, 1)
	}
	for n := uint64(1); n <= 10; n++ {
		if n%2 == 1 {
			add(a)
		} else {
			add(b)
		}
		for _, order := range [][]view.Slot{{0}, {1}, {0, 1}, {1, 0}} {
			crash := dev.Clone()
			for _, slot := range order {
				replayed(t, sb, crash, slot)
			}
			require.Equal(t, n, home(t, crash, sb, x))
		}
	}
	assert.NotZero(t, a.Stats().LogUsed, "the old records are still there")
}

// TestReplayNeverOverwritesReusedBlock: a block is freed by A and comes back as something else, metadata or even
// file data, of A or of B, while A's journal still holds records of its old life.
func TestReplayNeverOverwritesReusedBlock(t *testing.T) {
	const bitmap, old, young = 100, 1, 2
	for _, c := range []struct {
		name  string
		reuse func(t *testing.T, sb *ondisk.Super, dev *memdev.Device, a, b *Journal, x uint64)
	}{
		{"metadata of the other node", func(t *testing.T, sb *ondisk.Super, dev *memdev.Device, a, b *Journal, x uint64) {
			handOver(t, a, bitmap)
			read(t, b, bitmap, meta(sb, 0)) // carries the clock over, as reading the bitmap does
			write(t, b, young, 9, x)
			handOver(t, b, young)
		}},
		{"file data of the other node", func(t *testing.T, sb *ondisk.Super, dev *memdev.Device, a, b *Journal, x uint64) {
			handOver(t, a, bitmap)
			data := make([]byte, ondisk.BlockSize)
			setValue(data, 9)
			putBlock(dev, x, data)
			require.NoError(t, b.Barrier(ctx))
		}},
		{"file data of the same node", func(t *testing.T, sb *ondisk.Super, dev *memdev.Device, a, b *Journal, x uint64) {
			require.NoError(t, a.SyncAll(ctx))
			data := make([]byte, ondisk.BlockSize)
			setValue(data, 9)
			putBlock(dev, x, data)
		}},
		{"metadata of the same node, home", func(t *testing.T, sb *ondisk.Super, dev *memdev.Device, a, b *Journal, x uint64) {
			write(t, a, young, 9, x)
			handOver(t, a, young)
		}},
		{"metadata of the same node, in the log", func(t *testing.T, sb *ondisk.Super, dev *memdev.Device, a, b *Journal, x uint64) {
			require.NoError(t, a.Sync(ctx, write(t, a, young, 9, x)))
		}},
	} {
		for _, atHome := range []bool{false, true} {
			t.Run(c.name, func(t *testing.T) {
				sb := testSuper()
				dev := fresh(sb, 1)
				a, b := twoNodes(t, sb, dev)
				x := meta(sb, 7)
				require.NoError(t, a.Sync(ctx, write(t, a, old, 1, x)))
				require.NoError(t, a.Sync(ctx, write(t, a, old, 2, x)))
				if atHome {
					require.NoError(t, a.FlushOwner(ctx, old))
				}
				tx := a.Begin()
				_, err := tx.Read(ctx, meta(sb, 0), ondisk.TypeNode, bitmap)
				require.NoError(t, err)
				tx.Free(x)
				tx.Update(meta(sb, 0), bitmap, addValue(1))
				_, err = tx.Publish(ctx)
				require.NoError(t, err)
				_, err = a.Read(ctx, x, ondisk.TypeNode, old)
				require.ErrorIs(t, err, ErrFreed)
				c.reuse(t, sb, dev, a, b, x)
				for _, order := range [][]view.Slot{{0}, {0, 1}, {1, 0}} {
					crash := dev.Clone()
					for _, slot := range order {
						replayed(t, sb, crash, slot)
					}
					require.EqualValues(t, 9, value(getBlock(crash, x)))
				}
				require.NoError(t, a.Checkpoint(ctx))
				require.EqualValues(t, 9, value(getBlock(dev, x)), "no old content may come home late")
			})
		}
	}
}

// TestTwoNodesCrash hands blocks to and fro and cuts the power at random moments. The value of a block counts its
// changes, so whatever replay makes of it must lie between what was acknowledged and what was published.
func TestTwoNodesCrash(t *testing.T) {
	const blocks = 12
	for _, seed := range seeds(t, 1, 6) {
		rng := rand.New(rand.NewPCG(seed, 4))
		sb := testSuper()
		tp := newTape(fresh(sb, blocks), seed, nil)
		ca, cb := config(sb, tp), config(sb, tp)
		cb.Slot = 1
		js := []*Journal{open(t, ca), open(t, cb)}
		holder, latest := [blocks]int{}, [blocks]uint64{}
		for range 150 {
			n := rng.IntN(blocks)
			blk, owner := meta(sb, n), uint64(n+1)
			if want := rng.IntN(2); holder[n] != want {
				handOver(t, js[holder[n]], owner)
				require.Equal(t, latest[n], home(t, tp.Device, sb, blk), "-seed=%d", seed)
				holder[n] = want
				tp.mark([2]uint64{uint64(n), latest[n]})
			}
			j := js[holder[n]]
			require.Equal(t, latest[n], read(t, j, owner, blk), "-seed=%d", seed)
			latest[n]++
			seq := write(t, j, owner, latest[n], blk)
			if rng.IntN(3) == 0 {
				require.NoError(t, j.Sync(ctx, seq))
				tp.mark([2]uint64{uint64(n), latest[n]})
			}
			if rng.IntN(20) == 0 {
				require.NoError(t, j.Checkpoint(ctx))
			}
		}
		acked := [blocks]uint64{}
		tp.moments(func(m moment) {
			if k, ok := m.event.mark.([2]uint64); ok {
				acked[k[0]] = max(acked[k[0]], k[1])
			}
			if m.event.kind != writeBegins && (m.event.kind != marked || rng.IntN(4) > 0) {
				return
			}
			for i, keep := range fates(len(m.pending), 1, rng) {
				crash := m.outcome(geometry(sb), keep, rng)
				order := [][]view.Slot{{0, 1}, {1, 0}}[rng.IntN(2)]
				for _, slot := range order {
					replayed(t, sb, crash, slot)
				}
				for n := range blocks {
					got := home(t, crash, sb, meta(sb, n))
					require.True(t, acked[n] <= got && got <= latest[n], "-seed=%d, event %d, outcome %d: block %d is %d, acknowledged %d of %d",
						seed, m.after, i, n, got, acked[n], latest[n])
				}
			}
		})
	}
}
