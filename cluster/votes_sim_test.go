package cluster

import (
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var voteSeedFlag = flag.Uint64("voteseed", 0, "replay this seed of TestSimVotes and log it")

// TestSim on a device without compare-and-write.
func TestSimVotes(t *testing.T) {
	if *voteSeedFlag != 0 {
		sim(t, *voteSeedFlag, false, true)
		return
	}
	seeds := 12
	if testing.Short() {
		seeds = 5
	}
	if *seedsFlag > 0 {
		seeds = *seedsFlag
	}
	for seed := uint64(1); seed <= uint64(seeds); seed++ {
		ok := t.Run(fmt.Sprintf("%#x", seed), func(t *testing.T) { sim(t, seed, false, false) })
		if !ok {
			t.Fatalf("replay: go test ./cluster -run TestSimVotes -voteseed=%#x", seed)
		}
	}
}

func TestThreeJoinAtOnceByVote(t *testing.T) {
	for seed := range uint64(10) {
		w := newWorld(t, seed, 3, false)
		a, b, c := w.spawn("a", 0), w.spawn("b", 0), w.spawn("c", 1)
		w.run(patience, "join", w.allActive(a, b, c))
		w.run(patience, "same view", func() bool {
			return len(a.node.View().Members) == 3 && len(b.node.View().Members) == 3 && len(c.node.View().Members) == 3
		})
		d := w.spawn("d", 0)
		w.run(patience, "refusal", func() bool { return d.done })
		require.ErrorIs(t, d.err, ErrNoSlot)
		b.leave()
		w.run(patience, "leave", func() bool { return b.left && len(a.node.View().Members) == 2 })
		w.check()
	}
}

// Survivors recover who dies, and it comes back.
func TestDeathIsVotedOn(t *testing.T) {
	for machine := range 2 {
		w := newWorld(t, 5, 3, false)
		a, b, c := w.spawn("a", machine), w.spawn("b", machine), w.spawn("c", machine)
		w.run(patience, "join", func() bool { return w.allActive(a, b, c)() && c.writes > 2 })
		id := c.node.ID()
		c.kill(0)
		begin := w.s.Now()
		w.run(patience, "recovery", func() bool { return w.judge.view.Members[id.Slot] == 0 && w.idle() })
		if machine == 0 {
			assert.GreaterOrEqual(t, w.s.Now()-begin, w.sb.Profile.Wait()-w.sb.Profile.Heartbeat)
		}
		assert.False(t, w.judge.open[uint16(id.Slot)])
		again := w.spawn("c", machine)
		w.run(patience, "c back", w.allActive(a, b, again))
		w.check()
	}
}

// Nobody is left, and no slot is free: the first who comes takes the slot of a dead one, and brings home all journals.
func TestAllDeadAndNoSlotFree(t *testing.T) {
	for seed := range uint64(6) {
		w := newWorld(t, seed, 2, false)
		a, b := w.settled("a", int(seed)%2), w.settled("b", int(seed)%2)
		w.run(patience, "join", w.allActive(a, b))
		a.kill(0)
		b.kill(0)
		c := w.spawn([]string{"a", "x"}[seed/2%2], int(seed)%2)
		w.run(patience, "join", c.active)
		w.run(patience, "recovery", w.idle)
		w.check()
	}
}

// A process that did not run wakes up after others have voted it dead: it writes nothing more.
func TestFrozenNodeByVote(t *testing.T) {
	for seed := range uint64(10) {
		for machine := range 2 {
			w := newWorld(t, seed, 3, false)
			a, b := w.settled("a", machine), w.settled("b", machine)
			a.sched.freeze(10 * time.Second)
			require.NoError(t, w.s.Run(w.s.Now()+9*time.Second))
			assert.Zero(t, w.judge.view.Members[a.node.ID().Slot], "W is over")
			w.run(patience, "withdrawal", a.over)
			w.run(patience, "recovery", w.idle)
			again := w.spawn("a", machine)
			w.run(patience, "join again", w.allActive(again, b))
			w.check()
		}
	}
}

// The storage is away for all: nobody is taken for dead, everybody goes on.
func TestStorageBlipOfAllByVote(t *testing.T) {
	for seed := range uint64(5) {
		w := newWorld(t, seed, 3, false)
		a, b := w.settled("a", 0), w.settled("b", 0)
		a.hb.broken, b.hb.broken = true, true
		require.NoError(t, w.s.Run(w.s.Now()+30*time.Second))
		a.hb.broken, b.hb.broken = false, false
		epoch := w.judge.view.Epoch
		w.run(patience, "work", w.allActive(a, b))
		assert.Equal(t, epoch, w.judge.view.Epoch)
		w.check()
	}
}

// A frozen process wakes up just when the others vote it dead, and its first writes are late: it goes on, or it is dead,
// never both.
func TestResumeWhileTheOthersVote(t *testing.T) {
	rounds := 30
	if *seedsFlag > 0 {
		rounds = *seedsFlag
	}
	outlived := 0
	for seed := range uint64(rounds) {
		w := newWorld(t, seed, 3, false)
		a, b := w.settled("a", 0), w.settled("b", 0)
		p := w.sb.Profile
		a.sched.freeze(p.Wait() - p.Heartbeat + time.Duration(w.rng.Int64N(int64(3*p.Heartbeat))))
		if w.rng.IntN(2) == 0 {
			b.hb.prob = 0.3
		}
		require.NoError(t, w.s.Run(a.sched.until+time.Duration(w.rng.Int64N(int64(p.Heartbeat)))))
		w.run(patience, "the end of a, or its work", func() bool { return a.over() || a.active() && a.node.Gate().Open() })
		if !a.over() {
			outlived++
		}
		b.hb.prob = 0
		require.NoError(t, w.s.Run(w.s.Now()+3*p.Wait()))
		w.check()
	}
	assert.True(t, outlived > 0 && outlived < rounds, "%d of %d outlived it: the test is about something else", outlived, rounds)
}
