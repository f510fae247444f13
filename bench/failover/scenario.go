package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/covol/covol/bench/host"
)

// scenario is a way in which nodes die, with what was measured.
type scenario struct {
	fence   string
	profile string
	reps    int           // of each variant
	target  time.Duration // the number to reach; 0: none

	variants [2]variant
}

// variant is when the survivor's operation begins.
type variant struct {
	name                string
	blocked             bool
	waits, stalls, calm host.Sample
	failed              []string
}

func (s *scenario) String() string { return fmt.Sprintf("%s profile, by %s", s.profile, s.fence) }

// scenarios are those that o asks for.
func scenarios(o options) []*scenario {
	const quick, slow = 3 * time.Second, 17 * time.Second
	all := []*scenario{
		{fence: "host", profile: "fast", reps: o.host, target: quick},
		{fence: "host", profile: "default", reps: o.host},
		{fence: "lease", profile: "fast", reps: o.leaseFast, target: quick},
		{fence: "lease", profile: "default", reps: o.leaseDefault, target: slow},
		{fence: "lease", profile: "san", reps: o.leaseSAN},
	}
	var asked []*scenario
	for _, s := range all {
		s.variants = [2]variant{{name: "after"}, {name: "before", blocked: true}}
		if s.reps > 0 {
			asked = append(asked, s)
		}
	}
	return asked
}

// maxFailed is after how many failures in a row a scenario is given up.
const maxFailed = 3

// run measures until ctx ends; what was measured until then stays.
func (s *scenario) run(ctx context.Context, o options, dir string) (err error) {
	dir = filepath.Join(dir, s.fence+"-"+s.profile)
	p, err := newPair(o, dir, *s)
	if err != nil {
		return err
	}
	defer func() {
		if e := p.close(); err == nil && e != nil {
			err = fmt.Errorf("leave: %w", e)
		}
		_ = os.Remove(imageOf(dir))
	}()
	failed := 0
	for rep := range s.reps {
		for i := range s.variants {
			if ctx.Err() != nil {
				return nil
			}
			v := &s.variants[i]
			t, err := p.round(v.blocked)
			if err != nil {
				v.failed = append(v.failed, err.Error())
				fmt.Fprintf(os.Stderr, "%d/%d %s, %s: %v\n", rep+1, s.reps, s, v.name, err)
				if failed++; failed == maxFailed {
					return fmt.Errorf("given up: %w", err)
				}
				continue
			}
			failed = 0
			v.add(t)
			fmt.Fprintf(os.Stderr, "%d/%d %-28s %-6s %10v, other file %10v\n", rep+1, s.reps, s, v.name, t.wait.Round(time.Millisecond), t.stall.Round(time.Millisecond))
		}
	}
	return nil
}

func (v *variant) add(t takeover) {
	v.waits, v.stalls, v.calm = append(v.waits, t.wait), append(v.stalls, t.stall), append(v.calm, t.calm)
}
