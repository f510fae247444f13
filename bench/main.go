package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

type options struct {
	covol   string
	dir     string
	size    int // MiB of the file that is worked on
	reps    int
	runtime time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.covol, "covol", "bin/covol", "the binary")
	flag.StringVar(&o.dir, "dir", os.TempDir(), "where the files behind the loop devices are put")
	flag.IntVar(&o.size, "size", 256, "MiB of the file that is worked on")
	flag.IntVar(&o.reps, "reps", 3, "repetitions")
	flag.DurationVar(&o.runtime, "runtime", 3*time.Second, "of each fio run")
	flag.Parse()
	if err := run(o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(o options, out io.Writer) (err error) {
	dir, err := os.MkdirTemp(o.dir, "covol-bench")
	if err != nil {
		return err
	}
	var all []*target
	defer func() {
		for _, t := range all {
			t.close()
		}
		_ = os.RemoveAll(dir)
	}()
	// What is mounted must be unmounted whatever happens.
	interrupt := make(chan os.Signal, 1)
	signal.Notify(interrupt, syscall.SIGINT, syscall.SIGTERM)

	var missing []string
	for _, k := range kinds(o) {
		if why := k.missing(); why != "" {
			missing = append(missing, k.name+": "+why)
			continue
		}
		t := &target{kind: k, dir: filepath.Join(dir, k.name)}
		all = append(all, t)
		if err := t.open(o); err != nil {
			return fmt.Errorf("%s: %w", k.name, err)
		}
	}
	r := newReport(o, all, missing)
	for rep := range o.reps {
		for _, w := range workloads {
			for _, t := range all {
				select {
				case s := <-interrupt:
					return fmt.Errorf("stopped by %v", s)
				default:
				}
				v, err := measure(o, t, w)
				if err != nil {
					return fmt.Errorf("%s on %s: %w", w.name, t.kind.name, err)
				}
				fmt.Fprintf(os.Stderr, "%d/%d %-24s %-12s %12.0f %s\n", rep+1, o.reps, w.name, t.kind.name, v, w.unit)
				r.add(w, t, v)
			}
		}
	}
	return r.write(out)
}
