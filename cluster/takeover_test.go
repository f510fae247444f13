package cluster

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/ondisk"
)

// A node dies, and the one that recovers it dies at its n-th call to the disk, for each n. The third brings both home.
func TestSecondFailureAtEveryStep(t *testing.T) {
	for machine := range 2 {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("machine %d/after %v", machine, after), func(t *testing.T) {
				for at := 1; ; at++ {
					if *seedsFlag == 0 && at > 16 && at%6 != machine {
						continue // with -seeds, every single one
					}
					w := newWorld(t, uint64(at), 3, true)
					v := w.settled("v", machine)
					b, c := w.settled("b", machine), w.settled("c", machine)
					b.kill(1)
					w.run(patience, "v works on", func() bool { return v.writes > 3 })
					v.hb.killAt, v.hb.after = v.hb.ops+at, after
					w.run(patience, fmt.Sprintf("recovery, crash at %d", at), func() bool {
						return w.judge.view.Members[b.node.ID().Slot] == 0 && w.idle()
					})
					died := v.dead
					w.check()
					assert.True(t, c.active())
					w.stop()
					if !died {
						assert.Greater(t, at, 8)
						return
					}
				}
			})
		}
	}
}

// The power fails for all, and all come back at once.
func TestAllRestartAtOnce(t *testing.T) {
	for seed := range uint64(12) {
		w := newWorld(t, seed, 4, true)
		names := []string{"a", "b", "c", "d"}
		var first, second []*proc
		for _, name := range names {
			first = append(first, w.settled(name, int(seed%2)))
		}
		for _, p := range first {
			p.kill(int(seed % 3))
		}
		for _, name := range names {
			second = append(second, w.spawn(name, int(seed%2)))
		}
		if seed%4 == 3 { // and one fails again
			second[seed%3].hb.killAt = 5 + w.rng.IntN(20)
			w.run(patience, "second death", func() bool { return second[seed%3].dead })
			second[seed%3] = w.spawn(names[seed%3], int(seed%2))
		}
		w.run(patience, fmt.Sprintf("seed %d: all in", seed), w.allActive(second...))
		w.run(patience, "nothing to recover", w.idle)
		w.check()
		w.stop()
	}
}

// Whoever recovers is frozen in the middle of it, for longer than W: another one takes over, and what the frozen one
// still meant to write never lands.
func TestRecovererIsFrozen(t *testing.T) {
	for seed := range uint64(12) {
		w := newWorld(t, seed, 3, true)
		a, b, c := w.settled("a", 0), w.settled("b", 0), w.settled("c", 0)
		a.kill(0)
		var by *proc
		w.run(patience, "recovery to begin", func() bool {
			if rec, ok := recoverer(w.judge.slots[uint16(a.node.ID().Slot)]); ok {
				by = map[bool]*proc{true: b, false: c}[rec == b.node.ID()]
			}
			return by != nil
		})
		by.sched.freeze(3 * w.sb.Profile.Wait())
		w.run(patience, "recovery of both", w.idle)
		assert.Zero(t, w.judge.view.Members[by.node.ID().Slot])
		w.run(patience, "the frozen one notices", by.over)
		s, why, _ := by.node.State()
		assert.Equal(t, StateFenced, s, why)
		w.check()
		w.stop()
	}
}

// What waits at the gate when the node is put out fails, and never begins.
func TestWaitingWritesNeverBegin(t *testing.T) {
	w := newWorld(t, 1, 3, true)
	a, b := w.settled("a", 0), w.settled("b", 0)
	a.hb.broken = true
	w.run(patience, "pause", func() bool { s, _, _ := a.node.State(); return s == StatePaused && a.node.Gate().Waiting() > 0 })
	dev, off := a.node.Gate().Wrap(a.data), int64(w.sb.Blocks-1)*ondisk.BlockSize
	var errs []error
	for range 10 {
		w.s.Go("write", func() {
			errs = append(errs, dev.WriteAt(context.Background(), make([]byte, ondisk.BlockSize), off, true))
		})
	}
	w.run(patience, "death", func() bool { return w.judge.dead[a.node.ID()] })
	writes := a.writes
	a.hb.broken = false
	w.run(patience, "end", func() bool { return len(errs) == 10 })
	for _, err := range errs {
		require.ErrorIs(t, err, ErrWithdrawn)
		require.ErrorIs(t, err, ErrFenced)
	}
	assert.Equal(t, writes, a.writes)
	assert.True(t, b.active())
	w.check()
}

// Suspend: the clock has gone on, the timers have not. The gate is shut from the first instant, before any timer of the
// process runs; the neighbours that slept as well are not taken for dead.
func TestSuspendOfAll(t *testing.T) {
	for seed := range uint64(10) {
		w := newWorld(t, seed, 3, true)
		a, b := w.settled("a", 0), w.settled("b", 0)
		w.s.AfterFunc(0, func() {
			for _, p := range []*proc{a, b} {
				p.sched.jump += 8 * time.Hour
			}
			assert.False(t, a.node.Gate().Open())
			st := a.node.Status()
			assert.Less(t, st.LeaseLeft, -7*time.Hour)
		})
		writes := a.writes
		w.run(patience, "work", func() bool { return a.active() && b.active() && a.writes > writes+3 })
		assert.Equal(t, uint64(a.node.View().Epoch), w.judge.view.Epoch)
		assert.Empty(t, w.judge.dead)
		w.check()
		w.stop()
	}
}
