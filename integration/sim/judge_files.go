package sim

import (
	"errors"
	"time"

	"github.com/covol/covol/cluster"
	"github.com/covol/covol/fs"
)

// fileJudge holds what clients see to what they know, and the answers of operations to the state of the node.
type fileJudge struct{ w *World }

// found is what a client has found wrong. With ghosts beyond the bound data is not judged.
func (j *fileJudge) found(format string, args ...any) {
	if !j.w.opt.Beyond {
		j.w.fault("files", format, args...)
	}
}

// pathMemory is how long after the failure of a path operations may still fail for it.
const pathMemory = 2 * time.Second

// answered looks at how an operation ended: clients ask only for what must succeed, so only a node that has withdrawn,
// or cannot use the disk, may answer with an error.
func (j *fileJudge) answered(op *opCall) {
	p := op.p
	switch {
	case op.vanished || op.expected(op.err):
		if op.ended && op.lostThen && op.err == nil {
			j.w.fault("files", "%v had withdrawn and did %s", p, op.what)
		}
	case op.lostThen:
		if !errors.Is(op.err, fs.ErrWithdrawn) {
			j.w.fault("files", "%v had withdrawn and answered to %s: %v", p, op.what, op.err)
		}
	case p.lost != nil || errors.Is(op.err, cluster.ErrWithdrawn): // the gate shuts a moment before the filesystem hears of it
	case p.badPath > 0 && op.began < p.badPath+pathMemory:
	default:
		j.found("%v answered to %s: %v", p, op.what, op.err)
	}
}

// expected reports whether err may be answered by a healthy node.
func (op *opCall) expected(err error) bool {
	if err == nil {
		return true
	}
	for _, e := range op.allow {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// lastLook has every client look at all it has, and at what others have, when everything is quiet.
func (j *fileJudge) lastLook() {
	for _, c := range j.w.clients {
		p := c.h.proc
		if !p.usable() {
			j.w.fault("files", "%v is not usable at the end", p)
			return
		}
		c.meet(p)
		if !c.look(p) || len(j.w.faults) > 0 {
			j.found("%s cannot look at its files at the end", c.name)
			return
		}
		for range 3 {
			c.audit(p)
		}
	}
}
