package bazil

import (
	"path/filepath"
	"syscall"
	"time"

	"bazil.org/fuse"
	"golang.org/x/sys/unix"
)

// A Go program registers every file it opens with epoll, in a system call that the runtime believes not to block, but
// which on FUSE sends POLL and waits. If the program is the server itself, and that was its only processor, nobody
// answers (trap 6). So the first POLL, whose ENOSYS makes the kernel send no more, is provoked while mounting, on
// a file that exists only meanwhile.
const (
	probeName = ".covol-poll-probe"
	probeNode = fuse.NodeID(1<<63 - 1) // never an inode: a block beyond any device
)

func (m *Mount) probe() error {
	m.probing.Store(true)
	defer m.probing.Store(false)
	fd, err := unix.Open(filepath.Join(m.dir, probeName), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for {
		_, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		if err != unix.EINTR {
			return err
		}
	}
}

// serveProbe answers requests about the probe file and reports whether req was one.
func (m *Mount) serveProbe(req fuse.Request) bool {
	attr := fuse.Attr{Valid: time.Minute, Inode: uint64(probeNode), Mode: 0o444, Nlink: 1}
	if r, ok := req.(*fuse.LookupRequest); ok && r.Node == fuse.RootID && r.Name == probeName {
		r.Respond(&fuse.LookupResponse{Node: probeNode, Attr: attr})
		return true
	}
	if req.Hdr().Node != probeNode {
		return false
	}
	switch r := req.(type) {
	case *fuse.GetattrRequest:
		r.Respond(&fuse.GetattrResponse{Attr: attr})
	case *fuse.OpenRequest:
		r.Respond(&fuse.OpenResponse{})
	case *fuse.ReleaseRequest:
		r.Respond()
	case *fuse.ForgetRequest:
		r.Respond()
	default:
		req.RespondError(syscall.ENOSYS)
	}
	return true
}
