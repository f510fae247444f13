package dlm

import "github.com/covol/covol/cluster/view"

// Transport carries datagrams between the nodes of one volume. It may lose, repeat, delay and overtake them; it
// must not alter them, and must not attribute them to a slot that did not send them. The lock manager numbers,
// acknowledges and repeats by itself.
type Transport interface {
	// Send hands msg over for the node in slot to and never blocks; what cannot be queued is lost. The
	// transport may keep msg; the caller does not touch it again.
	Send(to view.Slot, msg []byte)
	// Handle names the receiver. It is called once, before the first Send. f must not block; it may be called
	// by several procedures at once and owns msg.
	Handle(f func(from view.Slot, msg []byte))
	// SetMembers tells whom to talk to: connections to others are closed.
	SetMembers([]view.Member)
	// Close ends all; no call of the receiver starts after it returns.
	Close() error
}
