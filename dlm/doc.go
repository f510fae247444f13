// Package dlm is the lock manager of one volume: it decides, among the nodes of a view, who may use what.
//
// A node holds at most one lock per [Resource], in one [Mode]; whoever shares it inside the node does so above this
// package. A granted lock stays with the node until the node gives it up, which others ask for by a blocking
// callback. PROTOCOL.md has the messages, the phases of a rebuild and the numbered claims; the layers are
//
//	Node      node.go: waiting procedures, clock, transport. No decision is made here.
//	Core      core.go: Step(now, event) → effects, a pure function of its events. Its parts:
//	  user       user.go, cache.go: what this node holds and wants
//	  master     master.go, convert.go: queues of the resources this node decides about
//	  directory  directory.go: who masters the resources of this node's share
//	  rebuild    rebuild.go, lost.go: view changes
//	  session    session.go: exactly once and in order over a transport that is neither
//	wire      the messages
//	tcp       transport of production;  simnet: transport and scheduler of simulations
//
// The first user of a resource becomes its master, so that who works alone in its files needs no message after the
// first. The directory is spread over the members by rendezvous hashing and only knows names of masters.
//
// # Invariants
//
//	D1 Never two incompatible holders at any instant, seen from outside. What a dead node held counts until a view
//	   no longer recovers it.
//	D2 Tokens grow with every grant of a resource, across changes of its master and rebuilds.
//	D3 When faults stop, every request is answered within a bounded time.
//	C3 Every datagram carries epoch and incarnation; those of older epochs and other lives are refused.
//
// They rest on the numbered claims of PROTOCOL.md, of which the first to read are L1 (a master's record is never below
// what a holder has), R6 (at most one master) and R4 (who is not sure to know all about a resource waits).
//
// # Lock order
//
// Node.mu is the only mutex here and is a leaf: it is never held across Transport.Send, OnBlocking or a wait.
// OnBlocking runs without it and may call any method that does not wait.
package dlm
