package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/covol/covol/bench/host"
)

type options struct {
	covol   string
	dir     string
	out     string
	name    string
	only    []string // sections
	targets []string // names; empty: all
	size    int      // MiB of the file that data work is done on
	disk    int      // MiB of each device
	files   int
	reps    int
	runtime time.Duration
	nodes   int // scale: up to so many
	images  int // scale: GiB of the largest image
}

// Sections of the report, in order.
var sections = []string{"data", "meta", "programs", "scale"}

func main() {
	var o options
	only, targets := "", ""
	flag.StringVar(&o.covol, "covol", "bin/covol", "the binary")
	flag.StringVar(&o.dir, "dir", os.TempDir(), "where the files behind the loop devices are put")
	flag.StringVar(&o.out, "out", "bench/results", "directory of the report")
	flag.StringVar(&o.name, "name", time.Now().UTC().Format(time.DateOnly)+"-bench", "name of the report")
	flag.StringVar(&only, "only", strings.Join(sections, ","), "sections to run")
	flag.StringVar(&targets, "targets", "", "names of what to measure, separated by commas (default all)")
	flag.IntVar(&o.size, "size", 512, "MiB of the file that data work is done on")
	flag.IntVar(&o.disk, "disk", 4096, "MiB of each device")
	flag.IntVar(&o.files, "files", 100_000, "files of the metadata work")
	flag.IntVar(&o.reps, "reps", 3, "repetitions")
	flag.DurationVar(&o.runtime, "runtime", 3*time.Second, "of each fio run")
	flag.IntVar(&o.nodes, "nodes", 4, "scale: nodes at most")
	flag.IntVar(&o.images, "images", 100, "scale: GiB of the largest image, a power of ten")
	flag.Parse()
	o.only = strings.Split(only, ",")
	if targets != "" {
		o.targets = strings.Split(targets, ",")
	}
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run measures and reports. An interrupt ends it early: what was measured until then is reported, and what is mounted
// is unmounted whatever happens.
func run(o options) error {
	for _, s := range o.only {
		if !slices.Contains(sections, s) {
			return fmt.Errorf("section %q: there are %s", s, strings.Join(sections, ", "))
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	dir, err := os.MkdirTemp(o.dir, "covol-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	r := &report{o: o, began: time.Now(), load: host.LoadAverage(), commit: host.Commit(), backing: host.Text("df", "--output=fstype", dir), values: map[key][]measure{}}
	b := &bench{o: o, dir: dir, r: r}
	defer b.close()
	if err := b.compare(ctx); err != nil {
		return err
	}
	if slices.Contains(o.only, "scale") {
		if err := b.scale(ctx); err != nil && ctx.Err() == nil {
			return fmt.Errorf("scale: %w", err)
		}
	}
	return r.save()
}

// bench is one run.
type bench struct {
	o       options
	dir     string
	r       *report
	targets []*target
}

func (b *bench) close() {
	for _, t := range b.targets {
		t.close()
	}
	b.targets = nil
}

// compare opens the targets and lets them do all work, in turns.
func (b *bench) compare(ctx context.Context) error {
	todo := worksOf(b.o)
	if len(todo) == 0 {
		return nil
	}
	for i, k := range kinds(b.o) {
		if len(b.o.targets) > 0 && !slices.Contains(b.o.targets, k.name) {
			continue
		}
		if why := k.missing(); why != "" {
			b.r.notes = append(b.r.notes, fmt.Sprintf("left out: %s: %s", k.name, why))
			continue
		}
		t := &target{kind: k, dir: filepath.Join(b.dir, fmt.Sprintf("target%d", i))}
		if err := t.open(ctx, b.o); err != nil {
			t.close()
			if k.must || ctx.Err() != nil {
				return fmt.Errorf("%s: %w", k.name, err)
			}
			b.r.notes = append(b.r.notes, fmt.Sprintf("left out: %s: %v", k.name, err)) // by this covol, or this kernel
			continue
		}
		b.targets = append(b.targets, t)
	}
	b.r.works = todo
	for _, t := range b.targets {
		b.r.targets = append(b.r.targets, t.kind.name)
	}
	for rep := range b.o.reps {
		for _, w := range todo {
			for _, t := range b.targets {
				if ctx.Err() != nil {
					return nil
				}
				if !w.fits(t) {
					continue
				}
				if err := b.one(ctx, rep, w, t); err != nil {
					return fmt.Errorf("%s on %s: %w", w.name, t.kind.name, err)
				}
			}
		}
	}
	b.close()
	return nil
}

// one lets a target do a work once.
func (b *bench) one(ctx context.Context, rep int, w work, t *target) error {
	before := t.serverTime()
	m, err := w.run(ctx, b, t)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	if m.ops > 0 && before >= 0 {
		m.cpu = (t.serverTime() - before) / time.Duration(m.ops)
	}
	fmt.Fprintf(os.Stderr, "%d/%d %-34s %-20s %12.0f %s\n", rep+1, b.o.reps, w.name, t.kind.name, m.value, w.unit)
	b.r.add(w, t, m)
	return nil
}
