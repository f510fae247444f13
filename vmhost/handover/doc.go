// Package handover decides which node runs a virtual machine: when it moves while it runs, when a move fails at any step,
// and when its node dies. One record per VM, changed by compare-and-swap only, is the only judge.
//
//	RUNNING(S,e) ──swap by S──► MIGRATING(S→T,e)        at the start, outside the down time
//	  S copies memory; T has the VM built and its disks opened, but writes nothing and runs nothing
//	  S stops: vCPUs paused, I/O over and flushed, disks given up
//	  S ──last pages, state, GO(e)──► T
//	T verifies what it has ──swap by T──► RUNNING(T,e+1)                   the commit point
//	  T takes the disks at e+1, runs, tells S; S forgets its copy
//	abort: MIGRATING(S→T,e) ──swap by S──► RUNNING(S,e+1)                  S takes the disks at e+1 and runs
//
// Source and Target are state machines: Step takes an event and returns what is to be done, and nothing else happens.
// Runner lets one of them work with a machine, a network and a store.
//
// # Invariants
//
//	H1 A node runs the VM, and writes to its disks, only at an epoch at which the record has named it RUNNING. A source
//	   goes on at e while the record says MIGRATING(S→T,e), until it has stopped.
//	H2 The source has given up the disks before GO leaves, and takes them again only after a swap of its own.
//	H3 The target swaps only after GO and after it has verified state and memory. GO of another epoch is refused.
//	H4 Every swap that names somebody RUNNING raises the epoch. So an old GO, and an old answer, are worth nothing.
//	H5 Whoever does not know how a swap ended reads until it knows, and neither runs nor writes meanwhile, unless the
//	   record cannot name anybody else.
//	H6 While a side lives that may run the VM, and the store can be reached, somebody runs it in bounded time.
//
// # What fails, and what comes of it
//
//	T dies, or cannot be reached, before GO     S swaps back and goes on
//	S dies before GO                            T forgets its copy; Takeover, when S is proven dead
//	GO is sent and lost                         S waits, swaps back, goes on
//	GO arrives, the answer is lost              T runs; S reads the record and forgets its copy
//	S dies after GO                             T runs
//	T dies after GO, before its swap            S waits, swaps back, goes on
//	T dies after its swap                       S must not run; Takeover, when T is proven dead
//	an answer of the store is lost              read again; H5
//	the store cannot be reached                 both wait; later one of them swaps first
//	S cannot flush                              no GO; S swaps back; what then happens is the disks' matter
//	T cannot take the disks                     T tries again; then MIGRATING(T→S,e+1), and S, which still has its copy,
//	                                            swaps to RUNNING(S,e+2); if it does not, T takes the VM back
package handover
