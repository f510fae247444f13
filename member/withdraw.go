package member

import (
	"errors"
	"fmt"

	"github.com/covol/covol/cluster"
)

// ErrKilled is why a node has withdrawn after Kill.
var ErrKilled = errors.New("killed")

// onState passes the loss of the lease on to the filesystem.
func (n *Node) onState(s cluster.State, r cluster.Reason) {
	if s.Lost() {
		n.lose(fmt.Errorf("withdrawn from the cluster: %s", r))
	}
	n.cfg.OnState(s, r)
}

// lose ends all use of the volume. Only the first reason counts. It does not block.
func (n *Node) lose(err error) {
	n.mu.Lock()
	if n.lost == nil {
		n.lost = err
	}
	vol, locks := n.vol, n.locks
	n.mu.Unlock()
	if vol != nil {
		vol.Withdraw(err) // calls volumeWithdrew
	}
	if locks != nil {
		locks.Stop() // also ends a mount that waits for locks
	}
}

// volumeWithdrew makes the withdrawal of the filesystem one of the node (W3), and tells its owner once.
func (n *Node) volumeWithdrew(err error) {
	n.mu.Lock()
	if n.lost == nil {
		n.lost = err
	}
	n.mu.Unlock()
	// On a procedure of its own: we may be within a callback of the cluster.
	n.cfg.Sched.Go("member withdraw", func() {
		n.mem.Load().Kill()
		n.LockManager().Stop()
	})
	n.told.Do(func() { n.cfg.OnWithdraw(err) })
}

// Kill stops the node without leaving, as its death would: everything that comes fails, the others find out. It does
// not block; Done tells when the devices are not used any more.
func (n *Node) Kill() {
	n.lose(ErrKilled)
	n.mem.Load().Kill()
	n.closeNetwork()
}

func (n *Node) closeNetwork() {
	n.mu.Lock()
	net, control := n.net, n.control
	n.mu.Unlock()
	if net != nil {
		_ = net.Close()
		_ = control.Close()
	}
}
