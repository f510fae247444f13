package fs

import (
	"context"
	"time"
)

// Ino is the number of an inode: the block of its record. It is the same on every node.
type Ino = uint64

// Attr is what stat(2) tells of an inode.
type Attr struct {
	Ino                        Ino
	Generation                 uint64
	Size                       uint64 // bytes
	Blocks                     uint64 // 512-byte units allocated
	Mode                       uint32 // type and permissions, as in st_mode
	Nlink                      uint32
	UID, GID                   uint32
	Rdev                       uint32
	BlkSize                    uint32
	Atime, Mtime, Ctime, Btime time.Time
}

// Caller is the process on whose behalf an operation runs.
type Caller struct {
	UID, GID, PID uint32
	Umask         uint32
}

// SetAttr says which attributes to change and to what. Nil means unchanged.
type SetAttr struct {
	Mode         *uint32 // permission bits only
	UID, GID     *uint32
	Size         *uint64
	Atime, Mtime *time.Time
	Ctime        *time.Time // nil: now
}

// DirEntry is one name of a directory as readdir tells it.
type DirEntry struct {
	Ino    Ino
	Type   uint8 // DT_* of dirent(3)
	Name   string
	Cookie uint64 // reading goes on behind this entry when given back; stable across nodes and remounts
}

// Statfs is what statfs(2) tells of the volume.
type Statfs struct {
	BlockSize   uint32 // bytes; the cluster
	Blocks      uint64
	Free        uint64
	Files       uint64
	FreeFiles   uint64
	NameMax     uint32
	VolumeUUID  [16]byte
	VolumeLabel string
}

// Flags of Rename, as in renameat2(2).
const (
	RenameNoReplace uint32 = 1
	RenameExchange  uint32 = 2
)

// Notifier tells the kernel to forget what it caches. The transport implements it. Calls come from demotions, never
// from within an operation, and may block until requests that are in flight have been answered.
type Notifier interface {
	// InvalidateAttr forgets the attributes of an inode. It must not wait for requests in flight.
	InvalidateAttr(ino Ino) error
	// InvalidateData forgets the cached pages of an inode, all of them, and its attributes. It may wait for reads of
	// that inode that are in flight; the volume goes on answering them meanwhile.
	InvalidateData(ino Ino) error
}

// File is an open file. Methods may be called concurrently, Release last.
type File interface {
	// Read fills p from off and calls emit once with how many bytes it filled, less than len(p) only at the end of the
	// file, while the cluster lock is held. page says that the kernel reads into its page cache: such reads are served
	// even while a demotion is emptying that cache, because the kernel holds the pages locked until it is answered.
	Read(ctx context.Context, p []byte, off int64, page bool, emit func(n int)) error
	// Write writes all of p at off, or at the end of the file if it was opened with O_APPEND. n < len(p) only with an
	// error.
	Write(ctx context.Context, p []byte, off int64) (n int, err error)
	// Sync makes all that was written to the file, by anyone on this node, stable. dataOnly leaves out times.
	Sync(ctx context.Context, dataOnly bool) error
	// Allocate is fallocate(2) with its mode bits.
	Allocate(ctx context.Context, mode uint32, off, length int64) error
	// Release closes the file.
	Release(ctx context.Context) error
}

// Dir is an open directory.
type Dir interface {
	// Read calls emit for the entries behind cookie, "." and ".." first, until emit returns false (that entry does not
	// count as read) or the directory ends. emit is called under the directory's lock and must not wait.
	Read(ctx context.Context, cookie uint64, emit func(DirEntry) bool) error
	// Sync makes the directory's changes stable.
	Sync(ctx context.Context) error
	// Release closes the directory.
	Release()
}
