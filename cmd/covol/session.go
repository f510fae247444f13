package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/covol/covol/cmd/covol/internal/events"
	"github.com/covol/covol/fs"
	"github.com/covol/covol/fs/fusefs"
	"github.com/covol/covol/fs/fusefs/bazil"
)

// session is one mount from its first look at the device to the end of its process.
//
//	joining ──start──► mounted ──leave──► leaving ──► left
//	                      └──► withdrawn ───┘
type session struct {
	dir     string // canonical
	device  string
	cfg     nodeConfig
	log     *slog.Logger
	events  *events.Log
	started time.Time
	limit   time.Duration // of leaving while the storage answers
	left    chan struct{} // closed when all is over
	askedCh chan struct{} // closed when somebody wants the mount to end
	ask     sync.Once

	mu sync.Mutex
	// GUARDED_BY(mu): set once the device is open, while the node may still be joining
	node *node
	// GUARDED_BY(mu): the node has joined
	joined bool
	// GUARDED_BY(mu)
	mount *bazil.Mount
	// GUARDED_BY(mu)
	files *openFiles
	// GUARDED_BY(mu)
	leaving bool
	// GUARDED_BY(mu): why the node has withdrawn
	lost error
	// GUARDED_BY(mu): how leaving ended
	result error
	space  freeSpace
}

func newSession(dir string, cfg nodeConfig) *session {
	s := &session{dir: dir, device: shown(cfg.Device), log: cfg.Log, started: time.Now(), limit: leaveLimit,
		left: make(chan struct{}), askedCh: make(chan struct{}), events: events.NewLog(cfg.Log)}
	cfg.OnOpen, cfg.OnWithdraw, cfg.OnEvent = s.opened, s.withdrawn, s.events.Add
	s.cfg = cfg
	return s
}

// opened makes a node known that has its device and goes on to join.
func (s *session) opened(n *node) {
	s.mu.Lock()
	s.node = n
	s.mu.Unlock()
	s.storeEvents(n)
}

// start joins the cluster and mounts.
func (s *session) start(ctx context.Context) error {
	n, err := startNode(ctx, s.cfg)
	if err != nil {
		return err
	}
	files := &openFiles{Volume: n.Volume()}
	m, err := bazil.New(fusefs.Config{FS: files, Errno: fs.Errno, Log: s.log}, bazil.Options{Dir: s.dir, Device: s.device})
	if err != nil {
		return errors.Join(err, n.leave(context.WithoutCancel(ctx)))
	}
	s.mu.Lock()
	s.joined, s.mount, s.files = true, m, files
	lost := s.lost
	s.mu.Unlock()
	s.events.Add(n.event(events.Mounted, s.device+" on "+s.dir))
	if lost != nil { // between joining and mounting
		s.endUse(m)
	}
	return nil
}

// startWithin is start, but after ctx has ended it waits only as long as giving up a join may take: the storage may not
// answer at all.
func (s *session) startWithin(ctx context.Context) error {
	started := make(chan error, 1)
	go func() { started <- s.start(ctx) }()
	select {
	case err := <-started:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-started:
		return err
	case <-time.After(joinLimit):
		return fmt.Errorf("%w, and the storage does not answer", context.Cause(ctx))
	}
}

// end asks for the end of the mount, in use or not. It may be called again and then does nothing.
func (s *session) end() { s.ask.Do(func() { close(s.askedCh) }) }

// umount ends the mount unless it is in use, and returns once the node has left. With force users are cut off, and so
// they are if the node has withdrawn: all they can do is to close their files.
func (s *session) umount(ctx context.Context, force bool) error {
	s.mu.Lock()
	m, lost := s.mount, s.lost
	s.mu.Unlock()
	if m != nil && !force && lost == nil {
		if err := m.TakeDown(); err != nil {
			return err
		}
	}
	s.end()
	select {
	case <-s.left:
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.result
	case <-ctx.Done():
		return ctx.Err()
	}
}

// finish tells those who wait how it ended.
func (s *session) finish(err error) {
	s.mu.Lock()
	s.result = err
	s.mu.Unlock()
	s.closeEvents(err)
	close(s.left)
}
