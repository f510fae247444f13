package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/covol/covol/fs"
	"github.com/covol/covol/fs/fusefs"
	"github.com/covol/covol/fs/fusefs/bazil"
)

// session is one mount from its first look at the device to the end of its process.
//
//	joining ──start──► mounted ──leave──► leaving ──► left
type session struct {
	dir     string // canonical
	device  string
	cfg     nodeConfig
	log     *slog.Logger
	started time.Time
	left    chan struct{} // closed when all is over
	askedCh chan struct{} // closed when somebody wants the mount to end
	ask     sync.Once

	mu sync.Mutex
	// GUARDED_BY(mu)
	node *node
	// GUARDED_BY(mu)
	mount *bazil.Mount
	// GUARDED_BY(mu)
	files *openFiles
	// GUARDED_BY(mu)
	leaving bool
	// GUARDED_BY(mu): how leaving ended
	result error
}

func newSession(dir string, cfg nodeConfig) *session {
	return &session{dir: dir, device: cfg.Device, cfg: cfg, log: cfg.Log, started: time.Now(),
		left: make(chan struct{}), askedCh: make(chan struct{})}
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
	defer s.mu.Unlock()
	s.node, s.mount, s.files = n, m, files
	return nil
}

// end asks for the end of the mount, in use or not. It may be called again and then does nothing.
func (s *session) end() { s.ask.Do(func() { close(s.askedCh) }) }

// umount ends the mount unless it is in use, and returns once the node has left. With force users are cut off.
func (s *session) umount(ctx context.Context, force bool) error {
	s.mu.Lock()
	m := s.mount
	s.mu.Unlock()
	if m != nil && !force {
		if err := m.Unmount(); err != nil {
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

// leave ends the mount and leaves the cluster. Only the owner of the session calls it, once.
func (s *session) leave() error {
	s.mu.Lock()
	s.leaving = true
	n, m := s.node, s.mount
	s.mu.Unlock()
	s.log.Info("leaving", "dir", s.dir)
	err := m.Close()
	if err != nil {
		err = fmt.Errorf("unmount: %w", err)
	}
	lost := n.Lost()
	if e := n.leave(context.Background()); e != nil && lost == nil {
		err = errors.Join(err, fmt.Errorf("leave: %w", e))
	}
	if lost != nil {
		err = errors.Join(err, fmt.Errorf("this node had withdrawn from the volume, what was not yet stable is lost: %w", lost))
	}
	return err
}

// finish tells those who wait how it ended.
func (s *session) finish(err error) {
	s.mu.Lock()
	s.result = err
	s.mu.Unlock()
	close(s.left)
}
