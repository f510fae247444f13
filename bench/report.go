package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/covol/covol/bench/host"
)

// key is a cell of the report.
type key struct{ work, target string }

type report struct {
	o       options
	began   time.Time
	load    string // before
	commit  string // of what is measured: the working directory may move on meanwhile
	backing string // what the devices lie on
	notes   []string
	works   []work
	targets []string
	values  map[key][]measure
	growths []growth
	charts  []chart
}

func (r *report) add(w work, t *target, m measure) {
	k := key{w.name, t.kind.name}
	r.values[k] = append(r.values[k], m)
}

// of takes one figure out of the repetitions of a cell.
func (r *report) of(w work, target string, f func(measure) float64) (v []float64) {
	for _, m := range r.values[key{w.name, target}] {
		v = append(v, f(m))
	}
	return v
}

func value(m measure) float64 { return m.value }

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	if len(v) == 0 {
		return 0
	}
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// save writes plots and report.
func (r *report) save() error {
	if err := os.MkdirAll(r.o.out, 0o755); err != nil {
		return err
	}
	base := filepath.Join(r.o.out, r.o.name)
	if err := r.draw(base); err != nil {
		return fmt.Errorf("plots: %w", err)
	}
	return host.SaveReport(base+".md", r.write)
}

// write prints the report as Markdown.
func (r *report) write(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# covol beside its peers, %s\n\n", r.began.UTC().Format(time.DateOnly))
	for _, l := range [][2]string{
		{"machine", host.Machine()}, {"kernel", host.Kernel()}, {"commit", r.commit}, {"fio", host.Text("fio", "--version")},
		{"load average before, after", r.load + "; " + host.LoadAverage()},
		{"began, took", r.began.UTC().Format("15:04 MST") + ", " + time.Since(r.began).Round(time.Second).String()},
		{"run", fmt.Sprintf("%d repetitions, every target in turn; fio runs of %v on a file of %d MiB; metadata of %d files in directories of %d", r.o.reps, r.o.runtime, r.o.size, r.o.files, perDirectory)},
		{"devices", fmt.Sprintf("a loop device with direct I/O for each, over a sparse file on %s", lastWord(r.backing))},
		{"mind", "ntfs-3g and fuse2fs go to their device through the kernel's page cache, so that much of theirs is the speed of memory; covol, ext4, xfs and raw reach the device with every direct request"},
	} {
		fmt.Fprintf(&b, "- %s: %s\n", l[0], l[1])
	}
	for _, n := range r.notes {
		fmt.Fprintf(&b, "- %s\n", n)
	}
	for _, s := range sections {
		r.section(&b, s)
	}
	r.scaling(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

// titles of sections.
var titles = map[string]string{"data": "Data", "meta": "Metadata", "programs": "Programs", "scale": "Growth"}

func (r *report) section(b *strings.Builder, name string) {
	works := slices.DeleteFunc(slices.Clone(r.works), func(w work) bool { return w.section != name || !r.done(w) })
	if len(works) == 0 {
		return
	}
	fmt.Fprintf(b, "\n## %s\n", titles[name])
	for _, c := range r.charts {
		if c.section == name {
			fmt.Fprintf(b, "\n![%s](%s)\n", c.title, c.file)
		}
	}
	r.table(b, works, "Medians, and the extremes in brackets", func(w work, t string) string {
		v := r.of(w, t, value)
		return fmt.Sprintf("%s (%s-%s)", number(median(v)), number(slices.Min(v)), number(slices.Max(v)))
	}, r.targets)
	r.table(b, works, "How many times as good the first is as each other one (ratio of medians; below 1 it is worse)", func(w work, t string) string {
		return ratio(median(r.of(w, r.targets[0], value)), median(r.of(w, t, value)), w.less)
	}, r.targets[1:])
	r.times(b, works, "Latency of one operation as the program sees it, p50 / p99, microseconds", func(m measure) string {
		if m.p99 == 0 {
			return ""
		}
		return fmt.Sprintf("%d / %d", m.p50.Microseconds(), m.p99.Microseconds())
	})
	r.times(b, works, "Processor time of the filesystem's server for one operation, microseconds", func(m measure) string {
		if m.cpu == 0 || m.ops < 100 {
			return ""
		}
		return fmt.Sprintf("%.1f", float64(m.cpu)/float64(time.Microsecond))
	})
}

func (r *report) done(w work) bool {
	return slices.ContainsFunc(r.targets, func(t string) bool { return len(r.values[key{w.name, t}]) > 0 })
}

// table has a row for each work and a column for each target; cell is asked only for what was measured.
func (r *report) table(b *strings.Builder, works []work, title string, cell func(w work, target string) string, targets []string) {
	if len(targets) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s:\n\n| work |", title)
	for _, t := range targets {
		fmt.Fprintf(b, " %s |", t)
	}
	b.WriteString("\n|---|" + strings.Repeat("---:|", len(targets)) + "\n")
	for _, w := range works {
		fmt.Fprintf(b, "| %s, %s |", w.name, w.unit)
		for _, t := range targets {
			c := "-"
			if len(r.values[key{w.name, t}]) > 0 {
				c = cell(w, t)
			}
			fmt.Fprintf(b, " %s |", c)
		}
		b.WriteString("\n")
	}
}

// times is a table of the repetition whose value is the median, where there is anything to tell.
func (r *report) times(b *strings.Builder, works []work, title string, cell func(measure) string) {
	at := func(w work, t string) string {
		m := slices.SortedFunc(slices.Values(r.values[key{w.name, t}]), func(a, b measure) int { return cmp.Compare(a.value, b.value) })
		if s := cell(m[len(m)/2]); s != "" {
			return s
		}
		return "-"
	}
	works = slices.DeleteFunc(slices.Clone(works), func(w work) bool {
		return !slices.ContainsFunc(r.targets, func(t string) bool { return len(r.values[key{w.name, t}]) > 0 && at(w, t) != "-" })
	})
	if len(works) > 0 {
		r.table(b, works, title, at, r.targets)
	}
}

func (r *report) scaling(b *strings.Builder) {
	if len(r.growths) == 0 {
		return
	}
	fmt.Fprintf(b, "\n## %s\n", titles["scale"])
	for i, g := range r.growths {
		fmt.Fprintf(b, "\n### %s\n\nMedians, %s.\n", g.title, g.y)
		for _, c := range r.charts {
			if c.section == "scale" && c.growth == i {
				fmt.Fprintf(b, "\n![%s](%s)\n", c.title, c.file)
			}
		}
		fmt.Fprintf(b, "\n| %s |", g.x)
		for _, p := range g.curves[0].points {
			fmt.Fprintf(b, " %.0f |", p.x)
		}
		b.WriteString("\n|---|" + strings.Repeat("---:|", len(g.curves[0].points)) + "\n")
		for _, c := range g.curves {
			fmt.Fprintf(b, "| %s |", c.name)
			for _, p := range c.points {
				fmt.Fprintf(b, " %s |", number(p.y))
			}
			b.WriteString("\n")
		}
	}
}

// ratio is how many times as good a is as b.
func ratio(a, b float64, less bool) string {
	if less {
		a, b = b, a
	}
	if a == 0 || b == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", a/b)
}

// number has at least three digits that count.
func number(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

func lastWord(s string) string {
	f := strings.Fields(s)
	if len(f) == 0 {
		return "?"
	}
	return f[len(f)-1]
}
