package member

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/covol/covol/dlm"
)

// Leave gives everything up in order: files home, locks, slot, network. If files cannot be brought home the slot is left
// as by a death: the journal must be replayed, and the others must not believe that it is clean. No operation may be
// running or follow.
func (n *Node) Leave(ctx context.Context) error {
	var err error
	step := func(what string, fn func(context.Context) error) {
		if err != nil {
			return
		}
		n.cfg.Log.Debug("leaving", "step", what)
		if e := fn(ctx); e != nil {
			err = fmt.Errorf("%s: %w", what, e)
		}
	}
	step("unmount volume", n.Volume().Unmount)
	step("give up locks", n.leaveLocks)
	step("leave the cluster", n.mem.Load().Leave)
	if err != nil {
		n.mem.Load().Kill()
	}
	n.LockManager().Stop()
	n.closeNetwork()
	return err
}

// leaveTime is how long locks may take to be given up before a dead node is taken for the reason.
const leaveTime = 3 * time.Second

// leaveLocks gives up all locks. A request for what a dead node held is answered only when that has been recovered, and
// dlm.Leave waits for it. Nothing here needs the answer any more: everything is home, and what this node held or decided
// about is settled by the view change, as after a death.
func (n *Node) leaveLocks(ctx context.Context) error {
	w := &lockLeaving{n: n, locks: n.LockManager()}
	over := n.cfg.Sched.NewEvent()
	w.over = over.Set
	n.cfg.Sched.Go("give up locks", func() { w.end(w.locks.Leave(ctx)) })
	w.rearm()
	defer w.end(nil)
	if err := over.Wait(ctx); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// lockLeaving is a Leave of the lock manager, and the look every leaveTime whether it is worth waiting for.
type lockLeaving struct {
	n     *Node
	locks *dlm.Node
	over  func()

	mu sync.Mutex
	// GUARDED_BY(mu)
	ended bool
	// GUARDED_BY(mu)
	err error
	// GUARDED_BY(mu)
	stop func() bool
}

// end is the first of: the locks are given up, given up on, or the caller went away.
func (w *lockLeaving) end(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return
	}
	w.ended, w.err = true, err
	if w.stop != nil {
		w.stop()
	}
	w.over()
}

func (w *lockLeaving) rearm() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.ended {
		w.stop = w.n.cfg.Sched.AfterFunc(leaveTime, w.look)
	}
}

func (w *lockLeaving) look() {
	v := w.n.View()
	switch {
	case len(v.Recovering) > 0:
		w.n.cfg.Log.Warn("leaving with requests unanswered: a dead node is not recovered", "slot", v.Recovering[0].Slot)
		w.end(nil)
		return
	case len(v.Members) == 1:
		w.n.cfg.Log.Warn("giving up locks takes long", "waiting for", "the lock manager of this node")
	default:
		w.n.cfg.Log.Warn("giving up locks takes long", "waiting for", "other nodes")
	}
	w.rearm()
}

// abandon ends a node that could not be started: as by a death if the journal was opened (W2). Before that nothing is
// held that could not be given back.
func (n *Node) abandon() {
	locks, mem := n.LockManager(), n.mem.Load()
	switch {
	case mem != nil && n.opened.Load():
		mem.Kill()
	case mem != nil:
		n.giveBack(locks)
	}
	if locks != nil {
		locks.Stop()
	}
	n.closeNetwork()
}

// giveBack leaves, within the time after which the others would take the node for dead anyway.
func (n *Node) giveBack(locks *dlm.Node) {
	mem := n.mem.Load()
	late := func() {
		mem.Kill()
		if locks != nil {
			locks.Stop()
		}
	}
	defer n.cfg.Sched.AfterFunc(n.cfg.Super.Profile.Wait(), late)()
	ctx := context.Background()
	if locks != nil {
		if err := locks.Leave(ctx); err != nil && !errors.Is(err, dlm.ErrStopped) {
			n.cfg.Log.Warn("give up locks", "err", err)
		}
	}
	if err := mem.Leave(ctx); err != nil {
		n.cfg.Log.Warn("leave the cluster", "err", err)
	}
}
