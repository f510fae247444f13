package cluster

import (
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "replay this seed of TestSim and log it")
	seedsFlag = flag.Int("seeds", 0, "run this many seeds of TestSim")
)

// Random joins, leaves, deaths, freezes and faults of the heartbeat path, judged by what lands on the disk; then the
// faults stop, and everybody gets in.
func TestSim(t *testing.T) {
	if *seedFlag != 0 {
		sim(t, *seedFlag, true, true)
		return
	}
	seeds := 30
	if testing.Short() {
		seeds = 10
	}
	if *seedsFlag > 0 {
		seeds = *seedsFlag
	}
	for seed := uint64(1); seed <= uint64(seeds); seed++ {
		ok := t.Run(fmt.Sprintf("%#x", seed), func(t *testing.T) { sim(t, seed, true, false) })
		if !ok {
			t.Fatalf("replay: go test ./cluster -run TestSim -seed=%#x", seed)
		}
	}
}

func sim(t *testing.T, seed uint64, caw, verbose bool) {
	w := newWorld(t, seed, 4, caw)
	if verbose {
		w.trace = os.Stderr
	}
	names := []string{"a", "b", "c", "d", "e"}
	machineOf := func(name string) int { return int(name[0]+byte(seed)) % 3 }
	power := w.rng.IntN(3) == 0 // there is a switch for every host
	set := func(c *Config) {
		if power {
			c.Fencing = append(defaultFencing(c), &powerSwitch{w: w, machineOf: machineOf})
		}
	}
	for range 60 {
		w.act(names[w.rng.IntN(len(names))], machineOf, set)
		w.actNetwork(names)
		require.NoError(t, w.s.Run(w.s.Now()+time.Duration(w.rng.IntN(1200))*time.Millisecond))
		w.check()
	}
	w.calm(names[:3], machineOf, set)
}

// current is the process that a name stands for, nil if there is none.
func (w *world) current(name string) *proc {
	for i := len(w.procs) - 1; i >= 0; i-- {
		if p := w.procs[i]; p.name == name && !p.over() {
			return p
		}
	}
	return nil
}

func (w *world) act(name string, machineOf func(string) int, set func(*Config)) {
	p := w.current(name)
	if p == nil || w.rng.IntN(20) == 0 { // now and then twice
		p := w.spawn(name, machineOf(name), set)
		p.hb.prob = []float64{0, 0.02, 0.2}[w.rng.IntN(3)]
		return
	}
	switch w.rng.IntN(17) {
	case 0, 1:
		p.leave()
	case 2:
		p.kill(w.rng.IntN(3))
	case 3:
		p.sched.freeze(time.Duration(w.rng.IntN(12000)) * time.Millisecond)
	case 4:
		p.hb.broken = !p.hb.broken
	case 5:
		p.cancel()
	case 6:
		p.hb.killAt, p.hb.after = p.hb.ops+1+w.rng.IntN(10), w.rng.IntN(2) == 0
	case 7:
		if p.node != nil {
			p.node.Kill()
		}
	case 9: // one side of the path is slow
		p.hb.slowRead, p.hb.slowWrite = time.Duration(w.rng.IntN(2500))*time.Millisecond, 0
	case 10:
		p.hb.slowRead, p.hb.slowWrite = 0, time.Duration(w.rng.IntN(2500))*time.Millisecond
	case 11:
		p.hb.slowRead, p.hb.slowWrite = 0, 0
	case 12:
		p.sched.jump += time.Duration(w.rng.IntN(12000)) * time.Millisecond
	case 13: // gossip, true or false
		if p.node != nil {
			p.node.Suspect(string(rune('a' + w.rng.IntN(5))))
		}
	case 14: // a host stops with all that is on it, and comes back
		d := time.Duration(w.rng.IntN(12000)) * time.Millisecond
		for _, q := range w.procs {
			if q.machine == p.machine {
				q.sched.freeze(d)
			}
		}
	case 15: // two at once
		p.kill(w.rng.IntN(3))
		if q := w.current(string(rune('a' + w.rng.IntN(5)))); q != nil {
			q.kill(w.rng.IntN(3))
		}
	case 8:
		p.hb.prob = []float64{0, 0.02, 0.2}[w.rng.IntN(3)]
	}
}

// actNetwork now and then cuts one node or one side off, both ways or one, or mends all.
func (w *world) actNetwork(names []string) {
	switch w.rng.IntN(24) {
	case 0, 1, 2:
		clear(w.mute)
	case 3:
		at := 1 + w.rng.IntN(len(names)-1)
		w.cut(names[:at], names[at:])
		if w.rng.IntN(3) > 0 {
			w.cut(names[at:], names[:at])
		}
	case 4:
		one := names[w.rng.IntN(len(names))]
		w.cut([]string{one}, names)
		if w.rng.IntN(3) > 0 {
			w.cut(names, []string{one})
		}
	}
}

// calm ends all faults. The nodes that are in stay in or withdraw, and those of names that are out get in.
func (w *world) calm(names []string, machineOf func(string) int, set func(*Config)) {
	w.calming = true
	clear(w.mute)
	for _, p := range w.procs {
		p.hb.broken, p.hb.prob, p.hb.killAt, p.hb.slowRead, p.hb.slowWrite = false, 0, 0, 0, 0
	}
	w.run(patience, "joins and leaves to end", func() bool {
		for _, p := range w.procs {
			if p.sched.until+w.sb.Profile.Wait() > w.s.Now() || !p.over() && !p.active() {
				return false // who was frozen may still look as it did before
			}
		}
		return true
	})
	w.check()
	for _, p := range w.procs {
		if p.name > names[len(names)-1] && !p.over() {
			p.leave()
			w.run(patience, "others to leave", p.over)
		}
	}
	for _, name := range names {
		if w.current(name) == nil {
			p := w.spawn(name, machineOf(name), set)
			w.run(patience, "last joins", func() bool { return p.done })
			require.NoError(w.t, p.err, "%v", p)
		}
	}
	w.run(patience, "everybody in", func() bool {
		for _, name := range names {
			if p := w.current(name); p == nil || !p.active() {
				return false
			}
		}
		return true
	})
	w.run(patience, "nothing to recover", w.idle)
	w.check()
}
