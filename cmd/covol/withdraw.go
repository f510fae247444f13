package main

import (
	"time"

	"github.com/covol/covol/cmd/covol/internal/events"
	"github.com/covol/covol/fs/fusefs/bazil"
)

// withdrawn is told once why the node can use the volume no more. It must not block.
func (s *session) withdrawn(reason error) {
	s.log.Error("this node has withdrawn: every use of the volume fails here until it is unmounted and mounted again", "reason", reason)
	s.mu.Lock()
	s.lost = reason
	n, m, leaving := s.node, s.mount, s.leaving
	s.mu.Unlock()
	s.events.Add(n.event(events.Withdrawn, reason.Error()))
	if m != nil && !leaving {
		go s.endUse(m)
	}
}

// endUse lets programs see that the volume is gone: what the kernel has cached is dropped, so that everything fails with
// EIO. If the device does not give a request back, the connection is aborted, for the program that waits for it cannot
// even be killed.
func (s *session) endUse(m *bazil.Mount) {
	if m.Withdraw(s.grace()) {
		return
	}
	select {
	case <-m.Done(): // unmounted meanwhile
		return
	default:
	}
	s.log.Error("I/O does not end: programs are cut off, the mount answers ENOTCONN")
	s.events.Add(s.node.event(events.Aborted, "I/O did not end after the withdrawal"))
	if err := m.Abort(); err != nil {
		s.log.Error("cut off programs", "err", err)
	}
}

// grace is how long I/O that was begun may take to end.
func (s *session) grace() time.Duration {
	p := s.node.super.Profile
	return p.IOBound + p.Guard
}
