package simdisk_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/blockdev/devtest"
	"github.com/covol/covol/ondisk/blockdev/simdisk"
)

// gate is a Wait that lets calls on only one step at a time.
type gate struct {
	waiting chan struct{}
	step    chan struct{}
}

func newGate() *gate { return &gate{waiting: make(chan struct{}, 100), step: make(chan struct{})} }

func (g *gate) Wait(ctx context.Context, _ time.Duration) error {
	g.waiting <- struct{}{}
	select {
	case <-g.step:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// gated makes a disk whose calls stop at g, and starts a write of "ab" by host 1 that has not landed.
func gated(t *testing.T, seed uint64, tr simdisk.Traits) (*simdisk.Disk, *gate, chan error) {
	d, g := newDisk(seed, tr), newGate()
	p := d.Path(1)
	d.SetWait(g.Wait)
	done := make(chan error, 1)
	go func() { done <- p.WriteAt(ctx, sectors("ab"), 0, false) }()
	<-g.waiting
	require.Equal(t, 1, d.InFlight(1))
	return d, g, done
}

func TestLifeOfAWrite(t *testing.T) {
	d, g, done := gated(t, 3, simdisk.Harsh)
	assert.Equal(t, "..", letters(t, d.Clone().Path(0), 0, 2), "in flight: nobody sees it")
	g.step <- struct{}{}
	<-g.waiting
	assert.Contains(t, []string{"a.", ".b"}, letters(t, d.Clone().Path(0), 0, 2), "readers may see a half")
	g.step <- struct{}{}
	<-g.waiting
	assert.Equal(t, "ab", letters(t, d.Clone().Path(0), 0, 2), "landed: all see it, before it is answered")
	assert.Zero(t, d.InFlight(1))
	g.step <- struct{}{}
	assert.NoError(t, <-done)
}

func TestInFlightMayLandInACrash(t *testing.T) {
	d, g, done := gated(t, 3, simdisk.Harsh)
	assert.ElementsMatch(t, []string{"..", "ab", "a.", ".b"}, keys(outcomes(t, d, 2)))
	for range 2 {
		g.step <- struct{}{}
		<-g.waiting
	}
	g.step <- struct{}{}
	require.NoError(t, <-done)
}

func TestGhosts(t *testing.T) {
	for _, c := range []struct {
		name      string
		landLater int
		fence     bool
		delivered int
		want      string
	}{
		{"lands after the death", 1, false, 1, "ab"},
		{"more asked for than there are", 9, false, 1, "ab"},
		{"lost with its host", 0, false, 0, ".."},
		{"fenced", 1, true, 0, ".."},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, g, done := gated(t, 5, simdisk.Harsh)
			d.KillHost(1, c.landLater)
			close(g.step)
			require.ErrorIs(t, <-done, simdisk.ErrDead)
			reader := d.Clone().Path(2)
			assert.Equal(t, "..", letters(t, reader, 0, 2))
			if c.fence {
				require.NoError(t, d.Path(2).(blockdev.Fencer).Fence(ctx, 1))
			}
			assert.Equal(t, c.delivered, d.DeliverGhosts())
			assert.Equal(t, c.want, letters(t, d.Clone().Path(2), 0, 2))
			assert.Zero(t, d.DeliverGhosts(), "a ghost lands once")
		})
	}
}

func TestAcknowledgedIsNeverAGhost(t *testing.T) {
	d := newDisk(1, simdisk.Harsh)
	require.NoError(t, d.Path(1).WriteAt(ctx, sectors("ab"), 0, false))
	d.KillHost(1, 10)
	assert.Zero(t, d.Ghosts())
	assert.Equal(t, "ab", letters(t, d.Path(2), 0, 2), "the host's death takes nothing that landed")
	require.NoError(t, d.Path(2).WriteAt(ctx, sectors("xy"), 0, true))
	d.DeliverGhosts()
	assert.Equal(t, "xy", letters(t, d.Path(2), 0, 2))
}

func TestDeadAndFenced(t *testing.T) {
	d := newDisk(1, simdisk.Harsh)
	old := d.Path(1)
	d.KillHost(1, 0)
	assert.ErrorIs(t, old.WriteAt(ctx, sectors("a"), 0, false), simdisk.ErrDead)
	assert.ErrorIs(t, old.ReadAt(ctx, sectors("a"), 0), simdisk.ErrDead)
	assert.ErrorIs(t, old.Flush(ctx), simdisk.ErrDead)
	rebooted := d.Path(1)
	assert.NoError(t, rebooted.WriteAt(ctx, sectors("a"), 0, false))

	require.NoError(t, d.Path(2).(blockdev.Fencer).Fence(ctx, 1))
	assert.ErrorIs(t, rebooted.WriteAt(ctx, sectors("b"), 0, false), blockdev.ErrFenced)
	assert.ErrorIs(t, rebooted.Discard(ctx, 0, 512), blockdev.ErrFenced)
	_, err := rebooted.(blockdev.CompareAndWriter).CompareAndWrite(ctx, 0, sectors("a"), sectors("b"))
	assert.ErrorIs(t, err, blockdev.ErrFenced)
	assert.ErrorIs(t, rebooted.(blockdev.Fencer).Fence(ctx, 2), blockdev.ErrFenced)
	assert.Equal(t, "a", letters(t, rebooted, 0, 1), "reading is allowed")
	d.Unfence(1)
	assert.NoError(t, rebooted.WriteAt(ctx, sectors("b"), 0, false))
}

func TestFenceMeetsWriteInFlight(t *testing.T) {
	d, g, done := gated(t, 5, simdisk.Harsh)
	d.Fence(1)
	close(g.step)
	assert.ErrorIs(t, <-done, blockdev.ErrFenced)
	assert.Equal(t, "..", letters(t, d.Clone().Path(2), 0, 2))
}

func TestGhostOfACompareLooksAgain(t *testing.T) {
	for _, c := range []struct{ meanwhile, want string }{{"", "b"}, {"x", "x"}} {
		d, g := newDisk(1, simdisk.Harsh), newGate()
		require.NoError(t, d.Path(1).WriteAt(ctx, sectors("a"), 0, true))
		p := d.Path(1).(blockdev.CompareAndWriter)
		d.SetWait(g.Wait)
		done := make(chan error, 1)
		go func() {
			_, err := p.CompareAndWrite(ctx, 0, sectors("a"), sectors("b"))
			done <- err
		}()
		<-g.waiting
		d.KillHost(1, 1)
		close(g.step)
		require.ErrorIs(t, <-done, simdisk.ErrDead)
		d.SetWait(nil)
		if c.meanwhile != "" {
			require.NoError(t, d.Path(2).WriteAt(ctx, sectors(c.meanwhile), 0, true))
		}
		d.DeliverGhosts()
		assert.Equal(t, c.want, letters(t, d.Path(2), 0, 1))
	}
}

func TestFlushCoversWhatLandedBefore(t *testing.T) {
	d, g := newDisk(1, simdisk.Traits{LoseUnflushed: true}), newGate()
	p := d.Path(1)
	require.NoError(t, p.WriteAt(ctx, sectors("a"), 0, false))
	d.SetWait(g.Wait)
	flushed := make(chan error, 1)
	go func() { flushed <- p.Flush(ctx) }()
	<-g.waiting
	d.SetWait(nil)
	require.NoError(t, p.WriteAt(ctx, sectors("b"), 512, false))
	g.step <- struct{}{}
	require.NoError(t, <-flushed)
	assert.ElementsMatch(t, []string{"a.", "ab"}, keys(outcomes(t, d, 2)))
}

func TestEndedContextDecidesTheWrite(t *testing.T) {
	got := map[string]int{}
	for seed := range uint64(60) {
		d := newDisk(seed, simdisk.Harsh)
		p := d.Path(1)
		d.SetWait(func(context.Context, time.Duration) error { return context.Canceled })
		require.ErrorIs(t, p.WriteAt(ctx, sectors("ab"), 0, false), context.Canceled)
		assert.Zero(t, d.InFlight(1))
		got[letters(t, d.Clone().Path(2), 0, 2)]++
		d.KillHost(1, 1)
		assert.Zero(t, d.DeliverGhosts(), "it never lands later")
	}
	assert.ElementsMatch(t, []string{"..", "ab"}, keys(got))
}

// TestSameSeedSameRun drives two hosts in a fixed order and compares runs.
func TestSameSeedSameRun(t *testing.T) {
	run := func(seed uint64) (live, crash uint64, landings int) {
		cfg := simdisk.Config{Size: 1 << 20, Seed: seed, Traits: simdisk.Harsh}
		cfg.Traits.MisdirectWrites = 0.1
		cfg.Traits.WriteErrors = []simdisk.ErrorRule{{Prob: 0.1}}
		cfg.Wait = func(ctx context.Context, _ time.Duration) error { return ctx.Err() }
		cfg.OnLand = func(simdisk.Landing) { landings++ }
		d := simdisk.New(cfg)
		for i := range 100 {
			p := d.Path(i % 2)
			if err := p.WriteAt(ctx, sectors("abcd"), int64(i)*1024, i%7 == 0); err != nil {
				require.True(t, errors.Is(err, blockdev.ErrMedium), err)
			}
			if i%10 == 0 {
				require.NoError(t, p.Flush(ctx))
			}
		}
		return d.Hash(), d.CrashClone(seed).Hash(), landings
	}
	seen := map[uint64]bool{}
	for seed := range uint64(20) {
		a1, b1, n1 := run(seed)
		a2, b2, n2 := run(seed)
		assert.Equal(t, []any{a1, b1, n1}, []any{a2, b2, n2}, "seed %d", seed)
		seen[a1] = true
	}
	assert.Greater(t, len(seen), 15, "seeds make a difference")
}

func TestCompareCountsOverPaths(t *testing.T) {
	d := newDisk(1, simdisk.Harsh)
	var w []blockdev.CompareAndWriter
	for host := range 4 {
		w = append(w, d.Path(host).(blockdev.CompareAndWriter))
	}
	devtest.CountUp(t, w, d.Path(9), 25)
}

func TestConfigDecidesAbilities(t *testing.T) {
	for _, caw := range []bool{false, true} {
		for _, pr := range []bool{false, true} {
			p := simdisk.New(simdisk.Config{Size: 4096, CompareAndWrite: caw, Reserve: pr}).Path(0)
			_, isCAW := p.(blockdev.CompareAndWriter)
			_, isPR := p.(blockdev.Fencer)
			assert.Equal(t, caw, isCAW)
			assert.Equal(t, pr, isPR)
		}
	}
}

func TestConcurrentHosts(t *testing.T) {
	d := newDisk(1, simdisk.Harsh)
	d.SetWait(func(context.Context, time.Duration) error { return nil })
	var wg sync.WaitGroup
	for host := range 4 {
		wg.Go(func() {
			for i := range 50 {
				p := d.Path(host)
				_ = p.WriteAt(ctx, sectors("abc"), int64(i*512), false)
				_ = p.Flush(ctx)
				switch i % 10 {
				case 3:
					d.KillHost(host, 1)
				case 5:
					d.Fence(host)
				case 7:
					d.Unfence(host)
				case 8:
					d.DeliverGhosts()
					d.CrashClone(uint64(i))
				}
			}
		})
	}
	wg.Wait()
}
