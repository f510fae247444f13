// Package check judges a volume, and repairs it: fsck as a library.
//
// Check walks everything that the volume says of itself and compares it with everything else it says, by reads alone.
// Findings come in the order in which a repair acts on them, with the place, the range and the two numbers that
// disagree.
//
// Repair (repair.go) turns findings into images of blocks (plan*.go, edit.go, salvage.go) in a draft of the volume
// (draft.go), checks the draft, and goes on until it is clean. Then it writes the plan so that it may be interrupted
// anywhere (apply.go, ring.go). What it must remember lies in a Store (store.go), in memory or, for large volumes, in
// what the caller opens.
//
// # Phases
//
//	super      superblock and its copies
//	journals   heads; dirty logs are read and laid over the device in memory
//	fixed      grow block, view, slots, ballots, space blocks
//	names      every directory from the root, every inode that a name leads to
//	system     orphans and deferred frees of every slot
//	groups     headers and bitmaps against what was found in use; records in use without a name are walked too
//	counters   link counts, kept names, free space and inodes of the whole volume
//
// # The log as laid over the device
//
// The log is read by code of its own and not by package journal, which it judges. A record counts where its LSN is
// higher than that of the block on the device, or where the device holds no block of this volume; revokes hide older
// records of the same log. So the volume is judged as it will be after replay, without a write. Of a log only the
// places of its records are kept in memory.
//
// # Invariants
//
//	K1 No goroutine, and no write by Check. Repair writes nothing but replayed journals before a check of its plan
//	   was clean or could not be made cleaner.
//	K2 Any content ends in findings, never in a panic or a loop: a metadata block is descended into once, by the
//	   bitmap of what was claimed; levels fall by one at every step; runs that leave their group are not followed.
//	K3 Memory is one bit per cluster and two per block in groups that hold something, plus an entry per directory
//	   and per file with several names, and at most batchEntries names. Options.MemoryLimit ends the run instead of growing beyond.
//	K4 Every block is claimed by at most one owner. Ranges claimed twice are remembered, and a second walk over all
//	   records names all owners of each.
//	K5 A volume after any crash is clean (F4): what a crash may leave, a torn journal head, prealloced space behind
//	   the end of a file, is of severity info. Torn slot, ballot and view blocks are the exception: they are written
//	   directly, and until their writer comes back they are findings (FORMAT.md).
//	K6 A repair does not lose what it can read: a record that is valid keeps its content or is reported; two files
//	   never share space afterwards; names go back where they were before anything goes to lost+found.
package check
