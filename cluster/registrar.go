package cluster

import (
	"context"
	"errors"
	"fmt"

	"github.com/covol/covol/cluster/fence"
	"github.com/covol/covol/cluster/view"
)

// registrars calls fn for each method by which this node is known at the storage; the first error ends it.
func (n *Node) registrars(fn func(fence.Registrar) error) error {
	for _, m := range n.cfg.Fencing {
		if r, ok := m.(fence.Registrar); ok {
			if err := fn(r); err != nil {
				return fmt.Errorf("%s: %w", r.Name(), err)
			}
		}
	}
	return nil
}

// register makes the life that is about to claim a slot known at the storage.
func (n *Node) register(ctx context.Context, id view.NodeID) error {
	me := fence.Self{NodeID: id, Volume: n.cfg.Super.UUID, Name: n.cfg.Name}
	return n.registrars(func(r fence.Registrar) error { return r.Register(ctx, me) })
}

// checkFenced asks the storage whether this node has been put out, and ends its life then.
func (n *Node) checkFenced(ctx context.Context) error {
	err := n.registrars(func(r fence.Registrar) error {
		ctx, done := n.disk.bounded(ctx)
		defer done()
		return r.Check(ctx)
	})
	if errors.Is(err, fence.ErrFenced) {
		n.withdraw(Reason{CauseFenced, err.Error()})
	}
	return err
}

// stepDown undoes what keeps this node from writing unnoticed: its last I/O is over.
func (n *Node) stepDown() {
	_ = n.disk.settle(context.Background()) // ends by itself
	if s, _, _ := n.state.get(); s != StateFenced {
		ctx, done := n.disk.bounded(context.Background())
		defer done()
		if err := n.registrars(func(r fence.Registrar) error { return r.Unregister(ctx) }); err != nil {
			n.cfg.Log.Warn("not unregistered at the storage", "node", n.cfg.Name, "err", err)
		}
	}
	if n.cfg.Watchdog != nil {
		if err := n.cfg.Watchdog.Disarm(); err != nil {
			n.cfg.Log.Error("watchdog not disarmed", "node", n.cfg.Name, "err", err)
		}
	}
	n.unlock()
}
