package host

import (
	"slices"
	"time"
)

// Sample is a set of times that were measured.
type Sample []time.Duration

// Percentile is the smallest measured time that at least p percent of all do not exceed, p from 0 to 100. It is 0
// without any.
func (s Sample) Percentile(p float64) time.Duration {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	// Nearest rank, rounded up; the tolerance is for percentages that have no exact binary fraction.
	rank := p * float64(len(sorted)) / 100
	i := int(rank)
	if rank-float64(i) > 1e-9 {
		i++
	}
	return sorted[min(max(i, 1), len(sorted))-1]
}

// Longest is the largest, 0 without any.
func (s Sample) Longest() time.Duration { return s.Percentile(100) }
