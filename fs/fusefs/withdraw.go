package fusefs

import (
	"sync"
	"time"

	"github.com/covol/covol/fs"
)

// withdrawers bounds the procedures that empty caches at once: one that waits for an inode to appear (trap 4) must not
// hold up the others.
const withdrawers = 16

// Withdraw makes the kernel forget everything: attributes and pages, mapped ones included. It is called when the
// filesystem has begun to answer every operation with an error; until then the kernel would go on to show what it has.
// It reports false if a request that was in flight is not answered within grace: then something below does not come
// back, and only an abort of the connection lets the process go that waits for it.
func (s *Server) Withdraw(grace time.Duration) bool {
	before := s.calls.all()
	end := time.Now().Add(grace)
	inodes := make(chan fs.Ino)
	go func() {
		defer close(inodes)
		for _, ino := range s.nodes.all() {
			inodes <- ino
		}
	}()
	var wg sync.WaitGroup
	for range withdrawers {
		wg.Go(func() {
			for ino := range inodes {
				// Attributes first: emptying pages waits for READs in flight, which may not end.
				if err := s.InvalidateAttr(ino); err != nil {
					s.cfg.Log.Error("fuse: attributes of a withdrawn volume stay cached", "error", err)
				}
			}
		})
	}
	wg.Wait()
	go s.dropPages()
	for _, c := range before {
		for s.calls.get(c.req.ID) == c {
			if time.Now().After(end) {
				return false
			}
			time.Sleep(lastPause)
		}
	}
	return true
}

// dropPages empties the page cache.
func (s *Server) dropPages() {
	for _, ino := range s.nodes.all() {
		if err := s.InvalidateData(ino); err != nil {
			s.cfg.Log.Error("fuse: pages of a withdrawn volume stay cached", "error", err)
		}
	}
}
