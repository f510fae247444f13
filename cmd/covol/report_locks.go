package main

import (
	"slices"
	"strings"
	"time"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/dlm"
)

// lockReport is what locks --json tells of one mount.
type lockReport struct {
	Dir     string        `json:"dir"`
	Node    string        `json:"node"`
	Volume  string        `json:"volume"` // uuid
	Blocked []blockReport `json:"blocked"`
	Locks   []lockDetail  `json:"locks"`
}

type lockDetail struct {
	Resource   string       `json:"resource"`       // such as inode/4711
	Path       string       `json:"path,omitempty"` // of an inode, as far as it is cached here; may be out of date
	Mode       string       `json:"mode"`           // held here
	Want       string       `json:"want,omitempty"`
	WaitingMS  float64      `json:"waiting_ms,omitempty"`
	Token      uint64       `json:"token"`
	Master     *lockNode    `json:"master,omitempty"`
	Recovering bool         `json:"recovering,omitempty"`
	Awaited    []lockNode   `json:"awaited,omitempty"` // dead nodes that must be recovered first
	Holders    []lockHolder `json:"holders,omitempty"` // told by the master only
	Waiters    []lockWaiter `json:"waiters,omitempty"` // likewise, conversions first
}

type lockNode struct {
	Name        string `json:"name,omitempty"`
	Slot        int    `json:"slot"`
	Incarnation uint32 `json:"incarnation"`
}

type lockHolder struct {
	lockNode
	Mode  string `json:"mode"`
	Token uint64 `json:"token"`
	Dead  bool   `json:"dead,omitempty"`
}

type lockWaiter struct {
	lockNode
	Want    string  `json:"want"`
	Convert bool    `json:"convert,omitempty"`
	ForMS   float64 `json:"for_ms"`
}

// lockReport describes all locks that this node has to do with.
func (s *session) lockReport() *lockReport {
	s.mu.Lock()
	n, joined := s.node, s.joined
	s.mu.Unlock()
	r := &lockReport{Dir: s.dir, Node: s.cfg.Name, Locks: []lockDetail{}, Blocked: []blockReport{}}
	if n == nil {
		return r
	}
	r.Volume = n.super.UUID.String()
	if !joined {
		return r
	}
	st := n.Status()
	names := map[view.NodeID]string{}
	for _, sl := range st.Slots {
		names[sl.ID] = sl.Name
	}
	for _, l := range n.LockManager().Locks() {
		d := lockDetailOf(&l, names, st.Now)
		if k := l.Resource.Kind; k == dlm.Inode || k == dlm.Open {
			d.Path = n.Volume().Path(l.Resource.ID)
		}
		r.Locks = append(r.Locks, d)
	}
	slices.SortStableFunc(r.Locks, func(a, b lockDetail) int { return strings.Compare(kindOf(a.Resource), kindOf(b.Resource)) })
	r.findBlocked()
	return r
}

func kindOf(resource string) string {
	kind, _, _ := strings.Cut(resource, "/")
	return kind
}

func lockDetailOf(l *dlm.LockInfo, names map[view.NodeID]string, now time.Duration) lockDetail {
	nodeOf := func(id view.NodeID) lockNode {
		return lockNode{Name: names[id], Slot: int(id.Slot), Incarnation: uint32(id.Incarnation)}
	}
	d := lockDetail{Resource: l.Resource.String(), Mode: l.Mode.String(), Token: l.Token, Recovering: l.Recovering}
	if l.Waiting {
		d.Want, d.WaitingMS = l.Want.String(), millis(now-l.Since)
	}
	if l.Known {
		master := nodeOf(l.Master)
		d.Master = &master
	}
	for _, id := range l.Unrecovered {
		d.Awaited = append(d.Awaited, nodeOf(id))
	}
	for _, h := range l.Holders {
		d.Holders = append(d.Holders, lockHolder{lockNode: nodeOf(h.Node), Mode: h.Mode.String(), Token: h.Token, Dead: h.Dead})
	}
	for _, w := range l.Waiters {
		d.Waiters = append(d.Waiters, lockWaiter{lockNode: nodeOf(w.Node), Want: w.Want.String(), Convert: w.Convert, ForMS: millis(now - w.Since)})
	}
	return d
}
