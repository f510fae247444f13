// Package fence proves nodes dead. A node that wants to declare another one dead asks its methods, best first, and may
// do so only with a proof: nothing that the victim's life has begun, or will begin, lands on the disk any more.
//
// # Methods
//
//	HostLock   the kernel of this host has dropped the lock that the victim held for life. Exact, at once, harmless.
//	Command    a program in the manner of fence-agents has switched the victim off.
//	Lease      the victim's heartbeat has not changed for W: its own lease has ended. Always possible, never at once.
//	a person   somebody who has looked says so (Node.Fence of package cluster); not a Method, nobody asks him.
//
// A reservation at the storage (package reservation) is a Method and a Registrar: its Prove first makes sure that the victim cannot write
// (PREEMPT AND ABORT of its key) and then proves it (the key is gone), its Register puts our own key there before the first
// write of a life, and its Check notices that our key is gone.
//
// # Rules
//
//	P1 A proof speaks of one life, and counts only as long as the victim's heartbeat block is as it was when the method
//	   was asked. So a method that is wrong about a victim that still renews does no harm.
//	P2 A method that acts on the victim (Forces) is asked only when the victim's lease has run out, or it was expelled,
//	   only by a node whose own lease holds, never about a node of the same name or host, and only after all methods before it said no.
//	P3 A proof that does not reach into the storage (Settle) counts only D later: what the victim had sent may land so
//	   long, as everywhere.
//	P4 Proofs may come twice and from several nodes at once; a method must bear that.
//
// # Fence commands
//
// The conventions are those of the fence-agents: the program gets its options on standard input, one key=value a line, and
// its exit status is the answer: 0 means that the node is off and stays so until somebody acts; anything else that it
// may live. It gets
//
//	action=off
//	nodename=NAME
//	port=NAME
//
// NAME is what the victim was mounted with (covol mount --node), then the lines of Command.Options. What it prints goes
// to the log, shortened. A program that is not done in time is killed with all that it started, and that is a no.
package fence
