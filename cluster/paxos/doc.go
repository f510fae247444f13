// Package paxos agrees on the views of a volume whose device has no compare-and-swap: Disk Paxos (Gafni and Lamport 2003)
// with one disk, on which each slot has a ballot block that its owner alone writes.
//
//	vote.go      one vote by one node, a pure state machine: what to write, given what was read
//	state.go     what the blocks say: the newest view, and whether one is on its way
//	reader.go    reads them
//	register.go  the shell: Propose
//
// # A vote
//
// One vote decides the view of one epoch. A proposer writes its ballot block with a number of its own (phase 1) and reads
// all others. If none has a higher number, it proposes the value of the highest ballot that it has seen, else its own
// (phase 2), writes that and reads all again. If there is still no higher number, the value is decided: nobody can decide
// another, because whoever begins later finds it in the block, and whoever began before sees the higher number.
//
// It then writes the ballot block once more, saying that the value is decided, and last the view block. The first of
// these decided ballots to land is when the view takes effect; the view block is a copy that several nodes write, and a
// late write may bring an older one up again. So the newest view is the highest of the view block and of what the ballots
// call decided (State.View). A ballot carries the view before as long as it proposes nothing. Only a vote in phase 2 over
// a view block that went back hides it: then State.Pending is more than one ahead, nothing that is read counts, and the
// vote must be brought to its end first.
//
// # What the caller promises
//
//	V1 Only the owner of a slot votes with its block, and a life begins to when no write of an earlier one can land.
//	V2 The owner has a lease whenever a write begins, with room for the bound of one I/O (the function leased).
//	V3 Whoever acts on a view has read it by Reader.Read, and counts only a State that is Clear.
//
// # What follows from a write whose outcome is not known
//
// It may land until D + g after it was given up. Propose waits for that before it writes again, reads its own block and
// goes on from what is there, so that an old promise cannot come up after a newer one. A block that is not what its
// owner wrote ends the vote.
//
// A torn block may hide a promise or a proposal. It counts as none once it has been the same for W: whoever wrote it has
// no lease any more or has given the vote up, and what it proposed had no effect, or the view block shows it.
package paxos
