// Package cluster decides who may write to a volume. The disk decides: slots with heartbeats, a view (epoch) that
// changes by compare-and-swap, a lease that ends by itself. LEASES.md has the times, the protocol step by step and
// the argument why it is safe.
//
// # Parts
//
//	core.go claim.go decide.go recover.go   what to do next: a pure function of looks at the disk
//	prove.go fencing.go registrar.go dog.go proofs of death: which method when, hints, a person's word, the watchdog
//	event.go tales.go teller.go             what is told to people
//	watch.go mark.go                        is the owner of a slot alive, how a death is written down
//	expel.go hear.go reach/                 who must go when the network is cut
//	node.go agent.go                        the shell: Join, Leave; looks, swaps, callbacks
//	renew.go                                the heartbeat, the only writer of our own slot
//	gate.go gated.go                        the lease as a Device: I/O waits, goes on, or fails for good
//	stall.go flights.go                     a data path that hangs while heartbeats get through
//	states.go reason.go status.go           what people see
//	votes_*.go paxos/                       the same where the device has no compare-and-write
//	disk.go                                 reads and swaps of the view block and the slot blocks
//	inuse.go                                for tools that need the volume alone
//
// # Rules
//
//	R1 A slot block changes only by a swap of exactly what was seen. Its owner renews it so, others mark it dead so:
//	   of a renewal and a mark of death only one can succeed. Without compare-and-write V4-V7 stand for it.
//	R2 A mark of death needs a proof by a method of package fence, given about exactly the content that the mark
//	   replaces: the host's lock of the slot open, the block unchanged for W = L + D + g, or the node switched off.
//	R3 A node takes the lock of its slot before it claims the slot and gives it back after its last write is over.
//	R4 A life is in the view from before it opens its journal until its journal is closed or replayed: as a member, and
//	   then in Recovering. So a journal may be dirty only if the view speaks of its slot.
//	R5 A journal is replayed only by who owns its slot block: the next life of the slot, or the recoverer that the mark
//	   of death names (J3).
//	R6 A write passes the gate only while the lease has room for it, the lease counted from the start of the last renewal
//	   that counts. Views and slots of others are changed only under such a lease.
//	R7 Only one node at a time joins an empty view; others wait until it has brought home all journals.
//
// # Lock order
//
//	Node.mu └ renewer.mu └ wakeup.mu, stateKeeper.mu, Gate.mu, Node.hearMu: all short, never across I/O or waiting
//
// # Duties of the caller
//
//  1. Give Config.Dev a file descriptor of its own; put every other device of the node behind Gate.Wrap.
//  2. In Replay use the gate that is given, for all writes.
//  3. After Join open the journal with the incarnation of ID, and install View in the lock manager.
//  4. Before Leave give up all locks and close the journal.
//  5. When OnState says withdrawn, stop: all I/O fails from then on, the node cannot come back. Join anew.
package cluster
