package fusefs

import (
	"errors"
	"fmt"
	"time"

	"github.com/covol/covol/fs"
)

// ErrNotCached is returned by a Kernel that does not know the node.
var ErrNotCached = errors.New("node not known to the kernel")

// Kernel is the way back into the kernel that a transport offers a Server.
type Kernel interface {
	// InvalidateNode is FUSE_NOTIFY_INVAL_INODE: forget the attributes of a node and, unless off is negative, its
	// pages from off on, size of them or all if size is not positive. It may wait for READs in flight if off is not
	// negative. Errors: ErrNotCached; anything else means that the connection is gone, and with it all caches.
	InvalidateNode(node uint64, off, size int64) error
}

var _ fs.Notifier = (*Server)(nil)

// InvalidateAttr makes the kernel forget the attributes of ino. It waits for no request.
func (s *Server) InvalidateAttr(ino fs.Ino) error { return s.invalidate(ino, -1, 0) }

// InvalidateData makes the kernel forget pages and attributes of ino. It waits for READs in flight.
func (s *Server) InvalidateData(ino fs.Ino) error {
	s.nodes.clearPages(ino) // first: a READ from now on marks them again
	return s.invalidate(ino, 0, -1)
}

// Waiting for an inode that is about to appear, trap 4. What is waited for is a process that has its answer and must
// only be given a processor.
const (
	firstPause = 50 * time.Microsecond
	lastPause  = 5 * time.Millisecond
	patience   = time.Second
)

func (s *Server) invalidate(ino fs.Ino, off, size int64) error {
	pause := firstPause
	for waited := time.Duration(0); waited < patience; waited += pause {
		done, err := s.tryInvalidate(ino, off, size)
		if done {
			return err
		}
		time.Sleep(pause)
		pause = min(2*pause, lastPause)
	}
	// That process is frozen. The cluster must not stand still for it: it is caught when it wakes up.
	s.cfg.Log.Warn("fuse: a process does not take its answer; its caches are invalidated later", "node", ino)
	go func() {
		for {
			if done, _ := s.tryInvalidate(ino, off, size); done {
				return
			}
			time.Sleep(lastPause)
		}
	}()
	return nil
}

// tryInvalidate reports done unless the kernel does not know an inode that it has been told of. When the connection has
// ended there is nothing to invalidate.
func (s *Server) tryInvalidate(ino fs.Ino, off, size int64) (done bool, err error) {
	k := s.kernel.Load()
	if k == nil || !s.nodes.known(ino) {
		return true, nil
	}
	err = (*k).InvalidateNode(s.node(ino), off, size)
	switch {
	case err == nil || s.ended.Load():
		return true, nil
	case errors.Is(err, ErrNotCached):
		return false, nil
	}
	return true, fmt.Errorf("invalidate node %d: %w", ino, err)
}

// wroteDirect drops pages that a write past the page cache has made stale. The kernel does so before it sends the
// write, but only since Linux 6.18 after it as well, and never at the place an O_APPEND write really went to.
func (s *Server) wroteDirect(h *handle, off int64, n int) {
	pages, all := s.nodes.stale(h.ino)
	if !pages {
		return
	}
	size := int64(n)
	if all || h.append {
		off, size = 0, -1
	}
	if err := s.invalidate(h.ino, off, size); err != nil {
		s.cfg.Log.Error("fuse: stale pages stay cached", "error", err)
	}
}
