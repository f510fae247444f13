// Package journal is the metadata cache and the write-ahead log of one node. It knows blocks and an opaque number,
// the owner, under which they are flushed and forgotten together; it knows neither locks nor inodes.
//
// A cached block is an immutable byte slice. A transaction is a private set of new versions that become visible all
// at once: abort costs nothing, readers never see half an operation, and a commit needs no frozen copies.
//
//	Begin → Read, Write, Update, Free → Publish     visible to this node
//	      → commit of the group (Sync, CommitEvery)  durable in the log
//	      → checkpoint or FlushOwner                 home
//
// Published transactions gather in the running group. A commit seals it, writes it to the ring with its commit block
// and flushes once for all who wait; meanwhile the next group gathers. RECOVERY.md has the states on disk, what each
// flush is for, and the numbered invariants J1 to J9 that comments here refer to.
//
// # Duties of the caller
//
//  1. It is the only writer of what it writes, and a rightful reader of what it reads. Transactions that only Update a
//     block may do so at once.
//  2. Before another node may touch an owner's blocks: no more publishes, FlushOwner, Drop.
//  3. A block is freed in the same transaction as, or an earlier one than, the change that lets others take it. What is
//     freed is not read again, and becomes file data only after OnDurable.
//  4. Whoever takes a block has read what records that it is free, or ObserveLSN. So the clock of the new life
//     of a block is ahead of the old one, and replay may compare LSNs.
//  5. FlushOwner flushes only what the journal wrote. File data needs Ordered or Barrier.
//
// # Locks
//
// One mutex, Journal.mu, guards cache, groups and counters. It is never held across I/O or waiting; functions called
// xLocked need it. Functions given to Update and Config.Epoch must not call the journal. Procedures run only while
// there is work: commit, checkpoint, writers, and one that runs OnDurable. Who waits for many things waits for
// Journal.changed and looks again; nothing that a checkpoint waits for waits for a commit.
package journal
