// Package fs is the filesystem: it alone joins the format (ondisk), the journal and the lock manager.
//
// # Layers inside the package
//
//	volume.go mount.go          a mounted volume, its life and death (withdraw)
//	lookup create link unlink rename attr file dir ...   the operations, one noun per file
//	inode.go bmap.go dir.go     records, extents, names
//	tree.go                     B+tree over a transaction
//	txn.go alloc.go freelog.go  a transaction with its space
//	glock.go glops.go           cached cluster locks, what each does when it is given away
//	store.go                    what all of them share
//
// # Cluster locks are cache states
//
// A glock is this node's view of one cluster lock. The node keeps the cluster lock after the last local user has
// gone, until another node asks for it.
//
//	cluster mode  metadata cached  dirty metadata  kernel pages, attributes  local users
//	NL            no               no              no                        none
//	PR            yes              no              yes                       shared
//	EX            yes              yes             yes                       shared, write, exclusive
//
// Three ways to use a glock: lockShared (cluster PR or better; many at once), lockWrite (cluster EX; many at once: data
// is overwritten in place, nothing in the record but times changes), lockExcl (cluster EX; alone on this node).
//
// Giving a lock away (demote) is: no local users; dirty times into the record; journal.FlushOwner (commit, write home,
// flush: J2); on the way to NL also kernel caches of that inode and journal.Drop. Only then dlm.Downgrade.
//
// # Lock order
//
//	volume (grow)
//	└ rename                       moving a directory to another parent
//	  └ inode, ascending numbers   all inodes of one operation are known before the first is locked; an operation
//	    │                          that learns of one too late lets go of all and starts again
//	    └ open                     try-lock only, or alone on a procedure of its own
//	      └ slot-private locks     orphan index, deferred frees: never cluster locks, the slot is ours
//	        └ group, ascending     held while a transaction that changes its bitmaps is open
//	          └ mutexes            short, never across I/O or waiting
//
// No cluster lock is waited for while a transaction is open, except that of a group.
package fs
