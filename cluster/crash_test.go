package cluster

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The process dies at its n-th call to the disk, for n = 1, 2, 3.. until it gets through, before or after the call takes
// effect. Whatever it leaves behind, the others go on, its journal comes home, and it can be mounted again.
func TestCrashAtEveryStep(t *testing.T) {
	scenarios := []struct {
		name  string
		setup func(w *world)
		run   func(w *world, p *proc) // until p is through or dead
	}{
		{"join alone", func(*world) {}, nil},
		{"join next to another", func(w *world) { w.settled("b", 0) }, nil},
		{"join after all died", func(w *world) {
			a, b := w.settled("v", 0), w.settled("b", 0)
			a.kill(0)
			b.kill(0)
		}, nil},
		{"take over", func(w *world) {
			a := w.settled("b", 0)
			w.s.AfterFunc(2*time.Second, func() { a.kill(0) })
		}, func(w *world, p *proc) {
			w.run(patience, "takeover", func() bool {
				return p.dead || (w.s.Now() > 4*time.Second && w.idle() && len(w.judge.view.Members) > 0 && w.judge.view.Epoch > 3)
			})
		}},
	}
	for _, sc := range scenarios {
		for machine := range 2 {
			for _, after := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/machine %d/after %v", sc.name, machine, after), func(t *testing.T) {
					for at := 1; ; at++ {
						if testing.Short() && at > 12 && at%5 != 0 || *seedsFlag == 0 && at > 40 && at%3 != machine {
							continue // with -seeds, every single one
						}
						if !crashAt(t, true, machine, after, at, sc.setup, sc.run) {
							assert.Greater(t, at, 8)
							return
						}
					}
				})
			}
		}
	}
}

func (w *world) settled(name string, machine int) *proc {
	p := w.spawn(name, machine)
	w.run(patience, "join", func() bool { return p.writes > 1 })
	return p
}

// crashAt reports whether p died.
func crashAt(t *testing.T, caw bool, machine int, after bool, at int, setup func(*world), run func(*world, *proc)) bool {
	w := newWorld(t, uint64(at), 3, caw)
	setup(w)
	p := w.spawn("v", machine)
	p.hb.killAt, p.hb.after = at, after
	w.run(patience, fmt.Sprintf("join, crash at %d", at), func() bool { return p.dead || p.writes > 1 })
	if run != nil && !p.dead {
		run(w, p)
	}
	if !p.dead {
		p.leave()
		w.run(patience, fmt.Sprintf("leave, crash at %d", at), func() bool { return p.dead || p.left })
	}
	died := p.dead
	again := w.spawn("v", machine)
	w.run(patience, fmt.Sprintf("join again after a crash at %d", at), again.active)
	w.run(patience, fmt.Sprintf("recovery after a crash at %d", at), w.idle)
	w.check()
	w.stop()
	return died
}

// Nobody else is there: all I/O waits while the storage is away, and goes on when it is back.
func TestStorageBlipPausesAndGoesOn(t *testing.T) {
	for _, caw := range []bool{true, false} {
		w := newWorld(t, 1, 3, caw)
		a := w.settled("a", 0)
		a.hb.broken = true
		w.run(patience, "pause", func() bool { s, _, _ := a.node.State(); return s == StatePaused })
		_, why, _ := a.node.State()
		assert.Equal(t, CauseStorage, why.Cause)
		assert.Contains(t, why.Text, "injected")
		require.NoError(t, w.s.Run(w.s.Now()+20*time.Second))
		writes := a.writes
		assert.Positive(t, a.node.Gate().Waiting())
		require.NoError(t, w.s.Run(w.s.Now()+20*time.Second))
		assert.Equal(t, writes, a.writes, "nothing is written without a lease")
		a.hb.broken = false
		w.run(patience, "work", func() bool { return a.active() && a.writes > writes+3 })
		assert.Equal(t, []State{StateActive, StatePaused, StateActive}, a.states)
		w.check()
	}
}

// The storage is away for all: nobody is taken for dead, everybody goes on.
func TestStorageBlipOfAll(t *testing.T) {
	for seed := range uint64(10) {
		w := newWorld(t, seed, 3, true)
		a, b := w.settled("a", 0), w.settled("b", 0)
		a.hb.broken, b.hb.broken = true, true
		require.NoError(t, w.s.Run(w.s.Now()+30*time.Second))
		a.hb.broken, b.hb.broken = false, false
		epoch := w.judge.view.Epoch
		w.run(patience, "work", w.allActive(a, b))
		require.NoError(t, w.s.Run(w.s.Now()+10*time.Second))
		assert.True(t, w.allActive(a, b)())
		assert.Equal(t, epoch, w.judge.view.Epoch)
		w.check()
	}
}

// One node loses its storage for good: the other marks it dead, and when the storage is back the first one knows.
func TestLostStorageOfOne(t *testing.T) {
	w := newWorld(t, 1, 3, true)
	a, b := w.settled("a", 0), w.settled("b", 0)
	id := a.node.ID()
	a.hb.broken = true
	w.run(patience, "recovery", func() bool { return w.judge.view.Members[id.Slot] == 0 && w.idle() })
	writes := a.writes
	a.hb.broken = false
	w.run(patience, "withdrawal", a.over)
	_, why, _ := a.node.State()
	assert.Contains(t, []Cause{CauseSlotTaken, CauseRemoved}, why.Cause)
	assert.Equal(t, writes, a.writes)
	require.ErrorIs(t, a.node.Leave(t.Context()), ErrWithdrawn)
	err := a.node.Gate().Wrap(a.data).Flush(t.Context())
	require.ErrorIs(t, err, ErrWithdrawn)
	assert.True(t, b.active())
	w.check()
}

// A process that did not run wakes up: it writes nothing more.
func TestFrozenNode(t *testing.T) {
	for seed := range uint64(30) {
		for machine := range 2 {
			w := newWorld(t, seed, 3, true)
			a, b := w.settled("a", machine), w.settled("b", machine)
			a.sched.freeze(10 * time.Second)
			require.NoError(t, w.s.Run(w.s.Now()+9*time.Second))
			assert.Zero(t, w.judge.view.Members[a.node.ID().Slot], "W is over, locks held or not")
			w.run(patience, "withdrawal", a.over)
			w.run(patience, "recovery", w.idle)
			again := w.spawn("a", machine)
			w.run(patience, "join again", w.allActive(again, b))
			w.check()
		}
	}
}

func TestKillLooksLikeDeath(t *testing.T) {
	w := newWorld(t, 1, 3, true)
	a, b := w.settled("a", 1), w.settled("b", 1)
	a.node.Kill()
	assert.False(t, a.node.Gate().Open())
	w.run(patience, "end", a.node.Done().IsSet)
	begin := w.s.Now()
	w.run(patience, "recovery", func() bool { return w.judge.view.Members[0] == 0 && w.idle() })
	assert.Less(t, w.s.Now()-begin, w.sb.Profile.Lease, "the lock of the host was given back")
	assert.True(t, b.active())
	w.check()
}
