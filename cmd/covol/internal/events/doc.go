// Package events keeps what has happened to a node: who came, went, died and how that was proven, when I/O paused, why
// the node withdrew. It is for people who ask afterwards; nothing that covol decides depends on it.
//
//	Log (in the mount process) ── pipe ── helper process ── Store (badger, with a time to live)
//	 └ the latest events in memory, followers
//
// The store is opened by a helper, for the moment of one batch or one question, and by nothing else. So the mount process
// does not carry the memory of a database, and what a damaged one does to the process that opens it, a panic
// included, does not happen to a mount.
//
// # Invariants
//
//	E1 Add never blocks and never fails. What the helper does, or does not do, delays nobody but who asks for events.
//	E2 Times of a Log grow with every event: a time names an event of its node.
//	E3 The store numbers events without gaps, and every value has a checksum of its own: badger may lose or spoil some
//	   without a word, and then Read tells of Damage. Missing numbers below the lowest one have expired.
//	E4 A damaged store is rebuilt from what is still readable at the first batch of a mount. One that cannot even be
//	   opened is moved aside, and the events in it are lost.
//
// Events are written in batches, a moment after they happen: a kill -9 may lose the last of them.
package events
