package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/covol/covol/bench/host"
)

type options struct {
	covol string
	dir   string
	out   string

	host, leaseFast, leaseDefault, leaseSAN int
	calm, stopped                           time.Duration
	locks, lockTurns                        int
	idle                                    time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.covol, "covol", "", "the binary (default: built from the working directory)")
	flag.StringVar(&o.dir, "dir", os.TempDir(), "where the images and mount points are put")
	flag.StringVar(&o.out, "out", "bench/results", "where the report is put")
	flag.IntVar(&o.host, "host", 20, "repetitions with --fence host, for each of the profiles fast and default and each variant")
	flag.IntVar(&o.leaseFast, "lease-fast", 5, "repetitions with --fence lease, profile fast, for each variant")
	flag.IntVar(&o.leaseDefault, "lease-default", 3, "the same, profile default")
	flag.IntVar(&o.leaseSAN, "lease-san", 0, "the same, profile san, of 45 s and more each")
	flag.DurationVar(&o.calm, "calm", 500*time.Millisecond, "how long is measured before each kill")
	flag.DurationVar(&o.stopped, "stopped", 100*time.Millisecond, "how long a victim is stopped that is killed while the survivor waits already")
	flag.IntVar(&o.locks, "locks", 500, "locks of each kind and turn")
	flag.IntVar(&o.lockTurns, "lock-turns", 10, "turns of the locks")
	flag.DurationVar(&o.idle, "idle", 10*time.Second, "how long a node is idle before it is weighed")
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "failover:", err)
		os.Exit(1)
	}
}

// run measures all. An interrupt ends it early: what was measured until then is reported.
func run(o options) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	dir, err := os.MkdirTemp(o.dir, "covol-failover")
	if err != nil {
		return err
	}
	if o.covol == "" {
		o.covol = filepath.Join(dir, "covol")
		if err := host.Run("go", "build", "-trimpath", "-o", o.covol, "./cmd/covol"); err != nil {
			return err
		}
	}
	r := &report{o: o, began: time.Now(), load: host.LoadAverage(), commit: host.Commit(), scenarios: scenarios(o)}
	r.measure(ctx, dir)
	if len(r.problems) == 0 {
		_ = os.RemoveAll(dir)
	} else {
		fmt.Fprintln(os.Stderr, "the messages of the nodes are in", dir)
	}
	return r.save()
}

// measure notes what fails and goes on with the rest.
func (r *report) measure(ctx context.Context, dir string) {
	note := func(err error) {
		if err != nil && ctx.Err() == nil {
			r.problems = append(r.problems, err.Error())
			fmt.Fprintln(os.Stderr, "failover:", err)
		}
	}
	if r.o.locks > 0 {
		roads, err := measureLocks(ctx, r.o, dir)
		r.roads = roads
		note(err)
	}
	if r.o.idle > 0 {
		m, err := weigh(ctx, r.o, dir)
		if note(err); err == nil {
			r.memory = &m
		}
	}
	for _, s := range r.scenarios {
		if ctx.Err() != nil {
			return
		}
		if err := s.run(ctx, r.o, dir); err != nil {
			note(fmt.Errorf("%s: %w", s, err))
		}
	}
}

// save writes the charts and the report.
func (r *report) save() error {
	base := filepath.Join(r.o.out, r.began.UTC().Format(time.DateOnly)+"-failover")
	for _, s := range r.scenarios {
		if len(s.variants[0].waits)+len(s.variants[1].waits) == 0 {
			continue
		}
		c, err := drawScenario(base, s)
		if err != nil {
			return fmt.Errorf("histogram: %w", err)
		}
		r.charts = append(r.charts, c)
	}
	return host.SaveReport(base+".md", r.write)
}
