package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/bench/host"
)

func TestVerdict(t *testing.T) {
	s := host.Sample{time.Second, 3 * time.Second}
	assert.Equal(t, "max < 3s: missed", verdict(s, 100, 3*time.Second))
	assert.Equal(t, "p50 < 3s: reached", verdict(s, 50, 3*time.Second))
	assert.Equal(t, "-", verdict(s, 50, 0))
	assert.Equal(t, "-", verdict(nil, 50, time.Second))
}

func TestParseMemory(t *testing.T) {
	const status = "Name:\tcovol\nVmHWM:\t   45000 kB\nVmRSS:\t   40960 kB\n"
	n, err := parseMemory(status, "VmRSS")
	require.NoError(t, err)
	assert.EqualValues(t, 40<<20, n)
	_, err = parseMemory("Name:\tcovol\n", "VmRSS")
	require.ErrorContains(t, err, "no VmRSS")
	_, err = parseMemory("VmRSS:\tmuch kB\n", "VmRSS")
	require.Error(t, err)
}

func TestReport(t *testing.T) {
	o := options{out: t.TempDir(), host: 1, leaseDefault: 2}
	r := &report{o: o, began: time.Unix(1e9, 0), scenarios: scenarios(o), memory: &memory{node: 70 << 20}}
	r.roads = []*road{{name: "plain", cached: host.Sample{100}, grant: host.Sample{99e3, 500e3}, handOver: host.Sample{1e6}}}
	for _, s := range r.scenarios {
		s.variants[0].add(takeover{wait: 2500 * time.Millisecond, stall: 40 * time.Millisecond, calm: 7 * time.Millisecond})
	}
	r.scenarios[0].variants[1].failed = []string{"why"}
	require.NoError(t, r.save())
	b, err := os.ReadFile(filepath.Join(o.out, "2001-09-09-failover.md"))
	require.NoError(t, err)
	for _, want := range []string{
		"| fast | host | after | 1 | 2.50 | 2.50 | 2.50 | 2.50 | max < 3s: reached |",
		"| fast | host | before | 0 | - | - | - | - | - |",
		"| default | lease | after | 1 | 2.50 | 2.50 | 2.50 | 2.50 | max < 17s: reached |",
		"| fast | host | after | 1 | 40 | 40 | 40 | 40 | 7 | 7 |",
		"| cached re-lock | plain | 1 | 0.100 | 0.100 | 0.100 | 0.100 | p50 < 200ns: reached |",
		"| remote grant, uncontended | plain | 2 | 99 | 500 | 500 | 500 | p50 < 100µs: reached; p99 < 400µs: missed |",
		"| exclusive hand-over, clean cache | plain | 1 | 1000 | 1000 | 1000 | 1000 | p50 < 300µs: missed |",
		"| node | 70.0 | < 60: missed |",
		"none was seen", "Not counted: fast profile, by host, before: why",
	} {
		assert.Contains(t, string(b), want)
	}
	for _, c := range r.charts {
		svg, err := os.ReadFile(filepath.Join(o.out, c.file))
		require.NoError(t, err)
		assert.True(t, strings.Contains(string(svg), "<svg"), c.file)
		assert.Contains(t, string(b), "]("+c.file+")")
	}
	assert.Len(t, r.charts, 3)
}

// TestLocks lets both roads take a short turn.
func TestLocks(t *testing.T) {
	roads, err := measureLocks(t.Context(), options{locks: 4, lockTurns: 2}, t.TempDir())
	require.NoError(t, err)
	require.Len(t, roads, 2)
	for _, r := range roads {
		for _, s := range []host.Sample{r.cached, r.grant, r.handOver} {
			assert.Len(t, s, 8, "without the turn to warm up")
		}
	}
}
