package fusefs

import (
	"encoding/binary"
	"time"

	"github.com/covol/covol/fs"
)

// Sizes of reply bodies, bytes (fuse_kernel.h, protocol 7.23 and later).
const (
	attrSize   = 88
	entrySize  = 40 + attrSize
	openSize   = 16
	statfsSize = 80
	writeSize  = 8
	direntSize = 24 // before the name
)

// Flags of an open reply.
const (
	openDirect         uint32 = 1 << 0 // FOPEN_DIRECT_IO
	openKeepCache      uint32 = 1 << 1 // FOPEN_KEEP_CACHE
	openParallelWrites uint32 = 1 << 6 // FOPEN_PARALLEL_DIRECT_WRITES
)

var le = binary.LittleEndian

// appendEntry appends a fuse_entry_out. The name itself is never valid for longer than the reply (trap 2).
func appendEntry(b []byte, node uint64, a fs.Attr, valid time.Duration) []byte {
	gen := a.Generation
	if node == RootNode {
		gen = 0 // the kernel insists
	}
	b = le.AppendUint64(b, node)
	b = le.AppendUint64(b, gen)
	b = le.AppendUint64(b, 0)
	b = le.AppendUint64(b, uint64(valid/time.Second))
	b = le.AppendUint32(b, 0)
	b = le.AppendUint32(b, uint32(valid%time.Second))
	return appendAttr(b, a)
}

// appendAttrOut appends a fuse_attr_out.
func appendAttrOut(b []byte, a fs.Attr, valid time.Duration) []byte {
	b = le.AppendUint64(b, uint64(valid/time.Second))
	b = le.AppendUint32(b, uint32(valid%time.Second))
	b = le.AppendUint32(b, 0)
	return appendAttr(b, a)
}

func appendAttr(b []byte, a fs.Attr) []byte {
	times := [3]time.Time{a.Atime, a.Mtime, a.Ctime}
	b = le.AppendUint64(b, a.Ino)
	b = le.AppendUint64(b, a.Size)
	b = le.AppendUint64(b, a.Blocks)
	for _, t := range times {
		if t.IsZero() {
			t = time.Unix(0, 0)
		}
		b = le.AppendUint64(b, uint64(t.Unix()))
	}
	for _, t := range times {
		b = le.AppendUint32(b, uint32(t.Nanosecond()))
	}
	for _, v := range [7]uint32{a.Mode, a.Nlink, a.UID, a.GID, a.Rdev, a.BlkSize, 0} {
		b = le.AppendUint32(b, v)
	}
	return b
}

// appendOpen appends a fuse_open_out.
func appendOpen(b []byte, handle uint64, flags uint32) []byte {
	b = le.AppendUint64(b, handle)
	b = le.AppendUint32(b, flags)
	return le.AppendUint32(b, 0)
}

// appendStatfs appends a fuse_statfs_out.
func appendStatfs(b []byte, s fs.Statfs) []byte {
	for _, v := range [5]uint64{s.Blocks, s.Free, s.Free, s.Files, s.FreeFiles} {
		b = le.AppendUint64(b, v)
	}
	b = le.AppendUint32(b, s.BlockSize)
	b = le.AppendUint32(b, s.NameMax)
	b = le.AppendUint32(b, s.BlockSize)
	return append(b, make([]byte, 28)...) // padding, spare
}

// appendWrite appends a fuse_write_out.
func appendWrite(b []byte, n int) []byte {
	b = le.AppendUint32(b, uint32(n))
	return le.AppendUint32(b, 0)
}

// putDirent writes a fuse_dirent to the front of b and returns its length, or 0 if b is too short for it.
func putDirent(b []byte, e fs.DirEntry) int {
	n := (direntSize + len(e.Name) + 7) &^ 7
	if n > len(b) {
		return 0
	}
	le.PutUint64(b, e.Ino)
	le.PutUint64(b[8:], e.Cookie)
	le.PutUint32(b[16:], uint32(len(e.Name)))
	le.PutUint32(b[20:], uint32(e.Type))
	clear(b[direntSize+copy(b[direntSize:], e.Name) : n])
	return n
}
