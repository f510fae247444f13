// Package filedev is a disk that the kernel of this host offers: a block device or a regular file.
//
// I/O goes past the page cache (O_DIRECT), because on a block device that other hosts write too, cached pages go
// stale unseen. Where the filesystem below refuses O_DIRECT for a file (older tmpfs), I/O is buffered and made
// stable by fdatasync; Direct says which it is. A block device is never used buffered unless Options.NoDirect
// asks for it.
//
// What holds:
//
//	1 A write with fua is one pwritev2(RWF_DSYNC); write and fdatasync where I/O is buffered or the kernel does not
//	  know the flag.
//	2 Once fdatasync has failed, every later Flush and fua write of this Device fails too: the kernel reports lost
//	  pages once and calls them clean afterwards, so a second fdatasync that succeeds proves nothing.
//	3 Errors of the medium (EIO, ENODATA, EILSEQ, ...) are blockdev.ErrMedium, a reservation conflict (EBADE) is
//	  blockdev.ErrFenced; both also unwrap to the errno. See classify.
//	4 I/O that was given to the kernel is waited for; a context that ends only stops what has not begun.
//
// Locks. Two kinds of lock live on the inode, on a file descriptor of their own, as open file description locks
// (fcntl(2), F_OFD_SETLK): the kernel frees them when the process dies, however it dies. They are seen by
// processes of THIS HOST ONLY. A block device's locks are those of its inode: processes must open the same
// device node (/dev/sdb and /dev/mapper/x of one disk are different inodes).
//
//   - CompareAndWrite locks the bytes it compares. It is a compare-and-write only if all nodes of the cluster
//     share this host. For regular files that is taken for granted; for block devices, which a SAN may show to
//     other hosts, it fails with errors.ErrUnsupported unless Options.OneHost promises it.
//   - LockByte locks bytes far behind the end of any disk (from 1<<62), as marks of life: a node holds its byte
//     while it runs, and whoever gets that lock has proved it dead.
//
// Lock order: Device.caw before the kernel's range lock; nothing else nests.
package filedev
