package main

import (
	"cmp"
	"slices"

	"github.com/covol/covol/dlm"
)

// blockReport is one request that waits, and for whom.
type blockReport struct {
	Resource string    `json:"resource"`
	Path     string    `json:"path,omitempty"`
	Node     lockNode  `json:"node"` // that waits
	Want     string    `json:"want"`
	ForMS    float64   `json:"for_ms"`
	By       []blocker `json:"by"` // empty: only the master knows, ask there
	Master   *lockNode `json:"master,omitempty"`
}

// blocker is a node that stands in the way.
type blocker struct {
	lockNode
	Mode string `json:"mode,omitempty"` // that it holds, or waits for before us
	// Why is holds, queued (it came first) or dead (what it held is not recovered yet).
	Why string `json:"why"`
}

// findBlocked lists who waits for whom, the longest wait first.
func (r *lockReport) findBlocked() {
	r.Blocked = []blockReport{}
	for i := range r.Locks {
		r.Blocked = append(r.Blocked, r.Locks[i].blocked(r.Node)...)
	}
	slices.SortStableFunc(r.Blocked, func(a, b blockReport) int { return cmp.Compare(b.ForMS, a.ForMS) })
}

// blocked are the requests that wait for a lock. Of one that is mastered elsewhere we know only our own.
func (l *lockDetail) blocked(self string) []blockReport {
	var list []blockReport
	own := false
	for i, w := range l.Waiters {
		own = own || w.Name == self
		b := blockReport{Resource: l.Resource, Path: l.Path, Node: w.lockNode, Want: w.Want, ForMS: w.ForMS, Master: l.Master}
		b.By = l.blockers(i)
		list = append(list, b)
	}
	if l.Want != "" && !own {
		b := blockReport{Resource: l.Resource, Path: l.Path, Node: lockNode{Name: self, Slot: -1}, Want: l.Want, ForMS: l.WaitingMS, Master: l.Master}
		b.By = l.awaitedBlockers()
		list = append(list, b)
	}
	return list
}

func (l *lockDetail) awaitedBlockers() []blocker {
	by := []blocker{}
	for _, n := range l.Awaited {
		by = append(by, blocker{lockNode: n, Why: "dead"})
	}
	return by
}

// blockers are who waiter number i waits for: holders of what is not compatible, else who came before it.
func (l *lockDetail) blockers(i int) []blocker {
	w := l.Waiters[i]
	by := l.awaitedBlockers()
	for _, h := range l.Holders {
		if h.lockNode == w.lockNode || !conflict(h.Mode, w.Want) {
			continue
		}
		why := "holds"
		if h.Dead {
			why = "dead"
		}
		if !slices.ContainsFunc(by, func(b blocker) bool { return b.lockNode == h.lockNode }) {
			by = append(by, blocker{lockNode: h.lockNode, Mode: h.Mode, Why: why})
		}
	}
	if len(by) > 0 {
		return by
	}
	for _, before := range l.Waiters[:i] {
		by = append(by, blocker{lockNode: before.lockNode, Mode: before.Want, Why: "queued"})
	}
	return by
}

func conflict(held, want string) bool {
	a, err := dlm.ParseMode(held)
	b, err2 := dlm.ParseMode(want)
	return err != nil || err2 != nil || !dlm.Compatible(a, b)
}

// learn takes from other nodes of the volume what only the masters of locks know, and names of files.
func (r *lockReport) learn(others []*lockReport) {
	known := map[string]*lockDetail{}
	paths := map[string]string{}
	for _, o := range others {
		if o.Volume != r.Volume || o.Node == r.Node {
			continue
		}
		for i := range o.Locks {
			l := &o.Locks[i]
			if l.Master != nil && l.Master.Name == o.Node {
				known[l.Resource] = l
			}
			if l.Path != "" {
				paths[l.Resource] = l.Path
			}
		}
	}
	for i := range r.Locks {
		l := &r.Locks[i]
		if m := known[l.Resource]; m != nil && len(l.Holders)+len(l.Waiters) == 0 {
			l.Holders, l.Waiters, l.Master = m.Holders, m.Waiters, m.Master
			l.Recovering, l.Awaited = l.Recovering || m.Recovering, append(l.Awaited, m.Awaited...)
		}
		if l.Path == "" {
			l.Path = paths[l.Resource]
		}
	}
	r.findBlocked()
}
