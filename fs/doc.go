// Package fs is the filesystem: it alone joins the format (ondisk), the journal and the lock manager.
//
// # Layers inside the package
//
//	volume.go workers.go        a mounted volume, its life and death (withdraw)
//	namei create link unlink rename attr file read write truncate allocate ...   the operations, one noun per file
//	orphan.go known.go          deleted inodes, and what still refers to them
//	inode.go bmap.go dir.go     records, extents, names
//	tree*.go                    B+tree over a transaction
//	txn*.go alloc*.go group.go freelog.go space.go   a transaction with its space
//	glock*.go locktable.go      cached cluster locks: use, taking turns, giving away
//	glops.go                    what each kind of lock does when it is given away
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
// Three ways to use a glock: useShared (cluster PR or better; many at once), useWrite (cluster EX; many at once: data
// is overwritten in place, nothing in the record but times changes), useExcl (cluster EX; alone on this node).
//
// Giving a lock away (demote) is: no local users; dirty times into the record; journal.FlushOwner (commit, write home,
// flush: J2); on the way to NL also kernel caches of that inode and journal.Drop. Only then dlm.Downgrade.
//
// # Lock order
//
//	rename                         moving an entry to another directory
//	└ inode, ascending numbers     all inodes of one operation are known before the first is locked; an operation
//	  │                            that learns of one too late lets go of all and starts again
//	  ├ open                       waited for while a glock of the inode is given away, and by reclaim with nothing else
//	  │                            held; under the inode reclaim only tries
//	  ├ volume                     to format groups; a leaf
//	  └ group, ascending           held while a transaction that changes its bitmaps is open
//	    └ index of orphans         sched.Lock, the slot's own; from the look until the transaction is published
//	      └ free log               sched.Lock; nobody waits for a group under it
//	        └ mutexes              short, never across I/O or waiting
//
// No cluster lock is waited for while a transaction is open, except that of a group.
package fs
