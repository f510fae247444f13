// Package fusefs serves a filesystem to the Linux kernel through FUSE, whatever the transport.
//
//	kernel ── transport (bazil: /dev/fuse) ── Request/Reply ── Server ── Filesystem (fs.Volume)
//	                                        ◄─ Kernel ───────── fs.Notifier ◄─┘
//
// A transport reads requests, decodes them into a Request and calls Server.Handle, as many at a time as there are.
// Handle answers through Reply with bodies already in the form of the protocol; READ data is read straight into the
// transport's buffer, WRITE data comes from it. memfs is a Filesystem in memory for tests, of one node or several.
//
// # Invariants
//
//  1. A reply that lets the kernel cache something is written inside emit, while the cluster lock is held that makes
//     it true. The lock cannot be given away before emit returns, so the invalidation that goes with it comes later.
//  2. The kernel is never told of an inode that the node table does not count, and what the table counts ends with
//     FORGET or with the connection.
//  3. A handle's number is given once. Used after its release it is EBADF, not another file.
//  4. Every request is answered exactly once, panics included.
//
// # What the kernel caches
//
//	what            where it is told          valid                      dropped by
//	names           LOOKUP and the like       never                      -
//	absent names    ENOENT                    never                      -
//	attributes      LOOKUP, GETATTR           Config.AttrValid (1 h)     InvalidateAttr, InvalidateData
//	attributes      all others                never (trap 3)             -
//	pages           files opened read-only    across opens, KEEP_CACHE   InvalidateData, writes on this node
//	directories     READDIR                   never                      -
//	link targets    READLINK                  never                      -
//
// Files opened for writing, or with O_DIRECT, bypass the page cache (FOPEN_DIRECT_IO). So the kernel never holds dirty
// pages, and giving a lock away needs no writing back from there. The price: a shared mapping of such a file fails with
// ENODEV (Linux can allow it only with FUSE_DIRECT_IO_ALLOW_MMAP, 6.6, INIT flag 36, which not every transport
// can set); private mappings work. Files opened read-only may be mapped either way, and follow writes on any node.
//
// With O_APPEND the kernel computes the offset from the size it believes in; Filesystem ignores that offset, and the
// kernel's attributes are invalidated after the write. Asynchronous O_DIRECT reads beyond the size the kernel last
// heard of are answered by the kernel with nothing until somebody asks for the attributes.
//
// # Traps, and how each is avoided
//
//  1. Pages stay locked while the READ that fills them is on its way, and an invalidation of pages waits for these
//     locks. Were that READ to wait for the demotion that invalidates, neither would end. Request.Page marks such
//     READs, Filesystem serves them during the demotion (and makes another pass over the pages if there was one),
//     and a transport always keeps somebody reading requests.
//  2. FUSE_NOTIFY_INVAL_ENTRY takes the directory's i_rwsem, which the kernel holds during CREATE, UNLINK, RENAME and
//     a LOOKUP that waits for us. With two nodes in one directory that is a lock inversion across the cluster.
//     It is not used: names are not cached at all.
//  3. The kernel compares the age of what LOOKUP and GETATTR tell with the last invalidation, but not what CREATE,
//     MKNOD, MKDIR, SYMLINK and LINK tell, and SETATTR only since Linux 6.14. An invalidation may overtake the
//     process that was answered, which would then believe old attributes for an hour. Those replies carry attributes
//     that are not valid beyond them.
//  4. The inode of a LOOKUP appears in the kernel only when the process that asked takes up the answer. An invalidation
//     before that finds nothing to invalidate (ENOENT), and the attributes of the answer would then be believed. The
//     node table knows that the kernel has been told, and the invalidation is repeated until it finds the inode or
//     the kernel forgets it. An inode that is forgotten and looked up again within the same instant is safe since
//     Linux 6.13 (evict_ctr).
//  5. The kernel sends at most max_background asynchronous requests at a time, read-ahead and asynchronous direct I/O
//     alike, in one queue. If a demotion holds up that many direct requests (a VM's disk), READs of pages queue behind
//     them in the kernel while the invalidation waits for their pages: trap 1 again, with nobody to serve the
//     READ. max_background and the number of requests served at a time must be well above what can be in flight
//     on one file; transports set them to thousands.
//  6. A process that serves a mount and uses it, too, can stop itself: the Go runtime adds every file it opens to epoll
//     in a system call during which it keeps its processor (transports refuse POLL once while mounting, after which
//     the kernel asks no more), and a page fault in a mapping of the mount keeps it always. Do not map files of
//     one's own mount.
//  7. Before Linux 6.18 a write with FOPEN_DIRECT_IO dropped cached pages of its range before it was sent but not after
//     it was done, so that a reader in between cached old data for good; and never at the place where an O_APPEND write
//     really went. The Server repeats the invalidation before it answers such a write, if pages may be cached
//     at all. Nothing that holds a page lock waits for that write.
package fusefs
