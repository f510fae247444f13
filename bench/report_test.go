package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseFio(t *testing.T) {
	m, err := parseFio([]byte(`{"jobs":[{"read":{"iops":0,"total_ios":0},"write":{"iops":1500.5,"total_ios":3001,
		"clat_ns":{"percentile":{"50.000000":20000,"99.000000":90000}}}}]}`))
	require.NoError(t, err)
	assert.Equal(t, measure{value: 1500.5, ops: 3001, p50: 20 * time.Microsecond, p99: 90 * time.Microsecond}, m)

	_, err = parseFio([]byte(`fio: hm`))
	assert.ErrorContains(t, err, "output of fio")
	_, err = parseFio([]byte(`{"jobs":[]}`))
	assert.ErrorContains(t, err, "0 jobs")
}

func TestParseTime(t *testing.T) {
	d, err := parseTime("12 (a) b (c) S 1 1 1 0 -1 4194560 1 2 3 4 150 25 0 0 20 0 5 0 100 1 2")
	require.NoError(t, err)
	assert.Equal(t, 1750*time.Millisecond, d)
	for _, bad := range []string{"", "12 (a", "12 (a) S 1 1"} {
		_, err := parseTime(bad)
		assert.Error(t, err, "%q", bad)
	}
}

func TestReport(t *testing.T) {
	fast, slow := &target{kind: kind{name: "fast"}}, &target{kind: kind{name: "slow"}}
	up, down := work{section: "data", name: "up", unit: "IOPS"}, work{section: "programs", name: "down", unit: "s", less: true}
	r := &report{o: options{out: t.TempDir(), name: "r", reps: 3}, works: []work{up, down}, targets: []string{"fast", "slow"}, values: map[key][]measure{}}
	for _, v := range []float64{300, 100, 200} {
		r.add(up, fast, measure{value: v, ops: 1000, cpu: 4 * time.Microsecond, p50: time.Microsecond, p99: time.Duration(v) * time.Microsecond})
		r.add(up, slow, measure{value: v / 2})
		r.add(down, fast, measure{value: v, ops: 1})
	}
	r.growths = []growth{{title: "More", x: "nodes", y: "IOPS", curves: []curve{{name: "c", points: []point{{1, 10}, {2, 20}}}}}}
	require.NoError(t, r.save())

	var b strings.Builder
	require.NoError(t, r.write(&b))
	text := b.String()
	for _, line := range []string{
		"| up, IOPS | 200 (100-300) | 100 (50.0-150) |", // medians and extremes
		"| up, IOPS | 2.00 |",                           // the ratio of them
		"| up, IOPS | 1 / 200 | - |",                    // percentiles of the repetition in the middle
		"| up, IOPS | 4.0 | - |",                        // processor time
		"| down, s | 200 (100-300) | - |",               // what a target cannot do is left out
		"| down, s | - |",
		"| c | 10.0 | 20.0 |",
		"![Data: medians as a share of the best](r-data.svg)", "(r-growth1.svg)",
	} {
		assert.Contains(t, text, line)
	}
	assert.NotContains(t, text, "## Metadata", "nothing was measured there")
}

func TestRatio(t *testing.T) {
	assert.Equal(t, "2.00", ratio(10, 5, false))
	assert.Equal(t, "0.50", ratio(10, 5, true))
	assert.Equal(t, "-", ratio(0, 5, false))
}

func TestShare(t *testing.T) {
	a, b := &target{kind: kind{name: "a"}}, &target{kind: kind{name: "b"}}
	w := work{name: "w", less: true}
	r := &report{targets: []string{"a", "b", "c"}, values: map[key][]measure{}}
	r.add(w, a, measure{value: 2})
	r.add(w, b, measure{value: 8})
	assert.Equal(t, 1.0, r.share(w, "a"))
	assert.Equal(t, 0.25, r.share(w, "b"))
	assert.Zero(t, r.share(w, "c"))
}
