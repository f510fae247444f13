package host

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"pgregory.net/rapid"
)

func TestPercentile(t *testing.T) {
	assert.Zero(t, Sample(nil).Percentile(50))
	hundred := Sample{}
	for i := 100; i >= 1; i-- {
		hundred = append(hundred, time.Duration(i))
	}
	for _, p := range []int{1, 50, 90, 99, 100} {
		assert.EqualValues(t, p, hundred.Percentile(float64(p)))
	}
	assert.EqualValues(t, 1, hundred.Percentile(0))
	assert.EqualValues(t, 100, hundred[0], "it sorts a copy")
	three := Sample{30, 10, 20}
	assert.EqualValues(t, 20, three.Percentile(50))
	assert.EqualValues(t, 30, three.Percentile(90))
	assert.EqualValues(t, 30, three.Longest())
}

// TestPercentile_Definition holds percentile to its words: the smallest measured time that p percent do not exceed.
func TestPercentile_Definition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := Sample(rapid.SliceOfN(rapid.Custom(func(t *rapid.T) time.Duration { return time.Duration(rapid.IntRange(0, 50).Draw(t, "ns")) }), 1, 200).Draw(t, "sample"))
		p := rapid.IntRange(1, 100).Draw(t, "p")
		enough := func(d time.Duration) bool {
			n := 0
			for _, x := range s {
				if x <= d {
					n++
				}
			}
			return n*100 >= p*len(s)
		}
		got := s.Percentile(float64(p))
		assert.True(t, slices.Contains(s, got))
		assert.True(t, enough(got))
		assert.False(t, slices.ContainsFunc(s, func(x time.Duration) bool { return x < got && enough(x) }))
	})
}
