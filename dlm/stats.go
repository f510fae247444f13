package dlm

import "github.com/covol/covol/dlm/wire"

// Stats counts what a node did since it was made.
type Stats struct {
	Sent     [wire.Kinds]uint64 // messages to other nodes, by wire.Kind; repetitions not counted
	Received [wire.Kinds]uint64 // messages from other nodes, by wire.Kind

	LocalGrants  uint64 // requests served without a message: cached, or mastered here
	RemoteGrants uint64 // requests granted by another node
	Blocking     uint64 // blocking callbacks passed on to the user
	ViewChanges  uint64
	Rebuilds     uint64 // rebuilds finished

	Retransmits uint64 // messages sent again
	Refused     uint64 // datagrams of older epochs, other lives and strangers
	Malformed   uint64 // datagrams and messages that could not be decoded
	Unexpected  uint64 // messages that fit no state; always 0 between nodes that keep the protocol
}

// MessagesSent is the sum over Sent.
func (s Stats) MessagesSent() uint64 {
	var n uint64
	for _, k := range s.Sent {
		n += k
	}
	return n
}
