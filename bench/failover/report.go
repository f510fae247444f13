package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/covol/covol/bench/host"
	"github.com/covol/covol/ondisk"
)

// report is what was measured, as Markdown.
type report struct {
	o         options
	began     time.Time
	load      string // before
	commit    string // of what is measured: the working directory may move on meanwhile
	scenarios []*scenario
	roads     []*road
	memory    *memory // nil: not measured
	charts    []chart
	problems  []string
}

// Numbers to reach.
const (
	targetCached   = 200 * time.Nanosecond
	targetGrant50  = 100 * time.Microsecond
	targetGrant99  = 400 * time.Microsecond
	targetHandOver = 300 * time.Microsecond
	targetMemory   = 60 << 20
)

func (r *report) write(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# Failover, locks and memory, %s\n\n", r.began.UTC().Format(time.DateOnly))
	for _, l := range [][2]string{
		{"machine", host.Machine()}, {"kernel", host.Kernel()}, {"commit", r.commit},
		{"load average before, after", r.load + "; " + host.LoadAverage()},
		{"began, took", r.began.UTC().Format("15:04 MST") + ", " + time.Since(r.began).Round(time.Second).String()},
	} {
		fmt.Fprintf(&b, "- %s: %s\n", l[0], l[1])
	}
	for _, p := range r.problems {
		fmt.Fprintf(&b, "- failed: %s\n", p)
	}
	r.takeovers(&b)
	r.locks(&b)
	r.weight(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *report) takeovers(b *strings.Builder) {
	fmt.Fprintf(b, `
## From kill -9 of a lock holder to the end of the survivor's operation

The victim holds the lock of a file exclusively, the survivor writes 4 KiB to it, fsyncs and reads. Its operation begins
right after the kill, or before: then the victim is stopped, the operation begins, and the victim is killed %v later.
Two nodes on an image file. Times in seconds. By lease a survivor waits from when it last saw the slot change: %s.

| profile | fencing | operation begins | n | p50 | p90 | p99 | max | to reach |
|---|---|---|---:|---:|---:|---:|---:|---|
`, r.o.stopped, waits())
	r.eachVariant(func(s *scenario, v *variant) {
		fmt.Fprintf(b, "| %s | %s | %s | %d |%s %s |\n", s.profile, s.fence, v.name, len(v.waits), row(v.waits, time.Second, 2), verdict(v.waits, 100, s.target))
	})
	fmt.Fprintf(b, `
Meanwhile on the survivor, the longest operation (write 4 KiB, fsync, read) on a file that only it uses, of each
repetition; beside it the same of the %v before the kill, when nobody died. Times in milliseconds.

| profile | fencing | operation begins | n | p50 | p90 | p99 | max | p50 calm | max calm |
|---|---|---|---:|---:|---:|---:|---:|---:|---:|
`, r.o.calm)
	r.eachVariant(func(s *scenario, v *variant) {
		fmt.Fprintf(b, "| %s | %s | %s | %d |%s %s | %s |\n", s.profile, s.fence, v.name, len(v.stalls), row(v.stalls, time.Millisecond, 0),
			in(v.calm.Percentile(50), time.Millisecond, 0), in(v.calm.Longest(), time.Millisecond, 0))
	})
	r.eachVariant(func(s *scenario, v *variant) {
		for _, f := range v.failed {
			fmt.Fprintf(b, "\nNot counted: %s, %s: %s\n", s, v.name, f)
		}
	})
	for _, c := range r.charts {
		fmt.Fprintf(b, "\n![%s](%s)\n", c.title, c.file)
	}
}

// waits says how long the proof by lease takes.
func waits() string {
	var all []string
	for _, p := range ondisk.Profiles {
		all = append(all, fmt.Sprintf("%v in profile %s", p.Wait(), p.Name))
	}
	return strings.Join(all, ", ")
}

func (r *report) eachVariant(f func(*scenario, *variant)) {
	for _, s := range r.scenarios {
		for i := range s.variants {
			if v := &s.variants[i]; len(v.waits)+len(v.failed) > 0 {
				f(s, v)
			}
		}
	}
}

func (r *report) locks(b *strings.Builder) {
	if len(r.roads) == 0 {
		return
	}
	fmt.Fprintf(b, `
## Locks over loopback

Two lock managers in one process, plain and TLS in %d turns. A cached lock is timed %d at a time, and the percentiles
are of the means of those. Times in microseconds.

| what | road | n | p50 | p90 | p99 | max | to reach |
|---|---|---:|---:|---:|---:|---:|---|
`, r.o.lockTurns, cachedBatch)
	for _, x := range []struct {
		name     string
		of       func(*road) host.Sample
		decimals int
		judge    func(host.Sample) string
	}{
		{"cached re-lock", func(r *road) host.Sample { return r.cached }, 3, func(s host.Sample) string { return verdict(s, 50, targetCached) }},
		{"remote grant, uncontended", func(r *road) host.Sample { return r.grant }, 0, func(s host.Sample) string {
			return verdict(s, 50, targetGrant50) + "; " + verdict(s, 99, targetGrant99)
		}},
		{"exclusive hand-over, clean cache", func(r *road) host.Sample { return r.handOver }, 0, func(s host.Sample) string { return verdict(s, 50, targetHandOver) }},
	} {
		for _, road := range r.roads {
			s := x.of(road)
			fmt.Fprintf(b, "| %s | %s | %d |%s %s |\n", x.name, road.name, len(s), row(s, time.Microsecond, x.decimals), x.judge(s))
		}
	}
}

func (r *report) weight(b *strings.Builder) {
	if r.memory == nil {
		return
	}
	reached := "reached"
	if r.memory.node >= targetMemory {
		reached = "missed"
	}
	helper := mib(r.memory.helper)
	if r.memory.helper == 0 {
		helper = "none was seen"
	}
	fmt.Fprintf(b, `
## Memory of an idle node with one mounted volume

Resident, %v after the mount. The event helper is a process for the moment of one batch; an idle node has none.

| what | MiB | to reach |
|---|---:|---|
| node | %s | < %d: %s |
| node, the most since it began | %s | |
| event helper, the most while it was there | %s | |
`, r.o.idle, mib(r.memory.node), targetMemory>>20, reached, mib(r.memory.nodePeak), helper)
}

func mib(n int64) string { return fmt.Sprintf("%.1f", float64(n)/(1<<20)) }

// in is d as a number of units.
func in(d, unit time.Duration, decimals int) string {
	return fmt.Sprintf("%.*f", decimals, float64(d)/float64(unit))
}

// row is four cells of percentiles.
func row(s host.Sample, unit time.Duration, decimals int) string {
	var b strings.Builder
	for _, p := range []float64{50, 90, 99, 100} {
		cell := "-"
		if len(s) > 0 {
			cell = in(s.Percentile(p), unit, decimals)
		}
		b.WriteString(" " + cell + " |")
	}
	return b.String()
}

// verdict compares percentile p with a number to stay below.
func verdict(s host.Sample, p float64, target time.Duration) string {
	if target == 0 || len(s) == 0 {
		return "-"
	}
	name, reached := fmt.Sprintf("p%.0f", p), "reached"
	if p == 100 {
		name = "max"
	}
	if s.Percentile(p) >= target {
		reached = "missed"
	}
	return fmt.Sprintf("%s < %v: %s", name, target, reached)
}
