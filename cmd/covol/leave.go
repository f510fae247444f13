package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/covol/covol/cluster"
)

// onState passes the loss of the lease on to the filesystem.
func (n *node) onState(s cluster.State, r cluster.Reason) {
	if !s.Lost() {
		return
	}
	err := fmt.Errorf("withdrawn from the cluster: %s", r)
	n.mu.Lock()
	vol := n.vol
	n.lost = err
	n.mu.Unlock()
	if vol != nil {
		vol.Withdraw(err)
	} else if n.stop != nil {
		n.stop(err)
	}
}

// withdrawn tells the owner of the node once why it is of no more use.
func (n *node) withdrawn(err error) {
	n.mu.Lock()
	n.lost = err
	n.mu.Unlock()
	n.once.Do(func() {
		if n.cfg.OnWithdraw != nil {
			n.cfg.OnWithdraw(err)
		}
	})
}

// lostBy is why the node has withdrawn, nil if it has not.
func (n *node) lostBy() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.lost
}

// leave gives everything up in order: files home, locks, slot, connections, device. If files cannot be brought home the
// slot is left as by a death: the journal must be replayed, and the others must not believe that it is clean.
func (n *node) leave(ctx context.Context) error {
	var errs []error
	step := func(what string, fn func(context.Context) error) {
		if len(errs) > 0 {
			return
		}
		n.cfg.Log.Debug("leaving", "step", what)
		if err := fn(ctx); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", what, err))
		}
	}
	step("unmount volume", n.volume().Unmount)
	step("give up locks", n.leaveLocks)
	step("leave the cluster", n.member().Leave)
	if len(errs) > 0 {
		n.member().Kill()
	}
	n.lockManager().Stop()
	n.closeAll()
	return errors.Join(errs...)
}

// leaveTime is how long locks may take to be given up before a dead node is taken for the reason.
const leaveTime = 3 * time.Second

// leaveLocks gives up all locks. A request for what a dead node held is answered only when that has been recovered, and
// dlm.Leave waits for it. Nothing here needs the answer any more: everything is home, and what this node held or decided
// about is settled by the view change, as after a death.
func (n *node) leaveLocks(ctx context.Context) error {
	for {
		once, cancel := context.WithTimeout(ctx, leaveTime)
		err := n.lockManager().Leave(once)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
			return err
		}
		waiting := "other nodes"
		if v := n.member().View(); len(v.Recovering) > 0 {
			n.cfg.Log.Warn("leaving with requests unanswered: a dead node is not recovered", "slot", v.Recovering[0].Slot)
			return nil
		} else if len(v.Members) == 1 {
			waiting = "the lock manager of this node"
		}
		n.cfg.Log.Warn("giving up locks takes long", "waiting for", waiting)
	}
}

// abandon ends a node that could not be started. Once the filesystem has been given the journal it may be dirty, and then
// the slot is left as by a death; before that, nothing is held that could not be given back.
func (n *node) abandon() {
	n.stop(nil)
	locks, mem := n.lockManager(), n.member()
	if mem != nil && n.journal.Load() {
		mem.Kill()
	}
	if mem != nil && !n.journal.Load() {
		ctx, cancel := context.WithTimeout(context.Background(), n.super.Profile.Wait())
		defer cancel()
		if err := locks.Leave(ctx); err != nil {
			n.cfg.Log.Warn("give up locks", "err", err)
		}
		if err := mem.Leave(ctx); err != nil {
			n.cfg.Log.Warn("leave the cluster", "err", err)
		}
	}
	if locks != nil {
		locks.Stop()
	}
	n.closeAll()
}

// closeAll closes connections and devices.
func (n *node) closeAll() {
	if n.peers != nil {
		n.peers.close()
	}
	if n.data != nil {
		_ = n.data.Close()
	}
	if n.beat != nil {
		_ = n.beat.Close()
	}
}
