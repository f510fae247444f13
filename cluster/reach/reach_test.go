package reach

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// between cuts every link from one of a to one of b.
func between(a, b []uint16) func(i, j uint16) bool {
	in := slices.Contains[[]uint16]
	return func(i, j uint16) bool { return in(a, i) && in(b, j) || in(a, j) && in(b, i) }
}

func TestKeep(t *testing.T) {
	for _, c := range []struct {
		name    string
		members []uint16
		a, b    []uint16
		keep    []uint16
	}{
		{"all hear all", []uint16{0, 1, 2}, nil, nil, []uint16{0, 1, 2}},
		{"alone", []uint16{7}, nil, nil, []uint16{7}},
		{"nobody", nil, nil, nil, nil},
		{"two", []uint16{3, 200}, []uint16{3}, []uint16{200}, []uint16{3}},
		{"one is cut off", []uint16{0, 1, 2}, []uint16{0}, []uint16{1, 2}, []uint16{1, 2}},
		{"the smaller side goes", []uint16{0, 1, 2, 3, 4}, []uint16{0, 1}, []uint16{2, 3, 4}, []uint16{2, 3, 4}},
		{"halves", []uint16{0, 1, 2, 3}, []uint16{0, 2}, []uint16{1, 3}, []uint16{0, 2}},
		{"one link", []uint16{4, 5, 6}, []uint16{4}, []uint16{6}, []uint16{4, 5}},
		{"the last slots", []uint16{253, 254}, []uint16{253}, []uint16{254}, []uint16{253}},
	} {
		t.Run(c.name, func(t *testing.T) {
			assert.Equal(t, c.keep, Keep(c.members, between(c.a, c.b)))
		})
	}
}

// Those who stay are members, hear each other, and are not nobody; a cut between two whole sides keeps the larger one.
func TestKeepProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		members := rapid.SliceOfNDistinct(rapid.Uint16Range(0, 254), 1, 17, rapid.ID[uint16]).Draw(t, "members")
		slices.Sort(members)
		links := map[[2]uint16]bool{}
		for range rapid.IntRange(0, 40).Draw(t, "cuts") {
			i, j := rapid.SampledFrom(members).Draw(t, "i"), rapid.SampledFrom(members).Draw(t, "j")
			links[[2]uint16{min(i, j), max(i, j)}] = true
		}
		keep := Keep(members, func(i, j uint16) bool {
			require.Less(t, i, j)
			return links[[2]uint16{i, j}]
		})
		require.NotEmpty(t, keep)
		require.True(t, slices.IsSorted(keep))
		for a, i := range keep {
			require.Contains(t, members, i)
			for _, j := range keep[a+1:] {
				require.False(t, links[[2]uint16{i, j}])
			}
		}
		side := slices.Clone(members)
		at := rapid.IntRange(0, len(side)).Draw(t, "sides")
		side = rapid.Permutation(side).Draw(t, "who")
		keep = Keep(members, between(side[:at], side[at:]))
		require.Len(t, keep, max(at, len(side)-at))
	})
}
