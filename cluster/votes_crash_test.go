package cluster

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// TestCrashAtEveryStep on a device without compare-and-write. There are more steps: with -seeds every one is taken.
func TestCrashAtEveryStepByVote(t *testing.T) {
	step := 41
	if *seedsFlag > 0 {
		step = 1
	}
	scenarios := []struct {
		name  string
		setup func(w *world)
		run   func(w *world, p *proc)
	}{
		{"join alone", func(*world) {}, nil},
		{"join next to another", func(w *world) { w.settled("b", 0) }, nil},
		{"join after all died", func(w *world) {
			a, b := w.settled("v", 0), w.settled("b", 0)
			a.kill(0)
			b.kill(0)
		}, nil},
		{"take over", func(w *world) {
			a := w.settled("b", 0)
			w.s.AfterFunc(2*time.Second, func() { a.kill(0) })
		}, func(w *world, p *proc) {
			w.run(patience, "takeover", func() bool {
				return p.dead || w.s.Now() > 6*time.Second && w.idle() && w.judge.view.Epoch > 5
			})
		}},
	}
	for n, sc := range scenarios {
		for machine := range 2 {
			for _, after := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/machine %d/after %v", sc.name, machine, after), func(t *testing.T) {
					at := 1
					if step > 1 {
						at += (n + machine) % step
					}
					for crashAt(t, false, machine, after, at, sc.setup, sc.run) {
						at += step
					}
					assert.Greater(t, at, 20)
				})
			}
		}
	}
}
