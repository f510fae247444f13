package fusefs

import (
	"syscall"
	"time"

	"github.com/covol/covol/fs"
)

// Op is a FUSE opcode, numbered as in the protocol.
type Op uint32

// The operations a Server knows. Everything else is answered with ENOSYS, upon which the kernel does without.
const (
	OpLookup      Op = 1
	OpForget      Op = 2
	OpGetattr     Op = 3
	OpSetattr     Op = 4
	OpReadlink    Op = 5
	OpSymlink     Op = 6
	OpMknod       Op = 8
	OpMkdir       Op = 9
	OpUnlink      Op = 10
	OpRmdir       Op = 11
	OpRename      Op = 12
	OpLink        Op = 13
	OpOpen        Op = 14
	OpRead        Op = 15
	OpWrite       Op = 16
	OpStatfs      Op = 17
	OpRelease     Op = 18
	OpFsync       Op = 20
	OpOpendir     Op = 27
	OpReaddir     Op = 28
	OpReleasedir  Op = 29
	OpFsyncdir    Op = 30
	OpCreate      Op = 35
	OpInterrupt   Op = 36
	OpDestroy     Op = 38
	OpBatchForget Op = 42
	OpFallocate   Op = 43
	OpRename2     Op = 45
)

// Bits of Request.Valid, as FATTR_* of the protocol.
const (
	SetMode     uint32 = 1 << 0
	SetUID      uint32 = 1 << 1
	SetGID      uint32 = 1 << 2
	SetSize     uint32 = 1 << 3
	SetAtime    uint32 = 1 << 4
	SetMtime    uint32 = 1 << 5
	SetAtimeNow uint32 = 1 << 7
	SetMtimeNow uint32 = 1 << 8
	SetCtime    uint32 = 1 << 10
)

// RootNode is the node number by which the kernel knows the root directory.
const RootNode uint64 = 1

// Request is one request of the kernel. A transport fills in what the operation has and leaves the rest zero; it may
// use the Request and what it points to again once Handle has returned.
type Request struct {
	Op     Op
	ID     uint64 // fuse_in_header.unique
	Node   uint64 // the node the operation is about; LINK: the new directory
	Caller fs.Caller

	Name    string // the name in Node; LINK, SYMLINK: the new name
	NewName string // RENAME: name in NewNode
	Target  string // SYMLINK
	NewNode uint64 // RENAME: the new directory; LINK: the node that gets the name

	Handle uint64 // READ, WRITE, RELEASE, FSYNC, FALLOCATE and the same for directories
	Offset int64  // READ, WRITE, FALLOCATE: bytes; READDIR: the cookie
	Length int64  // READ, READDIR: size of the reply at most; FALLOCATE
	Data   []byte // WRITE
	// Page says that a READ fills the page cache, with the pages locked until it is answered. The kernel leaves out
	// FUSE_READ_LOCKOWNER in such requests and in no others. (Open flags do not tell: a private mapping of a file
	// opened with FOPEN_DIRECT_IO is filled through the page cache, too.)
	Page bool

	Flags uint32 // OPEN, CREATE: of open(2); RENAME2: of renameat2(2); FSYNC: bit 0 is datasync; FALLOCATE: mode
	Mode  uint32 // MKNOD, MKDIR, CREATE, SETATTR: as in st_mode
	Rdev  uint32 // MKNOD

	Valid               uint32 // SETATTR: Set* bits
	UID, GID            uint32 // SETATTR
	Size                uint64 // SETATTR
	Atime, Mtime, Ctime time.Time

	Interrupted uint64   // INTERRUPT: ID of the request to be interrupted
	Forget      []Forget // FORGET, BATCH_FORGET
}

// Forget takes back N references to Node.
type Forget struct{ Node, N uint64 }

// Reply answers one Request. Exactly one of Error, Body, Data and None is called, once, by any goroutine, often before
// Handle returns: the answer must be on its way to the kernel when the method returns, since the caller holds cluster
// locks meanwhile and may lose them afterwards (invariant 1).
type Reply interface {
	// Error answers with an errno; 0 is success without a body.
	Error(e syscall.Errno)
	// Body answers with what follows fuse_out_header. p is the caller's again afterwards.
	Body(p []byte)
	// Buffer is room for n bytes of a READ or READDIR, in the transport's own memory and page aligned. It stays valid
	// until Handle returns.
	Buffer(n int) []byte
	// Data answers with the first n bytes of Buffer.
	Data(n int)
	// None ends a request to which the protocol has no answer.
	None()
}
