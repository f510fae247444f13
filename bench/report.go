package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/covol/covol/bench/host"
)

type report struct {
	o       options
	targets []*target
	missing []string
	began   time.Time
	load    string
	values  map[string][]float64 // by workload and target
}

func newReport(o options, targets []*target, missing []string) *report {
	return &report{o: o, targets: targets, missing: missing, began: time.Now(), load: host.LoadAverage(), values: map[string][]float64{}}
}

func (r *report) add(w workload, t *target, v float64) {
	key := w.name + t.kind.name
	r.values[key] = append(r.values[key], v)
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	if len(v) == 0 {
		return 0
	}
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// write prints the report as Markdown.
func (r *report) write(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# fio on a covol mount and its peers, %s\n\n", r.began.UTC().Format("2006-01-02"))
	for _, l := range [][2]string{
		{"machine", host.Machine()}, {"kernel", host.Kernel()}, {"commit", host.Commit()}, {"fio", host.Text("fio", "--version")},
		{"load average before, after", r.load + "; " + host.LoadAverage()},
		{"run", fmt.Sprintf("O_DIRECT, libaio, a file of %d MiB, %d interleaved repetitions of %v; the median, and the extremes in brackets", r.o.size, r.o.reps, r.o.runtime)},
		{"devices", "one loop device with direct I/O for each, the files behind them on the same disk"},
		{"mind", "ntfs-3g and fuse2fs go to their device through the kernel's page cache, so their figures are those of memory; covol, ext4 and raw reach the device with every request"},
	} {
		fmt.Fprintf(&b, "- %s: %s\n", l[0], l[1])
	}
	for _, m := range r.missing {
		fmt.Fprintf(&b, "- left out: %s\n", m)
	}
	b.WriteString("\n| workload |")
	for _, t := range r.targets {
		fmt.Fprintf(&b, " %s |", t.kind.name)
	}
	b.WriteString("\n|---|" + strings.Repeat("---:|", len(r.targets)) + "\n")
	for _, wl := range workloads {
		fmt.Fprintf(&b, "| %s, %s |", wl.name, wl.unit)
		for _, t := range r.targets {
			v := r.values[wl.name+t.kind.name]
			fmt.Fprintf(&b, " %.0f (%.0f-%.0f) |", median(v), slices.Min(v), slices.Max(v))
		}
		b.WriteString("\n")
	}
	r.ratios(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

// ratios prints covol, the first target, as a multiple of each of the others.
func (r *report) ratios(b *strings.Builder) {
	b.WriteString("\nRatio of the medians, covol with one node to the others:\n\n| workload |")
	for _, t := range r.targets[1:] {
		fmt.Fprintf(b, " to %s |", t.kind.name)
	}
	b.WriteString("\n|---|" + strings.Repeat("---:|", len(r.targets)-1) + "\n")
	for _, wl := range workloads {
		fmt.Fprintf(b, "| %s |", wl.name)
		own := median(r.values[wl.name+r.targets[0].kind.name])
		for _, t := range r.targets[1:] {
			fmt.Fprintf(b, " %.2f |", own/median(r.values[wl.name+t.kind.name]))
		}
		b.WriteString("\n")
	}
}
