// Package bazil is the portable transport of fusefs: /dev/fuse through bazil.org/fuse, with a worker pool of its own
// on fuse.Conn.
//
// # Workers
//
// A worker reads a request, sees to it that another one is reading, serves the request to its end and goes back to
// reading. So nothing is handed from goroutine to goroutine while requests are short, and a request that waits for
// a cluster lock costs one more worker, up to Options.MaxWorkers. Workers that find enough others idle end.
//
// # Replies
//
// Only the framing of replies is left to bazil.org/fuse, bodies come from fusefs: the library's own attributes know
// no sticky bit, its directory entries no cookies. fuse.ReadRequest answers with any bytes, and a Header is all it
// needs, so every request is answered as if it were a READ.
//
// # What the transport cannot do
//
// Requests and replies above 128 KiB, READDIRPLUS, SEEK_HOLE, renameat2 flags (EINVAL), birth times, O_TMPFILE
// (EOPNOTSUPP), shared writable mappings (ENODEV; private ones and shared read-only ones of files opened read-only
// work). Extended attributes are refused with EOPNOTSUPP until the volume has them. flock and fcntl locks are the
// kernel's and hold on one node only.
package bazil
