package member

import (
	"fmt"
	"slices"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/dlm"
)

// The control messages.
var (
	msgLook = []byte{1} // look at the view block now
	msgHere = []byte{2} // a sign of life
)

// onView installs a view, and with the first one starts the lock manager.
func (n *Node) onView(v view.View) {
	n.epoch.Store(uint64(v.Epoch))
	locks, err := n.locksIn(v)
	if err != nil {
		n.cfg.Log.Error("start lock manager", "err", err)
		n.lose(err)
		return
	}
	n.mu.Lock()
	control := n.control
	n.mu.Unlock()
	control.SetMembers(v.Members)
	n.cfg.OnView(v)
	locks.SetView(v)
}

// locksIn is the lock manager; the first call starts it as the member of v that has our name and address.
func (n *Node) locksIn(v view.View) (*dlm.Node, error) {
	if locks := n.LockManager(); locks != nil {
		return locks, nil
	}
	for _, m := range v.Members {
		if m.Name == n.cfg.Name && m.Addr == n.cfg.Addr {
			return n.startLocks(m.NodeID)
		}
	}
	return nil, fmt.Errorf("the view of epoch %d does not list %s at %s", v.Epoch, n.cfg.Name, n.cfg.Addr)
}

func (n *Node) startLocks(self view.NodeID) (*dlm.Node, error) {
	net, control, err := n.cfg.Network(self, n.Refresh)
	if err != nil {
		return nil, fmt.Errorf("network: %w", err)
	}
	control.Handle(n.heard)
	locks := dlm.NewNode(dlm.Config{ID: self, Sched: n.cfg.Sched, Transport: net, Log: n.cfg.Log, OnBlocking: n.demand})
	n.mu.Lock()
	n.locks, n.net, n.control = locks, net, control
	lost := n.lost
	n.mu.Unlock()
	if lost != nil {
		locks.Stop()
	}
	return locks, nil
}

// heard takes in a control message.
func (n *Node) heard(from view.Slot, msg []byte) {
	if mem := n.mem.Load(); mem != nil {
		mem.Heard(from)
	}
	if string(msg) == string(msgLook) {
		n.Refresh()
	}
}

// poke tells members to look at the view now.
func (n *Node) poke(members []view.Member) { n.sendAll(members, msgLook) }

// greet shows members that the network between us works.
func (n *Node) greet(members []view.Member) { n.sendAll(members, msgHere) }

func (n *Node) sendAll(members []view.Member, msg []byte) {
	n.mu.Lock()
	control := n.control
	n.mu.Unlock()
	if control == nil {
		return
	}
	for _, m := range members {
		control.Send(m.Slot, slices.Clone(msg)) // the transport may keep it
	}
}

type demand struct {
	res  dlm.Resource
	want dlm.Mode
}

// demand is the blocking callback of the lock manager (W1).
func (n *Node) demand(r dlm.Resource, want dlm.Mode) {
	n.mu.Lock()
	vol := n.vol
	if vol == nil {
		n.early = append(n.early, demand{r, want})
	}
	n.mu.Unlock()
	if vol != nil {
		vol.Demand(r, want)
	}
}
