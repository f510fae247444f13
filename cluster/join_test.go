package cluster

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/ondisk"
)

func (w *world) allActive(ps ...*proc) func() bool {
	return func() bool {
		for _, p := range ps {
			if !p.active() {
				return false
			}
		}
		return true
	}
}

func TestJoinOneLeaveOne(t *testing.T) {
	for _, caw := range []bool{true, false} {
		t.Run(fmt.Sprintf("compare-and-write %v", caw), func(t *testing.T) {
			w := newWorld(t, 1, 3, caw)
			a := w.spawn("a", 1)
			w.run(patience, "join", func() bool { return a.done })
			require.NoError(t, a.err)
			assert.Equal(t, view.NodeID{Slot: 0, Incarnation: 1}, a.node.ID())
			w.run(patience, "work", func() bool { return a.writes > 20 })
			a.leave()
			w.run(patience, "leave", func() bool { return a.left })
			require.NoError(t, w.s.Run(w.s.Now()+time.Second))
			assert.Empty(t, w.locks)
			assert.Equal(t, []State{StateActive, StateLeaving, StateLeft}, a.states)
			assert.Zero(t, w.judge.view.Members[0])
			w.check()

			b := w.spawn("a", 1) // at once, by the same name, in the same slot
			begin := w.s.Now()
			w.run(patience, "join again", func() bool { return b.active() })
			assert.Equal(t, view.NodeID{Slot: 0, Incarnation: 2}, b.node.ID())
			assert.Less(t, w.s.Now()-begin, w.sb.Profile.Wait(), "nothing to wait for after a clean leave")
			w.check()
		})
	}
}

func TestEveryProfileWorks(t *testing.T) {
	for _, p := range ondisk.Profiles {
		t.Run(p.Name, func(t *testing.T) {
			w := newWorld(t, 1, 3, true)
			w.sb.Profile = p
			a, b := w.settled("a", 0), w.settled("b", 0)
			a.kill(0)
			w.run(3*p.Wait(), "recovery", func() bool { return w.judge.view.Members[0] == 0 && w.idle() })
			assert.NotContains(t, b.states, StatePaused)
			w.check()
		})
	}
}

func TestThreeJoinAtOnce(t *testing.T) {
	for seed := range uint64(20) {
		w := newWorld(t, seed, 3, true)
		a, b, c := w.spawn("a", 0), w.spawn("b", 0), w.spawn("c", 1)
		w.run(patience, "join", w.allActive(a, b, c))
		w.run(patience, "same view", func() bool {
			return len(a.node.View().Members) == 3 && len(b.node.View().Members) == 3 && len(c.node.View().Members) == 3
		})
		d := w.spawn("d", 0)
		w.run(patience, "refusal", func() bool { return d.done })
		require.ErrorIs(t, d.err, ErrNoSlot)
		assert.ErrorContains(t, d.err, "a (slot")
		e := w.spawn("b", 0)
		w.run(patience, "refusal", func() bool { return e.done })
		require.ErrorIs(t, e.err, ErrNameInUse)
		assert.ErrorContains(t, e.err, "node b is mounted already as slot")
		b.leave()
		w.run(patience, "leave", func() bool { return b.left && len(a.node.View().Members) == 2 })
		w.check()
	}
}

func TestSameNameAtOnce(t *testing.T) {
	for seed := range uint64(50) {
		w := newWorld(t, seed, 3, true)
		a, b := w.spawn("a", 0), w.spawn("a", 0)
		w.run(patience, "both to end", func() bool { return a.done && b.done })
		assert.True(t, (a.err == nil) != (b.err == nil), "one of two: %v, %v", a.err, b.err)
		w.check()
	}
}

// A node that died is mounted again: by the lock of the host soon, else after W; then its journal is replayed.
func TestDeadNodeComesBack(t *testing.T) {
	for machine := range 2 {
		w := newWorld(t, 3, 3, true)
		a := w.spawn("a", machine)
		w.run(patience, "join", func() bool { return a.writes > 3 })
		a.kill(0)
		require.True(t, w.judge.open[0])
		begin := w.s.Now()
		b := w.spawn("a", machine)
		w.run(patience, "join", b.active)
		took := w.s.Now() - begin
		assert.Equal(t, view.NodeID{Slot: 0, Incarnation: 2}, b.node.ID())
		if machine == 0 {
			assert.GreaterOrEqual(t, took, w.sb.Profile.Wait()-w.sb.Profile.Heartbeat)
		} else {
			assert.Less(t, took, w.sb.Profile.Lease)
		}
		w.check()
	}
}

// Nobody is left: the first who comes brings home the journals of all.
func TestFirstMounterReplaysAll(t *testing.T) {
	for seed := range uint64(20) {
		w := newWorld(t, seed, 4, true)
		a, b, c := w.spawn("a", 0), w.spawn("b", 0), w.spawn("c", 1)
		w.run(patience, "join", func() bool { return a.writes > 1 && b.writes > 1 && c.writes > 1 })
		a.kill(0)
		b.kill(0)
		c.kill(0)
		d := w.spawn("d", 1, func(c *Config) { c.NoTakeover = true })
		e := w.spawn("b", 1)
		w.run(patience, "join", w.allActive(d, e))
		w.run(patience, "recovery", w.idle)
		assert.False(t, w.judge.open[uint16(a.node.ID().Slot)])
		w.check()
	}
}

func TestSurvivorsRecoverOrWait(t *testing.T) {
	for _, takeover := range []bool{true, false} {
		for machine := range 2 {
			w := newWorld(t, 5, 3, true)
			set := func(c *Config) { c.NoTakeover = !takeover }
			a, b, c := w.spawn("a", machine, set), w.spawn("b", machine, set), w.spawn("c", machine, set)
			w.run(patience, "join", func() bool { return w.allActive(a, b, c)() && c.writes > 2 })
			id := c.node.ID()
			c.kill(0)
			w.run(patience, "c in Recovering", func() bool {
				return w.judge.view.Recovering[id.Slot] == uint32(id.Incarnation)
			})
			if takeover {
				w.run(patience, "recovery", w.idle)
				assert.False(t, w.judge.open[uint16(id.Slot)])
			} else {
				require.NoError(t, w.s.Run(w.s.Now()+20*time.Second))
				assert.Equal(t, []view.NodeID{id}, a.node.View().Recovering)
				require.NotEmpty(t, a.node.Status().Waits)
				assert.Contains(t, a.node.Status().Waits[0].What, "to be replayed")
				again := w.spawn("c", machine, set)
				w.run(patience, "c back", again.active)
				w.run(patience, "nothing to recover", w.idle)
			}
			w.check()
		}
	}
}

func TestJoinGivenUp(t *testing.T) {
	w := newWorld(t, 6, 3, true)
	a := w.spawn("a", 0)
	w.run(patience, "join", func() bool { return a.writes > 1 })
	a.kill(0)
	b := w.spawn("a", 0) // waits for W
	require.NoError(t, w.s.Run(w.s.Now()+time.Second))
	require.False(t, b.done)
	b.cancel()
	w.run(time.Second, "join to end", func() bool { return b.done })
	require.ErrorIs(t, b.err, context.Canceled)
	assert.ErrorContains(t, b.err, "waiting for: ")
	w.check()
}

func TestReplayFails(t *testing.T) {
	w := newWorld(t, 6, 3, true)
	a := w.spawn("a", 1)
	w.run(patience, "join", func() bool { return a.writes > 1 })
	a.kill(0)
	b := w.spawn("a", 1, func(c *Config) {
		c.Replay = func(context.Context, *Gate, view.Slot) error { return errInjected }
	})
	w.run(patience, "join to end", func() bool { return b.done })
	require.ErrorIs(t, b.err, errInjected)
	require.NoError(t, w.s.Run(w.s.Now()+time.Second))
	assert.Empty(t, w.locks)
	assert.True(t, w.judge.open[0], "the journal is still dirty")
	c := w.spawn("c", 1)
	w.run(patience, "another first mounter", c.active)
	w.run(patience, "nothing to recover", w.idle)
	assert.False(t, w.judge.open[0])
	w.check()
}
