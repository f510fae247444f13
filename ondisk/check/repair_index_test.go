package check_test

import (
	"math/rand/v2"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/covol/covol/ondisk/check"
	"github.com/covol/covol/ondisk/check/bigindex"
)

// TestLargeIndexGivesTheSameRepair: with no memory for its index a repair does the same, byte by byte.
func TestLargeIndexGivesTheSameRepair(t *testing.T) {
	p := thePopulated()
	dir := t.TempDir()
	for seed := range few(4, 1) {
		rng := rand.New(rand.NewPCG(seed, 12))
		small := p.v.dev.Clone()
		p.damage(small, rng, 12)
		large := small.Clone()
		want := repair(t, small, check.RepairOptions{})
		opened := 0
		got := repair(t, large, check.RepairOptions{IndexMemory: 1, OpenIndex: func() (check.Store, error) {
			opened++
			return bigindex.Open(dir)
		}})
		require.NotZero(t, opened)
		require.Equal(t, want.Repaired, got.Repaired)
		require.Equal(t, small.Hash(), large.Hash())
	}
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left, "temporary files are gone")
}

// forgetful loses what it was given last.
type forgetful struct{ check.Store }

func (forgetful) Verify() error { return bigindex.ErrDamaged }

// TestDamagedIndexStopsTheRepair: nothing is written by a plan that cannot be trusted.
func TestDamagedIndexStopsTheRepair(t *testing.T) {
	p := thePopulated()
	dev := p.v.dev.Clone()
	p.damage(dev, rand.New(rand.NewPCG(1, 12)), 12)
	before := dev.Hash()
	_, err := check.Repair(t.Context(), dev, check.RepairOptions{IndexMemory: 1, OpenIndex: func() (check.Store, error) {
		s, err := bigindex.Open(t.TempDir())
		return forgetful{s}, err
	}})
	require.ErrorIs(t, err, bigindex.ErrDamaged)
	require.Equal(t, before, dev.Hash())
}
