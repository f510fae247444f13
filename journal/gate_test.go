package journal

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/blockdev/memdev"
	"github.com/covol/covol/ondisk/sched"
	"github.com/covol/covol/ondisk/sched/simsched"
)

// gate holds writes to one block, or flushes, until it is opened.
type gate struct {
	blockdev.Device
	blk     uint64 // 0: none
	flushes bool
	opened  sched.Event
	held    int
	reads   int
	began   int // flushes
}

func (g *gate) ReadAt(ctx context.Context, p []byte, off int64) error {
	g.reads++
	if err := g.Device.ReadAt(ctx, p, off); err != nil {
		return err
	}
	if g.opened != nil && !g.opened.IsSet() && off == int64(g.blk)*ondisk.BlockSize {
		g.held++
		if err := g.opened.Wait(ctx); err != nil {
			return err
		}
	}
	return nil // what was read may be out of date by now
}

func (g *gate) WriteAt(ctx context.Context, p []byte, off int64, fua bool) error {
	if at := int64(g.blk) * ondisk.BlockSize; g.opened != nil && off <= at && at < off+int64(len(p)) {
		g.held++
		if err := g.opened.Wait(ctx); err != nil {
			return err
		}
	}
	return g.Device.WriteAt(ctx, p, off, fua)
}

func (g *gate) Flush(ctx context.Context) error {
	g.began++
	if g.flushes {
		g.held++
		if err := g.opened.Wait(ctx); err != nil {
			return err
		}
	}
	return g.Device.Flush(ctx)
}

// inSim runs fn with a journal on a gated device, in virtual time.
func inSim(t *testing.T, nodes int, fn func(s *simsched.Scheduler, g *gate, j *Journal)) {
	sb, s := testSuper(), simsched.New(1)
	g := &gate{Device: fresh(sb, nodes)}
	done := false
	s.Go("test", func() {
		c := config(sb, g)
		c.Sched = s
		j, err := Open(ctx, c)
		if assert.NoError(t, err) {
			fn(s, g, j)
			j.Kill()
		}
		done = true
	})
	require.NoError(t, s.Run(10*time.Hour))
	require.True(t, done)
}

// later gives everything that can happen time to happen.
func later(s *simsched.Scheduler) { _ = s.Sleep(ctx, time.Minute) }

func TestFreeIsNotDurableWhileOldContentIsOnItsWayHome(t *testing.T) {
	inSim(t, 0, func(s *simsched.Scheduler, g *gate, j *Journal) {
		x := meta(j.cfg.Super, 0)
		assert.NoError(t, j.Sync(ctx, write(t, j, 1, 1, x)))
		g.blk, g.opened = x, s.NewEvent()
		s.Go("checkpoint", func() { assert.NoError(t, j.Checkpoint(ctx)) })
		later(s)
		assert.Equal(t, 1, g.held)
		free, synced, reusable := j.Begin(), false, false
		free.Free(x)
		free.OnDurable(func() { reusable = true })
		seq, err := free.Publish(ctx)
		assert.NoError(t, err)
		s.Go("sync", func() {
			assert.NoError(t, j.Sync(ctx, seq))
			synced = true
		})
		later(s)
		assert.False(t, synced || reusable, "the old content may still land on what comes next")
		g.opened.Set()
		later(s)
		assert.True(t, synced && reusable)
	})
}

func TestSpaceIsNotReusedBeforeTheHeadSaysSo(t *testing.T) {
	inSim(t, 0, func(s *simsched.Scheduler, g *gate, j *Journal) {
		sb := j.cfg.Super
		g.blk, g.opened = sb.JournalStart(0)+uint64(1-j.headTurn), s.NewEvent()
		acked := uint64(0)
		s.Go("writer", func() {
			for v := uint64(1); v <= 300; v++ {
				if j.Sync(ctx, write(t, j, 1, v, meta(sb, 0), meta(sb, int(v)))) != nil {
					return
				}
				acked = v
			}
		})
		later(s)
		assert.Equal(t, 1, g.held)
		assert.Less(t, acked, uint64(100), "the ring is full")
		assert.LessOrEqual(t, j.Stats().LogUsed, j.Stats().LogSize)
		crash := g.Device.(*memdev.Device).Clone()
		_, err := Replay(ctx, crash, sb, 0, ReplayOptions{Sched: sched.Real{}})
		assert.NoError(t, err)
		assert.EqualValues(t, acked, home(t, crash, sb, meta(sb, 0)))
		g.opened.Set()
		later(s)
		assert.EqualValues(t, 300, acked)
	})
}

func TestManyWaitersShareOneFlush(t *testing.T) {
	inSim(t, 0, func(s *simsched.Scheduler, g *gate, j *Journal) {
		g.flushes, g.opened = true, s.NewEvent()
		base, done := g.began, 0
		go1 := func(fn func() error) {
			s.Go("waiter", func() {
				assert.NoError(t, fn())
				done++
			})
		}
		first := write(t, j, 1, 1, meta(j.cfg.Super, 0))
		go1(func() error { return j.Sync(ctx, first) })
		later(s)
		for i := range 20 { // these come while the first commit runs
			seq := write(t, j, 1, 2, meta(j.cfg.Super, i))
			go1(func() error { return j.Sync(ctx, seq) })
			go1(func() error { return j.Barrier(ctx) })
		}
		later(s)
		assert.Zero(t, done)
		g.opened.Set()
		later(s)
		assert.Equal(t, 41, done)
		assert.LessOrEqual(t, g.began-base, 3, "one for the first, one for the barriers, one for the second group")
		assert.EqualValues(t, 2, j.Stats().Commits)
	})
}

// A flush that is cut short because another write has failed is answered with that failure.
func TestFlushThatIsCutShortSaysWhy(t *testing.T) {
	inSim(t, 0, func(s *simsched.Scheduler, g *gate, j *Journal) {
		g.flushes, g.opened = true, s.NewEvent()
		var got error
		lost := errors.New("a write was lost")
		s.Go("waiter", func() { got = j.Barrier(ctx) })
		later(s)
		assert.Equal(t, 1, g.held)
		j.fail(lost)
		g.opened.Set()
		later(s)
		assert.ErrorIs(t, got, lost)
		assert.ErrorIs(t, got, ErrStopped)
		assert.NotErrorIs(t, got, context.Canceled)
	})
}

func TestConcurrentReadsShareOneLoadAndNeverCacheOldContent(t *testing.T) {
	inSim(t, 1, func(s *simsched.Scheduler, g *gate, j *Journal) {
		x := meta(j.cfg.Super, 0)
		g.blk, g.opened = x, s.NewEvent()
		base, got := g.reads, []uint64{}
		for range 5 {
			s.Go("reader", func() { got = append(got, read(t, j, 1, x)) })
		}
		later(s)
		assert.Equal(t, 1, g.reads-base)
		write(t, j, 1, 9, x) // published while the old content is being read
		g.opened.Set()
		later(s)
		assert.Equal(t, []uint64{9, 9, 9, 9, 9}, got)

		y := meta(j.cfg.Super, 1)
		old, young := node(j.cfg.Super, y, 1), node(j.cfg.Super, y, 2)
		ondisk.Seal(old)
		ondisk.Seal(young)
		putBlock(g.Device, y, old)
		g.blk, g.opened = y, s.NewEvent()
		s.Go("reader", func() { _, _ = j.Read(ctx, y, ondisk.TypeNode, 2) })
		later(s)
		assert.NoError(t, j.Drop(2)) // the lock goes away while the block is being read
		putBlock(g.Device, y, young)
		g.opened.Set()
		later(s)
		assert.EqualValues(t, 2, read(t, j, 2, y))
	})
}

func TestTimers(t *testing.T) {
	inSim(t, 0, func(s *simsched.Scheduler, g *gate, j *Journal) {
		write(t, j, 1, 1, meta(j.cfg.Super, 0))
		_ = s.Sleep(ctx, 30*time.Minute)
		assert.Zero(t, j.Stats().Commits)
		_ = s.Sleep(ctx, 31*time.Minute)
		assert.EqualValues(t, 1, j.Stats().Commits, "CommitEvery")
		assert.NotZero(t, j.Stats().LogUsed)
		_ = s.Sleep(ctx, 61*time.Minute)
		assert.Zero(t, j.Stats().LogUsed, "CheckpointIdle")
		assert.EqualValues(t, 1, home(t, g.Device, j.cfg.Super, meta(j.cfg.Super, 0)))
	})
}

func TestPublishWaitsForRoomAndRefusesTooMuch(t *testing.T) {
	inSim(t, 0, func(s *simsched.Scheduler, g *gate, j *Journal) {
		sb := j.cfg.Super
		g.flushes, g.opened = true, s.NewEvent()
		blocks := func(n, from int) (all []uint64) {
			for i := range n {
				all = append(all, meta(sb, from+i))
			}
			return all
		}
		write(t, j, 1, 1, blocks(j.MaxTxnBlocks(), 0)...) // commits at once, held by the flush
		later(s)
		write(t, j, 1, 2, blocks(j.MaxTxnBlocks(), 0)...) // fills the next group
		published := false
		s.Go("third", func() {
			write(t, j, 1, 3, blocks(10, 500)...)
			published = true
		})
		later(s)
		assert.False(t, published)
		_, ok := j.Peek(meta(sb, 500))
		assert.False(t, ok)
		g.opened.Set()
		later(s)
		assert.True(t, published)

		x := j.Begin()
		for _, blk := range blocks(j.MaxTxnBlocks()+1, 0) {
			x.Write(blk, 1, node(sb, blk, 4))
		}
		_, err := x.Publish(ctx)
		assert.ErrorIs(t, err, ErrTooLarge)
		assert.EqualValues(t, 2, read(t, j, 1, meta(sb, 0)))
	})
}
