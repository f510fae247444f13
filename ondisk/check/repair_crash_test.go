package check_test

import (
	"context"
	"flag"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev/memdev"
	"github.com/covol/covol/ondisk/blockdev/writelog"
	"github.com/covol/covol/ondisk/check"
)

var (
	crashStates = flag.Uint64("crash.states", few(30, 4), "how many power failures to try for each interrupted repair; 0: all")
	crashState  = flag.String("crash.state", "", "the only power failure to try")
)

// crashCases are volumes whose repair does all kinds of writes.
func crashCases() map[string]func(v *vol) {
	return map[string]func(v *vol){
		"everything a little": func(v *vol) {
			v.spoil(ondisk.SuperCopyBlock)
			v.spoil(ondisk.ViewBlock)
			v.spoil(v.inoOf("a", "b"))
			v.put(v.nodes[v.inoOf("a", "deep")][4], make([]byte, ondisk.BlockSize))
			v.put(v.nodes[v.inoOf("big")][2], make([]byte, ondisk.BlockSize))
			v.put(v.sb.ClusterBitmapBlock(0, 0), make([]byte, ondisk.BlockSize))
		},
		"root lost": func(v *vol) { v.put(ondisk.RootBlock, make([]byte, ondisk.BlockSize)) },
		"dirty and damaged journals": func(v *vol) {
			v.journal(0, 3, txn{write: [][]byte{v.withNlink(v.inoOf("a", "one"), 5)}})
			starts := v.journal(1, 10, txn{write: [][]byte{v.copyOf(v.inoOf("a"))}}, txn{write: [][]byte{v.copyOf(v.inoOf("big"))}})
			v.spoil(v.ringBlock(1, starts[0]+1))
			v.spoil(v.sb.JournalStart(2))
			v.spoil(v.sb.JournalStart(2) + 1)
		},
		"more than a journal holds": func(v *vol) {
			for i := range v.inodes[v.inoOf("big")].entries {
				v.put(v.inoOf("big", i), v.withNlink(v.inoOf("big", i), 9))
			}
			v.put(v.inoOf("big"), make([]byte, ondisk.BlockSize))
			v.put(v.nodes[v.inoOf("a", "deep")][4], make([]byte, ondisk.BlockSize))
		},
	}
}

// shared makes two files use one run of clusters.
func shared(v *vol) {
	one := v.inodes[v.inoOf("a", "one")].extents[0]
	n := v.file(v.inoOf("a", "b"), "other", 0, 0, 0)
	n.extents = []ondisk.Extent{{Logical: 0, Physical: one.Physical + 3, Length: 4}}
	n.in.Size = 4 * uint64(v.sb.ClusterSize)
}

// TestInterruptedRepairGoesOn: whatever a power failure leaves of a repair, the next one ends with the same files.
func TestInterruptedRepairGoesOn(t *testing.T) {
	for name, damage := range crashCases() {
		t.Run(name, func(t *testing.T) {
			v := busy(t, 0)
			shared(v)
			v.write()
			v.data()
			damage(v)
			work := v.dev.Clone()
			log := writelog.New(work, work.Image())
			mustMend(t, log, check.RepairOptions{})
			want := contents(log, v.sb)
			rng := rand.New(rand.NewPCG(7, 7))
			try := func(c writelog.Crash, dev *memdev.Device) {
				rep, err := check.Repair(context.Background(), dev, check.RepairOptions{})
				require.NoError(t, err, "-crash.state %q", c)
				require.Empty(t, rep.Stuck, "-crash.state %q", c)
				got := contents(dev, v.sb)
				require.Equal(t, want.paths, got.paths, "-crash.state %q", c)
				require.Equal(t, want.digest, got.digest, "-crash.state %q", c)
			}
			if *crashState != "" {
				c, err := writelog.Parse(*crashState)
				require.NoError(t, err)
				dev, err := log.At(c)
				require.NoError(t, err)
				try(c, dev)
				return
			}
			odds := 1.0
			if *crashStates > 0 { // about so many: each write has some subsets, each torn in some ways
				odds = float64(*crashStates) / float64(log.Writes()*20)
			}
			for c, dev := range log.Crashes(writelog.Options{Exhaustive: 1, Samples: 2, Torn: true, Seed: 7}) {
				if rng.Float64() < odds {
					try(c, dev)
				}
			}
		})
	}
}
