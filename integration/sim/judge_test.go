//go:build !race

package sim

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/dlm"
	"github.com/covol/covol/fs"
	"github.com/covol/covol/ondisk/blockdev/simdisk"
)

// The tests of this file break covol on purpose and want the judge of it to say so: a judge that cannot fail judges
// nothing.

// calmOptions is a run without any faults.
func calmOptions() Options {
	return Options{Nodes: 3, Machines: OwnMachines, SectorSize: 512, Cluster: 4096, Profile: "fast", Work: 3 * time.Second, Clients: 2,
		Pace: 10 * time.Millisecond, Every: time.Second, Restart: 500 * time.Millisecond, Traits: simdisk.Harsh}
}

// caught runs a few seeds until a judge has found something, and wants it to be one of the judges named.
func caught(t *testing.T, o Options, h Hooks, judges ...string) {
	t.Helper()
	for seed := uint64(1); seed <= 12; seed++ {
		r := Run(seed, o, h, nil)
		if len(r.Faults) > 0 {
			require.Contains(t, judges, r.Faults[0].Judge, "%v", r.Faults[0])
			return
		}
	}
	require.Fail(t, "nobody noticed")
}

// TestCalm: without faults there is nothing to find, and nobody withdraws.
func TestCalm(t *testing.T) {
	r := Run(1, calmOptions(), Hooks{}, nil)
	require.Empty(t, r.Faults)
	assert.Zero(t, r.Stats.Withdrawals)
	assert.Zero(t, r.Stats.Takeovers)
	assert.Equal(t, 3, r.Stats.Lives)
	assert.Positive(t, r.Stats.Verified)
	assert.Positive(t, r.Stats.Shared)
}

// generous says EX where only PR was given.
type generous struct{ fs.LockManager }

func (l generous) Lock(ctx context.Context, r dlm.Resource, m dlm.Mode, o dlm.Options) (dlm.Grant, error) {
	if r.Kind != dlm.Inode || m != dlm.EX {
		return l.LockManager.Lock(ctx, r, m, o)
	}
	g, err := l.LockManager.Lock(ctx, r, dlm.PR, o)
	g.Mode = dlm.EX
	return g, err
}

func TestLockJudge(t *testing.T) {
	caught(t, calmOptions(), Hooks{Locks: func(_ string, lm fs.LockManager) fs.LockManager { return generous{lm} }}, "locks")
}

// forgetful gives every grant the same token.
type forgetful struct{ fs.LockManager }

func (l forgetful) Lock(ctx context.Context, r dlm.Resource, m dlm.Mode, o dlm.Options) (dlm.Grant, error) {
	g, err := l.LockManager.Lock(ctx, r, m, o)
	g.Token = 7
	return g, err
}

func TestTokenJudge(t *testing.T) {
	caught(t, calmOptions(), Hooks{Locks: func(_ string, lm fs.LockManager) fs.LockManager { return forgetful{lm} }}, "tokens")
}

// TestFenceJudge: a clock that stands still while its process is frozen keeps the gate open when the process is back,
// as CLOCK_MONOTONIC would over a suspend.
func TestFenceJudge(t *testing.T) {
	o := calmOptions()
	o.Work, o.Every, o.Machines, o.Pace = 20*time.Second, 2*time.Second, NoHostLocks, 2*time.Millisecond
	o.Faults = []string{"freeze-long", "suspend"}
	caught(t, o, Hooks{StillClock: true}, "fence", "volume", "locks")
}

// TestVolumeJudge: what replay writes home is dropped.
func TestVolumeJudge(t *testing.T) {
	o := calmOptions()
	o.Work, o.Every, o.Faults = 10*time.Second, time.Second, []string{"crash"}
	start := uint64(0)
	h := Hooks{Write: func(_ string, mounted bool, off int64, _ []byte) bool {
		if start == 0 {
			_, sb := format(o)
			start = sb.JournalStart(uint16(sb.Slots-1)) + uint64(sb.JournalBlocks)
		}
		return !mounted && uint64(off)/4096 >= start
	}}
	caught(t, o, h, "volume", "files", "shared")
}

// TestFileJudge: flushes do nothing, so a loss of power takes what was said to be durable.
func TestFileJudge(t *testing.T) {
	o := calmOptions()
	o.Work, o.Every, o.Faults = 10*time.Second, 2*time.Second, []string{"power-loss"}
	caught(t, o, Hooks{NoFlush: true}, "files", "shared", "volume", "run")
}

// TestLivenessJudge: the network stays cut when faults are said to be over.
func TestLivenessJudge(t *testing.T) {
	caught(t, calmOptions(), Hooks{After: func(w *World) {
		for a := range w.hosts {
			for b := range w.hosts {
				w.net.cut[[2]int{a, b}] = true
			}
		}
	}}, "liveness")
}

// TestSharedJudge: histories that no order explains are found, those that one explains are not.
func TestSharedJudge(t *testing.T) {
	for _, c := range []struct {
		name string
		ops  func(j *sharedJudge)
		bad  bool
	}{
		{"read of what was written", func(j *sharedJudge) {
			j.add("register", 1, sharedOp{"write", 5}, j.tick(), sharedAnswer{})
			j.add("register", 2, sharedOp{"read", 0}, j.tick(), sharedAnswer{value: 5})
		}, false},
		{"stale read", func(j *sharedJudge) {
			j.add("register", 1, sharedOp{"write", 5}, j.tick(), sharedAnswer{})
			j.add("register", 2, sharedOp{"read", 0}, j.tick(), sharedAnswer{value: 0})
		}, true},
		{"lost while not answered", func(j *sharedJudge) {
			j.add("register", 1, sharedOp{"write", 5}, j.tick(), sharedAnswer{unknown: true})
			j.add("register", 2, sharedOp{"read", 0}, j.tick(), sharedAnswer{value: 0})
		}, false},
		{"made twice", func(j *sharedJudge) {
			j.add("name x", 1, sharedOp{"create", 0}, j.tick(), sharedAnswer{done: true})
			j.add("name x", 2, sharedOp{"create", 0}, j.tick(), sharedAnswer{done: true})
		}, true},
		{"made after it was removed", func(j *sharedJudge) {
			j.add("name x", 1, sharedOp{"create", 0}, j.tick(), sharedAnswer{done: true})
			j.add("name x", 2, sharedOp{"unlink", 0}, j.tick(), sharedAnswer{done: true})
			j.add("name x", 1, sharedOp{"create", 0}, j.tick(), sharedAnswer{done: true})
		}, false},
	} {
		w := newWorld(1, calmOptions(), Hooks{}, nil)
		c.ops(w.judges.shared)
		w.judges.shared.check()
		assert.Equal(t, c.bad, len(w.faults) > 0, c.name)
		w.s.Stop()
	}
}

// TestFaultKinds: every kind of fault happens and finds nothing.
func TestFaultKinds(t *testing.T) {
	for _, name := range FaultNames() {
		o := calmOptions()
		o.Work, o.Every, o.Clients, o.Pace, o.Faults = 8*time.Second, time.Second, 1, 20*time.Millisecond, []string{name}
		r := Run(3, o, Hooks{}, nil)
		require.Empty(t, r.Faults, "%s: %v", name, r.Faults)
		assert.Positive(t, r.Stats.Faults[name], name)
		switch name {
		case "crash", "crash-in-recovery", "freeze-long", "power-loss":
			assert.Positive(t, r.Stats.Takeovers, name)
		}
	}
}

// TestGhosts: writes of dead hosts land late in some seeds, and nobody is hurt.
func TestGhosts(t *testing.T) {
	o := calmOptions()
	o.Machines, o.Work, o.Every, o.Pace, o.Faults = NoHostLocks, 15*time.Second, 500*time.Millisecond, 3*time.Millisecond, []string{"crash", "disk-slow"}
	ghosts := 0
	for seed := uint64(1); seed <= 4; seed++ {
		r := Run(seed, o, Hooks{}, nil)
		require.Empty(t, r.Faults, "seed %d", seed)
		ghosts += r.Stats.Ghosts
	}
	assert.Positive(t, ghosts)
}
