package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/ondisk/sched"
)

// Host is where one node runs, life after life. Its name is the node's.
type Host struct {
	w       *World
	i       int
	name    string
	machine int // 0: no locks of the host
	proc    *process
	path    pathFaults
	up      bool // its supervisor runs
}

func newHost(w *World, i int) *Host {
	h := &Host{w: w, i: i, name: fmt.Sprintf("n%d", i)}
	switch w.opt.Machines {
	case OwnMachines:
		h.machine = i + 1
	case OneMachine:
		h.machine = 1
	case TwoMachines:
		h.machine = 1 + i%2
	case MixedMachines:
		h.machine = w.rng.IntN(3)
	}
	return h
}

// supervise starts the node whenever it is not there, as people and their scripts do.
func (h *Host) supervise() {
	h.up = true
	w := h.w
	defer func() { h.up = false }()
	for !w.closing {
		p := w.launch(h)
		_ = p.over.Wait(background)
		if w.closing && p.left {
			return
		}
		if !p.clock.dead && !p.left {
			h.bury(p)
		}
		pause := time.Duration(w.rng.Int64N(int64(2 * w.opt.Restart)))
		if w.calm {
			pause /= 10
		}
		_ = w.s.Sleep(background, pause)
	}
}

// bury ends a process that has withdrawn or could not start. What runs there must have ended by then: it gets
// ErrWithdrawn.
func (h *Host) bury(p *process) {
	w := h.w
	if p.node != nil {
		w.judges.liveness.withdrawn(p)
	}
	_ = w.s.Sleep(background, time.Duration(w.rng.Int64N(int64(time.Second))))
	p.kill("operator", 0)
}

// opCall is one operation of a client in a process.
type opCall struct {
	p        *process
	what     string
	began    time.Duration
	done     sched.Event
	ended    bool
	vanished bool // the process died first
	err      error
	lostThen bool    // the node had withdrawn before it began
	allow    []error // that a healthy node may answer
}

// call runs fn in the process and waits for its end or that of the process.
func (p *process) call(what string, fn func() error, allow ...error) *opCall {
	w := p.w
	op := &opCall{p: p, what: what, began: w.s.Now(), done: w.s.NewEvent(), lostThen: p.lost != nil, allow: allow}
	p.ops[op] = true
	p.clock.Go(what, func() {
		err := fn()
		if op.vanished {
			return
		}
		op.ended, op.err = true, err
		delete(p.ops, op)
		op.done.Set()
	})
	_ = op.done.Wait(background)
	w.stats.Ops++
	w.detail("%v %s: %v%s after %v", p, what, op.err, map[bool]string{true: " vanished"}[op.vanished], w.s.Now()-op.began)
	w.judges.files.answered(op)
	return op
}

// endOps wakes those who wait for operations of a dead process, in a fixed order.
func (p *process) endOps() {
	var all []*opCall
	for op := range p.ops {
		all = append(all, op)
	}
	slices.SortFunc(all, func(a, b *opCall) int {
		if a.began != b.began {
			return int(a.began - b.began)
		}
		return slices.Compare([]byte(a.what), []byte(b.what))
	})
	for _, op := range all {
		op.done.Set()
	}
}

// leave takes the node out cleanly once its operations are over.
func (p *process) leave() error {
	w := p.w
	p.quit = true
	for len(p.ops) > 0 && !p.clock.dead && p.lost == nil {
		_ = w.s.Sleep(background, 5*time.Millisecond)
	}
	if p.clock.dead || p.node == nil || p.lost != nil {
		return nil
	}
	w.event("%v leaves", p)
	var err error
	done := w.s.NewEvent()
	p.clock.Go("leave "+p.String(), func() {
		w.judges.locks.leaving(p.id)
		err = p.node.Leave(background)
		p.left = err == nil
		w.event("%v has left: %v", p, err)
		done.Set()
		p.over.Set()
	})
	for !done.IsSet() && !p.clock.dead {
		_ = w.s.Sleep(background, 5*time.Millisecond)
	}
	return err
}

// active reports whether the node of h may work.
func (h *Host) active() bool {
	p := h.proc
	return p != nil && p.usable() && p.lost == nil && p.node.Status().State.String() == "active"
}

// member reports whether the latest view on the disk has the present life of h, and its lease is fresh.
func (h *Host) member(members map[view.Slot]view.Incarnation) bool {
	return h.active() && h.proc.node.Status().LeaseLeft > h.w.sb.Profile.Lease/2 && members[h.proc.id.Slot] == h.proc.id.Incarnation
}
