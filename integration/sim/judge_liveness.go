package sim

import (
	"strings"
	"time"
)

// livenessJudge holds the cluster to bounds of time once nobody disturbs it.
type livenessJudge struct{ w *World }

// bound is how long anything may take when there are no faults: a death must be proven and recovered, the dead come back,
// perhaps to find the next one.
func (j *livenessJudge) bound() time.Duration { return 10*j.w.sb.Profile.Wait() + 10*time.Second }

// within waits until cond holds, or finds fault.
func (j *livenessJudge) within(what string, cond func() bool) bool {
	w := j.w
	for end := w.s.Now() + j.bound(); !cond(); {
		if w.s.Now() >= end {
			w.fault("liveness", "%s: not within %v%s", what, j.bound(), j.state())
			return false
		}
		_ = w.s.Sleep(background, 10*time.Millisecond)
	}
	return true
}

// everybody waits until every node is a member at work and nobody is left to recover.
func (j *livenessJudge) everybody(when string) bool {
	return j.within("all nodes at work "+when, func() bool {
		m := j.w.members()
		for _, h := range j.w.hosts {
			if !h.member(m) {
				return false
			}
		}
		return !j.w.judges.lives.recovering() && len(m) == len(j.w.hosts)
	})
}

// withdrawn waits for the operations in a node that has withdrawn: they must end with an error.
func (j *livenessJudge) withdrawn(p *process) {
	j.within("operations of the withdrawn "+p.String()+" to end", func() bool {
		for op := range p.ops {
			if op.began < p.lostAt || op.lostThen {
				return p.clock.dead
			}
		}
		return true
	})
}

// leave has all nodes leave at once.
func (j *livenessJudge) leave() bool {
	w := j.w
	left := 0
	for _, h := range w.hosts {
		p := h.proc
		w.s.Go("leave "+h.name, func() {
			if err := p.leave(); err != nil {
				w.fault("liveness", "%v cannot leave: %v", p, err)
			}
			left++
		})
	}
	return j.within("all nodes to leave", func() bool { return left == len(w.hosts) })
}

// state says where everybody stands, for a failure.
func (j *livenessJudge) state() string {
	w := j.w
	var b strings.Builder
	b.WriteString("\n\tview " + viewString(w.judges.lives.view))
	for _, h := range w.hosts {
		b.WriteString("\n\t" + h.state())
	}
	for _, line := range w.s.Parked() {
		for _, p := range w.procs {
			if !p.clock.dead && strings.Contains(line, p.String()) {
				b.WriteString("\n\t\t" + line)
			}
		}
	}
	return b.String()
}
