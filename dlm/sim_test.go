package dlm_test

import (
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	simSeed  = flag.Uint64("seed", 0, "replay one seed of TestSim")
	simSeeds = flag.Int("seeds", 0, "number of seeds of TestSim; 0: 200, or 60 with -short")
	simFirst = flag.Uint64("first", 1, "first seed of TestSim")
)

// TestSim runs whole clusters of 2 to 8 nodes under a bad network and changing views, and judges them from outside:
// D1, D2, D3, C3, and that nothing is left behind. A failure prints the line that replays it.
func TestSim(t *testing.T) {
	if *simSeed != 0 {
		require.NoError(t, newSim(*simSeed, t.Logf).run())
		return
	}
	n := *simSeeds
	if n == 0 {
		n = 200
		if testing.Short() {
			n = 60
		}
	}
	var sum coverage
	for seed := *simFirst; seed < *simFirst+uint64(n); seed++ {
		s := newSim(seed, nil)
		if err := s.run(); err != nil {
			t.Fatalf("%v\ngo test ./dlm -run TestSim -seed=%#x", err, seed)
		}
		sum.add(&s.seen)
	}
	t.Log(sum.String())
	if n < 60 {
		return
	}
	// A simulation that never reaches a case proves nothing about it.
	for name, count := range sum {
		require.NotZero(t, count, "no seed of %d showed: %s", n, name)
	}
}

// TestSimReplays shows that a seed is a run: same seed, same hash; another seed, another hash.
func TestSimReplays(t *testing.T) {
	hash := func(seed uint64) uint64 {
		s := newSim(seed, nil)
		require.NoError(t, s.run())
		return s.hash.Sum64()
	}
	for seed := uint64(1); seed < 6; seed++ {
		require.Equal(t, hash(seed), hash(seed))
		require.NotEqual(t, hash(seed), hash(seed+1))
	}
}

// coverage counts the cases that runs reached.
type coverage map[string]uint64

func (c *coverage) hit(name string) {
	if *c == nil {
		*c = coverage{}
	}
	(*c)[name]++
}

func (c *coverage) add(o *coverage) {
	if *c == nil {
		*c = coverage{}
		for _, name := range []string{caseDeath, caseZombie, caseLeave, caseJoin, caseRecovered, caseSkipped, caseTotalLoss, caseSecondDeath,
			caseDeadlock, caseBusy, caseCancel, caseCancelGrant, caseValue, caseInvalid, caseBlocking, caseRemote, caseCached} {
			(*c)[name] = 0
		}
	}
	for k, v := range *o {
		(*c)[k] += v
	}
}

func (c *coverage) String() string { return fmt.Sprintf("seen: %v", map[string]uint64(*c)) }

// The cases that the default seeds must reach.
const (
	caseDeath       = "death"
	caseZombie      = "death of a node that goes on for a while"
	caseLeave       = "clean leave"
	caseJoin        = "join"
	caseRecovered   = "recovery finished"
	caseSkipped     = "node skips an epoch"
	caseTotalLoss   = "nobody of the view before is left"
	caseSecondDeath = "death during a recovery"
	caseDeadlock    = "conversion deadlock refused"
	caseBusy        = "NoQueue refused"
	caseCancel      = "request cancelled"
	caseCancelGrant = "grant crosses a cancel"
	caseValue       = "value block passed on"
	caseInvalid     = "value block not valid"
	caseBlocking    = "blocking callback"
	caseRemote      = "remote grant"
	caseCached      = "cached grant"
)

// calm is how long the cluster has to answer everything once the faults are over.
const calm = 60 * time.Second
