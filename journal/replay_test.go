package journal

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/blockdev/memdev"
	"github.com/covol/covol/ondisk/sched"
)

// dirty is a device with a dirty journal of some groups, revokes among them. Most of it is not home.
func dirty(t testing.TB, sb *ondisk.Super, groups int) *memdev.Device {
	dev := fresh(sb, 8)
	j := open(t, config(sb, dev))
	for i := range groups {
		tx := j.Begin()
		for k := range 4 {
			blk := meta(sb, (i*3+k)%20)
			tx.Write(blk, 1, node(sb, blk, uint64(100*i+k+1)))
		}
		if i%4 == 3 {
			tx.Free(meta(sb, (i*3+9)%20))
		}
		seq, err := tx.Publish(ctx)
		require.NoError(t, err)
		require.NoError(t, j.Sync(ctx, seq))
		if i == groups/2 {
			require.NoError(t, j.Checkpoint(ctx))
		}
	}
	return dev.Clone()
}

// TestReplayInterruptedAtEveryWrite fails each operation of a replay in turn, loses or keeps what was under way, and
// runs it again: the bytes of the whole volume must be those of a replay that was never interrupted.
func TestReplayInterruptedAtEveryWrite(t *testing.T) {
	t.Run("first lap", func(t *testing.T) { interruptReplay(t, testSuper(), 12) })
	// The ring has been written over since the older head: only the newer one may be trusted until it is clean.
	t.Run("later lap", func(t *testing.T) { interruptReplay(t, testSuper(), 70) })
}

func interruptReplay(t *testing.T, sb *ondisk.Super, groups int) {
	base := dirty(t, sb, groups)
	straight := base.Clone()
	st := replayed(t, sb, straight, 0)
	require.NotZero(t, st.Applied)
	require.NotZero(t, st.Revoked)
	for n := 1; ; n++ {
		tp := newTape(base.Clone(), 1, nil)
		tp.failAt = n
		_, err := Replay(ctx, tp, sb, 0, ReplayOptions{Sched: sched.Real{}})
		if err == nil {
			require.Greater(t, n, 10)
			break
		}
		require.ErrorIs(t, err, blockdev.ErrMedium)
		rng := rand.New(rand.NewPCG(uint64(n), 6))
		tp.moments(func(m moment) {
			for i, keep := range fates(len(m.pending), 1, rng) {
				dev := m.outcome(geometry(sb), keep, rng)
				replayed(t, sb, dev, 0)
				require.Equal(t, straight.Hash(), dev.Hash(), "operation %d, event %d, outcome %d", n, m.after, i)
			}
			if w := m.event.write; m.event.kind == writeBegins && w.fua {
				dev := m.outcome(geometry(sb), func(int) fate { return lost }, rng)
				putBlock(dev, uint64(w.off)/ondisk.BlockSize, make([]byte, ondisk.BlockSize)) // worse than torn
				replayed(t, sb, dev, 0)
				require.Equal(t, straight.Hash(), dev.Hash(), "head lost in operation %d", n)
			}
		})
	}
	again := replayed(t, sb, straight, 0)
	assert.True(t, again.Clean)
}

func TestTornHead(t *testing.T) {
	sb := testSuper()
	base := dirty(t, sb, 6)
	want := base.Clone()
	replayed(t, sb, want, 0)
	hs, err := readHeads(ctx, base, sb, 0)
	require.NoError(t, err)
	for which := range ondisk.JournalHeads {
		dev := base.Clone()
		blk := sb.JournalStart(0) + uint64(which)
		b := getBlock(dev, blk)
		b[100] ^= 1
		putBlock(dev, blk, b)
		st := replayed(t, sb, dev, 0)
		assert.False(t, st.Clean)
		for n := range 20 {
			assert.Equal(t, value(getBlock(want, meta(sb, n))), value(getBlock(dev, meta(sb, n))), "head %d of %d", which, hs.last)
		}
	}
	dev := base.Clone()
	for which := range ondisk.JournalHeads {
		putBlock(dev, sb.JournalStart(0)+uint64(which), make([]byte, ondisk.BlockSize))
	}
	_, err = Replay(ctx, dev, sb, 0, ReplayOptions{Sched: sched.Real{}})
	require.ErrorIs(t, err, ondisk.ErrCorrupt)
	_, err = Replay(ctx, dev, sb, 2, ReplayOptions{Sched: sched.Real{}})
	require.ErrorIs(t, err, ErrMisuse)
}

// TestDamagedLogIsNotTakenForTorn flips one bit in each block of the log in turn. Only damage to the last group may
// look like a group that never became durable; anything before must be found, and then nothing may be written.
func TestDamagedLogIsNotTakenForTorn(t *testing.T) {
	sb := testSuper()
	base := dirty(t, sb, 8)
	hs, err := readHeads(ctx, base, sb, 0)
	require.NoError(t, err)
	idx, err := scan(ctx, base, sb, hs.current())
	require.NoError(t, err)
	ring := sb.JournalStart(0) + ondisk.JournalHeads
	last := idx.nextPos - 6 // every group has 6 blocks: descriptor, 4 contents, commit
	for pos := hs.current().Tail; pos < idx.nextPos; pos++ {
		dev := base.Clone()
		b := getBlock(dev, ring+uint64(pos))
		b[200] ^= 4
		putBlock(dev, ring+uint64(pos), b)
		before := dev.Hash()
		st, err := Replay(ctx, dev, sb, 0, ReplayOptions{Sched: sched.Real{}})
		if pos >= last {
			require.NoError(t, err)
			assert.Equal(t, idx.groups-1, st.Groups)
			continue
		}
		require.ErrorIs(t, err, ondisk.ErrCorrupt, "block %d", pos)
		assert.Equal(t, before, dev.Hash(), "block %d", pos)
	}
}

// guard fails a test whose replay writes where no metadata lies.
type guard struct {
	blockdev.Device
	t  testing.TB
	sb *ondisk.Super
}

func (g *guard) WriteAt(ctx context.Context, p []byte, off int64, fua bool) error {
	for i := int64(0); i < int64(len(p)); i += ondisk.BlockSize {
		blk := uint64(off+i) / ondisk.BlockSize
		head := blk >= g.sb.JournalStart(0) && blk < g.sb.JournalStart(0)+ondisk.JournalHeads
		if !head && !journalled(g.sb, blk) {
			g.t.Errorf("replay wrote block %d", blk)
		}
	}
	return g.Device.WriteAt(ctx, p, off, fua)
}

// FuzzReplay mutates a journal, and mends checksums so that the mutations are believed.
func FuzzReplay(f *testing.F) {
	sb := testSuper()
	base := dirty(f, sb, 10)
	hs, err := readHeads(ctx, base, sb, 0)
	require.NoError(f, err)
	f.Add(uint64(1), uint16(3), true)
	for i := range uint64(200) {
		f.Add(i*7919, uint16(i%40), i%3 > 0)
	}
	f.Fuzz(func(t *testing.T, seed uint64, where uint16, seal bool) {
		rng := rand.New(rand.NewPCG(seed, 7))
		dev := base.Clone()
		for range 1 + rng.IntN(3) {
			at := sb.JournalStart(0) + uint64(hs.last)
			if where > 0 {
				at = sb.JournalStart(0) + ondisk.JournalHeads + uint64(hs.current().Tail) + uint64(where) - 1
			}
			if at >= sb.JournalStart(1) {
				return
			}
			b := getBlock(dev, at)
			for range 1 + rng.IntN(4) {
				n := rng.IntN(160)
				if rng.IntN(2) == 0 {
					n = ondisk.HeaderSize + rng.IntN(60)
				}
				b[n] = byte(rng.Uint32())
			}
			if seal {
				ondisk.Seal(b)
			}
			putBlock(dev, at, b)
			where = uint16(rng.IntN(40))
		}
		g := &guard{dev, t, sb}
		_, err := Replay(ctx, g, sb, 0, ReplayOptions{Sched: sched.Real{}})
		if err != nil && !errors.Is(err, ondisk.ErrCorrupt) {
			t.Errorf("replay: %v", err)
		}
	})
}

// TestReplayedJournalGoesOn opens a journal again and again after crashes, so that leavings of earlier lives lie in
// the ring.
func TestReplayedJournalGoesOn(t *testing.T) {
	sb := testSuper()
	dev := fresh(sb, 1)
	want := uint64(0)
	for life := range 30 {
		c := config(sb, dev)
		c.Incarnation = view.Incarnation(life + 1)
		j := open(t, c)
		assert.Equal(t, want, read(t, j, 1, meta(sb, 0)))
		for range 5 + life%7 {
			want++
			require.NoError(t, j.Sync(ctx, write(t, j, 1, want, meta(sb, 0), meta(sb, 1+life%5))))
		}
		j.Kill()
		require.NoError(t, j.Wait(ctx))
		replayed(t, sb, dev, 0)
	}
}
