package reach

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func setOf(slots ...int) (s Set) {
	for _, i := range slots {
		s.Add(i)
	}
	return s
}

// between cuts every link from one of a to one of b.
func between(a, b []int) func(i, j int) bool {
	x, y := setOf(a...), setOf(b...)
	return func(i, j int) bool { return x.Has(i) && y.Has(j) || x.Has(j) && y.Has(i) }
}

func TestKeep(t *testing.T) {
	for _, c := range []struct {
		name    string
		members []int
		a, b    []int
		keep    []int
	}{
		{"all hear all", []int{0, 1, 2}, nil, nil, []int{0, 1, 2}},
		{"alone", []int{7}, nil, nil, []int{7}},
		{"nobody", nil, nil, nil, []int{}},
		{"two", []int{3, 200}, []int{3}, []int{200}, []int{3}},
		{"one is cut off", []int{0, 1, 2}, []int{0}, []int{1, 2}, []int{1, 2}},
		{"the smaller side goes", []int{0, 1, 2, 3, 4}, []int{0, 1}, []int{2, 3, 4}, []int{2, 3, 4}},
		{"halves", []int{0, 1, 2, 3}, []int{0, 2}, []int{1, 3}, []int{0, 2}},
		{"one link", []int{4, 5, 6}, []int{4}, []int{6}, []int{4, 5}},
		{"the last slots", []int{253, 254}, []int{253}, []int{254}, []int{253}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := Keep(setOf(c.members...), between(c.a, c.b))
			assert.Equal(t, c.keep, got.Slots())
		})
	}
}

// Those who stay are members, hear each other, and are not nobody; a cut between two whole sides keeps the larger one.
func TestKeepProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOfNDistinct(rapid.IntRange(0, 254), 1, 17, rapid.ID[int]).Draw(t, "members")
		members := setOf(list...)
		links := map[[2]int]bool{}
		cut := func(i, j int) bool { return links[[2]int{min(i, j), max(i, j)}] }
		for range rapid.IntRange(0, 40).Draw(t, "cuts") {
			i, j := rapid.SampledFrom(list).Draw(t, "i"), rapid.SampledFrom(list).Draw(t, "j")
			links[[2]int{min(i, j), max(i, j)}] = i != j
		}
		keep := Keep(members, cut)
		require.Positive(t, keep.Len())
		slots := keep.Slots()
		for a, i := range slots {
			require.True(t, members.Has(i))
			for _, j := range slots[a+1:] {
				require.False(t, cut(i, j))
			}
		}
		at := rapid.IntRange(0, len(list)).Draw(t, "sides")
		keep = Keep(members, between(list[:at], list[at:]))
		require.Equal(t, max(at, len(list)-at), keep.Len())
	})
}
