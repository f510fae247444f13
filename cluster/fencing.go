package cluster

import (
	"context"
	"errors"
	"fmt"

	"github.com/covol/covol/cluster/fence"
	"github.com/covol/covol/cluster/view"
)

// errNoLease is why a method that acts on a victim is not asked now.
var errNoLease = errors.New("this node has no lease itself")

// Suspect is a hint that the node called name has died, from somebody who cannot know, such as a gossip protocol or a
// broken connection. This node looks at the disk at once, and asks those methods early that do no harm. It never
// blocks. The hint alone decides nothing; it is forgotten after the profile's Wait.
func (n *Node) Suspect(name string) { n.post(hinted{name}) }

// prove asks one method about a victim. again says that there is a proof to act on.
func (n *Node) prove(ctx context.Context, e prove) (again bool) {
	m := n.cfg.Fencing[e.method]
	answer := func(p fence.Proof, err error) {
		n.post(proved{method: e.method, content: e.content, victim: e.victim, proof: p, err: err})
	}
	switch {
	case !m.Forces():
		p, err := m.Prove(ctx, e.victim)
		answer(p, err)
		return err == nil
	case !n.leased() || n.currentRenewer() == nil:
		answer(fence.Proof{}, errNoLease)
		return false
	}
	n.cfg.Log.Warn("fencing", "node", n.cfg.Name, "victim", e.victim.Name, "slot", e.victim.Slot, "method", m.Name())
	n.spawn("cluster fence", func() {
		p, err := m.Prove(n.ctx, e.victim)
		if err != nil {
			n.cfg.Log.Error("fencing failed", "node", n.cfg.Name, "victim", e.victim.Name, "method", m.Name(), "err", err)
		}
		answer(p, err)
	})
	return false
}

// Fence declares the node called name dead on the word of a person who has made sure that it is off, and returns once
// that is on the disk. Only a node that has not renewed its heartbeat for 3h is accepted, else ErrNodeLives; ErrNoNode if
// there is none of that name. Without a lease of this node's own it waits.
func (n *Node) Fence(ctx context.Context, name string) error {
	poll, said := n.cfg.Super.Profile.Heartbeat/4, false
	for {
		if err := n.gate.lost(); err != nil {
			return fmt.Errorf("fence %s: %w", name, err)
		}
		n.mu.Lock()
		ev, over, err := n.core.word(name)
		n.mu.Unlock()
		switch {
		case err != nil:
			return fmt.Errorf("fence %s: %w", name, err)
		case over:
			if !said {
				return fmt.Errorf("fence %s: %w: it is out or declared dead already", name, ErrNoNode)
			}
			return nil
		case ev != nil:
			n.post(*ev)
			said = true
		}
		if err := n.cfg.Sched.Sleep(ctx, poll); err != nil {
			return fmt.Errorf("fence %s: %s: %w", name, n.waitingFor(), err)
		}
	}
}

// word is what a person's word about the node called name makes of what we know: the event that proves its death; or
// over, if it is not in; or an error if it lives; or nothing, while more must be seen.
func (c *core) word(name string) (ev *proved, over bool, err error) {
	found := false
	if name == c.name {
		return nil, false, fmt.Errorf("%w: it is this one", ErrNodeLives)
	}
	for j := range c.watch {
		w := &c.watch[j]
		if view.Slot(j) == c.id.Slot || w.slot == nil || w.slot.Name != name {
			continue
		}
		found = true
		switch w.verdict(c.profile) {
		case slotFree, slotDead:
			continue
		case slotAlive:
			return nil, false, fmt.Errorf("%w: slot %d renewed its heartbeat a moment ago", ErrNodeLives, j)
		case slotSuspect:
			p := fence.Proof{Method: methodPerson, Text: "somebody has made sure that it is off", Settle: true}
			if w.proof != nil {
				return nil, false, nil
			}
			return &proved{method: -1, content: w.content, victim: w.owner(view.Slot(j)), proof: p}, false, nil
		}
		return nil, false, nil
	}
	if !found && c.im != nil {
		return nil, false, ErrNoNode
	}
	return nil, found, nil
}
