package handover

import (
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var (
	seeds     = flag.Int("seeds", 3000, "seeds of TestManyFaults")
	pairs     = flag.Int("pairs", 29, "TestEveryArrow: one in so many pairs of faults")
	firstSeed = flag.Uint64("first", 0, "the first seed")
)

// share is n, or a tenth of it with -short.
func share(n int) int {
	if testing.Short() {
		return (n + 9) / 10
	}
	return n
}

// A move without faults.
func TestMove(t *testing.T) {
	w := newWorld(t, 0)
	w.play()
	assert.Contains(t, w.running, nodeT)
	assert.Equal(t, Moved, w.sides[nodeS].over.Result)
	assert.Equal(t, Moved, w.sides[nodeT].over.Result)
	r, err := w.store.Read(t.Context(), vm)
	require.NoError(t, err)
	assert.Equal(t, Record{VM: vm, State: Running, Owner: nodeT, Epoch: 2}, r)
}

// Each fault at each arrow, and then pairs of them: one in so many, or all.
func TestEveryArrow(t *testing.T) {
	run := func(plan map[int]fault) int {
		w := newWorld(t, 0)
		w.plan = plan
		w.play()
		return w.arrows
	}
	pair, every := 0, *pairs
	if testing.Short() {
		every *= 10
	}
	for i, arrows := 1, run(nil); i <= arrows; i++ {
		for _, f := range faults {
			for j, more := i+1, run(map[int]fault{i: f}); j <= more; j++ {
				for _, g := range faults {
					if pair++; pair%every == 0 {
						run(map[int]fault{i: f, j: g})
					}
				}
			}
		}
	}
	t.Logf("%d pairs of faults", pair/every)
}

// Faults wherever chance puts them, for a minute.
func TestManyFaults(t *testing.T) {
	for seed := *firstSeed; seed < *firstSeed+uint64(share(*seeds)); seed++ {
		w := newWorld(t, seed)
		w.again = fmt.Sprintf("go test ./vmhost/handover -run TestManyFaults -args -first %d -seeds 1", seed)
		w.random, w.calm = []float64{0.05, 0.2, 0.5}[seed%3], time.Minute
		w.play()
	}
}

// arrowOf is the number of the first arrow with that name in a run without faults.
func arrowOf(t *testing.T, name string) int {
	w := newWorld(t, 0)
	w.play()
	for _, l := range w.trace {
		var n int
		if _, what, ok := strings.Cut(l, "ms "); ok && strings.Contains(what, name) {
			_, err := fmt.Sscan(what, &n)
			require.NoError(t, err)
			return n
		}
	}
	t.Fatalf("no arrow %q in %q", name, w.trace)
	return 0
}

// The weakness of peers: the target's last word is lost. The source reads the record, and does not run.
func TestLastAnswerLost(t *testing.T) {
	w := newWorld(t, 0)
	w.plan[arrowOf(t, "t says")] = drop
	w.play()
	assert.Contains(t, w.running, nodeT)
	assert.Equal(t, Moved, w.sides[nodeS].over.Result)
}

func TestOutcomes(t *testing.T) {
	for _, c := range []struct {
		arrow string
		fault fault
		runs  Node
	}{
		{"s GO", drop, nodeS},                  // the source waits, and goes on
		{"s GO", killS, nodeT},                 // it was on its way
		{"s GO", killT, nodeS},                 //
		{"t verified", drop, nodeS},            // what has arrived is damaged
		{"t verified", killT, nodeS},           // after GO, before the swap
		{"t asks the store", killS, nodeT},     //
		{"t takes the disks", killT, nodeX},    // after the swap: the source must not run
		{"t takes the disks", drop, nodeT},     // it tries again
		{"t takes the disks", refusing, nodeS}, // and gives it back
		{"s stop", drop, nodeS},                // no GO without a flush
		{"s stop", killS, nodeX},               // the target has no GO, and must not run
		{"s copy", killT, nodeS},
		{"s copy", killS, nodeX},
		{"s copy", cancelS, nodeS},
		{"s copy", cutting, nodeS},
		{"t is prepared", drop, nodeS},
		{"s has sent GO", delay, nodeT},
	} {
		t.Run(c.arrow+", "+string(c.fault), func(t *testing.T) {
			w := newWorld(t, 0)
			w.plan[arrowOf(t, c.arrow)] = c.fault
			w.play()
			if !assert.Contains(t, w.running, c.runs) {
				for _, l := range w.trace {
					t.Log(l)
				}
			}
		})
	}
}
