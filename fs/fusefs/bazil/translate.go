package bazil

import (
	"os"

	"bazil.org/fuse"
	"golang.org/x/sys/unix"

	"github.com/covol/covol/fs"
	"github.com/covol/covol/fs/fusefs"
)

// translate makes a neutral request of one of the library's; false if the server has no use for it. The result shares
// WRITE data with r.
func translate(r fuse.Request) (fusefs.Request, bool) {
	h := r.Hdr()
	q := fusefs.Request{ID: uint64(h.ID), Node: uint64(h.Node), Caller: fs.Caller{UID: h.Uid, GID: h.Gid, PID: h.Pid}}
	ok := translateName(&q, r) || translateFile(&q, r) || translateRest(&q, r)
	return q, ok
}

// translateName fills in requests about names.
func translateName(q *fusefs.Request, r fuse.Request) bool {
	switch r := r.(type) {
	case *fuse.LookupRequest:
		q.Op, q.Name = fusefs.OpLookup, r.Name
	case *fuse.MknodRequest:
		q.Op, q.Name, q.Mode, q.Rdev = fusefs.OpMknod, r.Name, unixMode(r.Mode), r.Rdev
		q.Caller.Umask = uint32(r.Umask)
	case *fuse.MkdirRequest:
		q.Op, q.Name, q.Mode = fusefs.OpMkdir, r.Name, unixMode(r.Mode)
		q.Caller.Umask = uint32(r.Umask)
	case *fuse.CreateRequest:
		q.Op, q.Name, q.Mode, q.Flags = fusefs.OpCreate, r.Name, unixMode(r.Mode), uint32(r.Flags)
		q.Caller.Umask = uint32(r.Umask)
	case *fuse.SymlinkRequest:
		q.Op, q.Name, q.Target = fusefs.OpSymlink, r.NewName, r.Target
	case *fuse.LinkRequest:
		q.Op, q.Name, q.NewNode = fusefs.OpLink, r.NewName, uint64(r.OldNode)
	case *fuse.RemoveRequest:
		q.Op, q.Name = fusefs.OpUnlink, r.Name
		if r.Dir {
			q.Op = fusefs.OpRmdir
		}
	case *fuse.RenameRequest:
		q.Op, q.Name, q.NewNode, q.NewName = fusefs.OpRename, r.OldName, uint64(r.NewDir), r.NewName
	default:
		return false
	}
	return true
}

// translateFile fills in requests about open files and directories.
func translateFile(q *fusefs.Request, r fuse.Request) bool {
	dir := false
	switch r := r.(type) {
	case *fuse.OpenRequest:
		q.Op, q.Flags, dir = fusefs.OpOpen, uint32(r.Flags), r.Dir
	case *fuse.ReadRequest:
		q.Op, q.Handle, q.Offset, q.Length = fusefs.OpRead, uint64(r.Handle), r.Offset, int64(r.Size)
		q.Page, dir = r.Flags&fuse.ReadLockOwner == 0, r.Dir
	case *fuse.WriteRequest:
		q.Op, q.Handle, q.Offset, q.Data = fusefs.OpWrite, uint64(r.Handle), r.Offset, r.Data
	case *fuse.FsyncRequest:
		q.Op, q.Handle, q.Flags, dir = fusefs.OpFsync, uint64(r.Handle), r.Flags, r.Dir
	case *fuse.FAllocateRequest:
		q.Op, q.Handle, q.Flags = fusefs.OpFallocate, uint64(r.Handle), uint32(r.Mode)
		q.Offset, q.Length = int64(r.Offset), int64(r.Length)
	case *fuse.ReleaseRequest:
		q.Op, q.Handle, dir = fusefs.OpRelease, uint64(r.Handle), r.Dir
	default:
		return false
	}
	if dir {
		q.Op = ofDir(q.Op)
	}
	return true
}

// ofDir is the operation on a directory that the library folds into the one on files.
func ofDir(op fusefs.Op) fusefs.Op {
	switch op {
	case fusefs.OpOpen:
		return fusefs.OpOpendir
	case fusefs.OpRead:
		return fusefs.OpReaddir
	case fusefs.OpFsync:
		return fusefs.OpFsyncdir
	case fusefs.OpRelease:
		return fusefs.OpReleasedir
	}
	return op
}

// translateRest fills in what is left.
func translateRest(q *fusefs.Request, r fuse.Request) bool {
	switch r := r.(type) {
	case *fuse.GetattrRequest:
		q.Op = fusefs.OpGetattr
	case *fuse.SetattrRequest:
		q.Op, q.Valid, q.Handle = fusefs.OpSetattr, uint32(r.Valid), uint64(r.Handle)
		q.Mode, q.UID, q.GID, q.Size = unixMode(r.Mode), r.Uid, r.Gid, r.Size
		q.Atime, q.Mtime, q.Ctime = r.Atime, r.Mtime, r.Ctime
	case *fuse.ReadlinkRequest:
		q.Op = fusefs.OpReadlink
	case *fuse.StatfsRequest:
		q.Op = fusefs.OpStatfs
	case *fuse.ForgetRequest:
		q.Op, q.Forget = fusefs.OpForget, []fusefs.Forget{{Node: q.Node, N: r.N}}
	case *fuse.BatchForgetRequest:
		q.Op = fusefs.OpBatchForget
		for _, f := range r.Forget {
			q.Forget = append(q.Forget, fusefs.Forget{Node: uint64(f.NodeID), N: f.N})
		}
	case *fuse.InterruptRequest:
		q.Op, q.Interrupted = fusefs.OpInterrupt, uint64(r.IntrID)
	case *fuse.DestroyRequest:
		q.Op = fusefs.OpDestroy
	default:
		return false
	}
	return true
}

// unixMode undoes the library's translation of st_mode.
func unixMode(m os.FileMode) uint32 {
	mode := uint32(m.Perm())
	switch {
	case m&os.ModeIrregular != 0: // the kernel sent no type
	case m&os.ModeDir != 0:
		mode |= unix.S_IFDIR
	case m&os.ModeCharDevice != 0:
		mode |= unix.S_IFCHR
	case m&os.ModeDevice != 0:
		mode |= unix.S_IFBLK
	case m&os.ModeNamedPipe != 0:
		mode |= unix.S_IFIFO
	case m&os.ModeSymlink != 0:
		mode |= unix.S_IFLNK
	case m&os.ModeSocket != 0:
		mode |= unix.S_IFSOCK
	default:
		mode |= unix.S_IFREG
	}
	if m&os.ModeSetuid != 0 {
		mode |= unix.S_ISUID
	}
	if m&os.ModeSetgid != 0 {
		mode |= unix.S_ISGID
	}
	if m&os.ModeSticky != 0 {
		mode |= unix.S_ISVTX
	}
	return mode
}
