package sim

import (
	"context"
	"maps"
	"slices"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/dlm"
	"github.com/covol/covol/fs"
	"github.com/covol/covol/ondisk"
)

// lockJudge sees every grant and every downgrade between the filesystem and the lock manager of every node. A hold lasts
// from the return of Lock to the call of Downgrade; that of a life that ended in another way until the view has neither
// the life nor its journal.
type lockJudge struct {
	w     *World
	holds map[dlm.Resource]map[view.NodeID]hold
	spent map[dlm.Resource]uint64 // highest token of a hold that has ended
	gone  map[view.NodeID]bool    // who leaves in peace: it gives up its locks by a call that is not seen from here
}

type hold struct {
	mode  dlm.Mode
	token uint64
}

func newLockJudge(w *World) *lockJudge {
	return &lockJudge{w: w, holds: map[dlm.Resource]map[view.NodeID]hold{}, spent: map[dlm.Resource]uint64{}, gone: map[view.NodeID]bool{}}
}

// watchedLocks is the lock manager as a filesystem sees it under the eyes of the judge.
type watchedLocks struct {
	fs.LockManager
	j  *lockJudge
	p  *process
	id view.NodeID
}

func (w *World) watchLocks(p *process, id view.NodeID, lm fs.LockManager) fs.LockManager {
	return &watchedLocks{lm, w.judges.locks, p, id}
}

func (l *watchedLocks) Lock(ctx context.Context, r dlm.Resource, m dlm.Mode, o dlm.Options) (dlm.Grant, error) {
	_, held := l.j.holds[r][l.id]
	spent := l.j.spent[r]
	g, err := l.LockManager.Lock(ctx, r, m, o)
	if err == nil && !l.p.clock.dead {
		l.j.granted(l.id, r, g, spent, held)
	}
	return g, err
}

func (l *watchedLocks) Downgrade(r dlm.Resource, m dlm.Mode, value []byte) error {
	if !l.p.clock.dead {
		l.j.downgraded(l.id, r, m)
	}
	return l.LockManager.Downgrade(r, m, value)
}

// granted notes a grant. spent was the highest token that had been used up when it was asked for.
func (j *lockJudge) granted(id view.NodeID, r dlm.Resource, g dlm.Grant, spent uint64, held bool) {
	j.w.stats.Grants++
	if !j.w.judges.lives.in(id) {
		return // the life is over and does not know: its gate is shut
	}
	for other, h := range j.holds[r] {
		if other != id && j.gone[other] {
			j.end(other, r)
		} else if other != id && !compatible(h.mode, g.Mode) {
			j.w.fault("locks", "%v: %v was given %v (token %#x) while %v holds %v (token %#x)", r, id, g.Mode, g.Token, other, h.mode, h.token)
		}
	}
	if !held && g.Token <= spent {
		j.w.fault("tokens", "%v: %v was given token %#x after %#x was used up", r, id, g.Token, spent)
	}
	if j.holds[r] == nil {
		j.holds[r] = map[view.NodeID]hold{}
	}
	j.holds[r][id] = hold{g.Mode, g.Token}
}

func (j *lockJudge) downgraded(id view.NodeID, r dlm.Resource, m dlm.Mode) {
	h, ok := j.holds[r][id]
	switch {
	case !ok:
	case m == dlm.NL:
		j.end(id, r)
	default:
		j.holds[r][id] = hold{m, h.token}
	}
}

func (j *lockJudge) end(id view.NodeID, r dlm.Resource) {
	j.spent[r] = max(j.spent[r], j.holds[r][id].token)
	delete(j.holds[r], id)
	if len(j.holds[r]) == 0 {
		delete(j.holds, r)
	}
}

// leaving notes that a node goes in peace: what it holds lasts until somebody else is given it.
func (j *lockJudge) leaving(id view.NodeID) { j.gone[id] = true }

// viewChanged ends the holds of lives that are neither in the view nor to be recovered.
func (j *lockJudge) viewChanged(v *ondisk.View) {
	j.endAll(func(o view.NodeID) bool { return !j.w.judges.lives.in(o) })
}

func (j *lockJudge) endAll(which func(view.NodeID) bool) {
	for _, r := range slices.Collect(maps.Keys(j.holds)) {
		for _, id := range slices.Collect(maps.Keys(j.holds[r])) {
			if which(id) {
				j.end(id, r)
			}
		}
	}
}

// compatible is the matrix of the design, written down a second time: the modes are numbered in the order of its rows.
func compatible(a, b dlm.Mode) bool {
	const x = true
	return [6][6]bool{
		/* NL */ {x, x, x, x, x, x},
		/* CR */ {x, x, x, x, x, !x},
		/* CW */ {x, x, x, !x, !x, !x},
		/* PR */ {x, x, !x, x, !x, !x},
		/* PW */ {x, x, !x, !x, !x, !x},
		/* EX */ {x, !x, !x, !x, !x, !x},
	}[a][b]
}
