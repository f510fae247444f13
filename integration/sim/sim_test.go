package sim

import (
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	seedsFlag = flag.Int("seeds", 0, "run so many seeds")
	firstFlag = flag.Uint64("first", 1, "the first of them")
	traceFlag = flag.String("trace", "", "write all that happens to this file; - for standard output")
	faultFlag = flag.String("faults", "", "only these kinds of faults, by commas; see FaultNames")
	beyond    = flag.Bool("beyond", false, "writes of dead hosts land later than the bound of one I/O, which nothing but a fence at the storage can stop: only that no judge of locks, lives and liveness finds anything")
	onFlag    = flag.Bool("keep-on", false, "go on after a seed that fails")
)

// longEvery: every so many seeds one is a long run.
const longEvery = 15

func options(seed uint64) Options {
	o := drawOptions(seed, seed%longEvery == 0)
	o.Beyond = *beyond
	if *faultFlag != "" {
		o.Faults = strings.Split(*faultFlag, ",")
	}
	return o
}

// TestSim runs seeds.
func TestSim(t *testing.T) {
	n := quickSeeds
	if *seedsFlag > 0 {
		n = *seedsFlag
	}
	var total Stats
	defer func() { t.Log("\n" + total.String()) }()
	for seed := *firstFlag; seed < *firstFlag+uint64(n); seed++ {
		r := Run(seed, options(seed), Hooks{}, trace(t))
		total.add(&r.Stats)
		if len(r.Faults) == 0 {
			if testing.Verbose() && n > 1 && (seed-*firstFlag+1)%100 == 0 {
				fmt.Println("seed", seed, "done")
			}
			continue
		}
		t.Errorf("%v\nlast events:\n%s\n%v\nreplay: go test ./integration/sim -run TestSim -first=%d -seeds=1 -trace=-", r.Faults[0], strings.Join(r.Recent, "\n"), r.Faults[0], seed)
		if !*onFlag {
			return
		}
	}
}

func trace(t *testing.T) io.Writer {
	switch *traceFlag {
	case "":
		return nil
	case "-":
		return os.Stdout
	}
	f, err := os.Create(*traceFlag)
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// TestSameSeed: a run is a function of its seed.
func TestSameSeed(t *testing.T) {
	n := uint64(3)
	if *seedsFlag > 0 {
		n = uint64(*seedsFlag)
	}
	for seed := *firstFlag; seed < *firstFlag+n; seed++ {
		a := Run(seed, options(seed), Hooks{}, nil)
		b := Run(seed, options(seed), Hooks{}, nil)
		require.Equal(t, a.Stats, b.Stats, "seed %d", seed)
		require.Equal(t, a.Recent, b.Recent, "seed %d", seed)
	}
}
