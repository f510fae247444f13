package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/covol/covol/cluster"
	"github.com/covol/covol/cmd/covol/internal/events"
	"github.com/covol/covol/fs/fusefs/bazil"
)

const (
	// leaveLimit bounds how long a node may take to bring everything home while its storage answers.
	leaveLimit = 2 * time.Minute
	// lostLimit bounds how long it may take to end when nothing can be brought home any more.
	lostLimit = 5 * time.Second
	// joinLimit bounds how long a join may take to give up. It is more than the longest Wait of a profile.
	joinLimit = time.Minute
	// endTime is what is left for programs and procedures to see the end.
	endTime = 2 * time.Second
	// leaveLook is how often a node that leaves looks at its lease.
	leaveLook = 50 * time.Millisecond
)

// errGaveUp says that a node has ended without leaving: its slot is as after a death.
var errGaveUp = errors.New("left as by a crash")

// leave ends the mount and leaves the cluster, in bounded time whatever the storage does: when there is nothing to hope
// for any more it cuts programs off and returns, and the end of the process does the rest. Only the owner of the
// session calls it, once.
func (s *session) leave() error {
	s.mu.Lock()
	s.leaving = true
	n, m := s.node, s.mount
	s.mu.Unlock()
	s.log.Info("leaving", "dir", s.dir)
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	go s.watchLeave(ctx, cancel)
	done := make(chan error, 1)
	go func() {
		err := m.Close()
		if err != nil {
			err = fmt.Errorf("unmount: %w", err)
		}
		lost := n.Lost()
		if e := n.leave(ctx); e != nil && lost == nil {
			err = errors.Join(err, fmt.Errorf("leave: %w", e))
		}
		if lost != nil {
			err = errors.Join(err, fmt.Errorf("this node had withdrawn from the volume, what was not yet stable is lost: %w", lost))
		}
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return s.giveUp(n, m, context.Cause(ctx), done)
	}
}

// watchLeave ends the patience with a node that leaves. After its lease and all that others wait for beyond it, others
// may take it for dead: then there is no point in waiting for the storage any longer.
func (s *session) watchLeave(ctx context.Context, cancel context.CancelCauseFunc) {
	n, begun, moving := s.node, time.Now(), time.Now()
	p := n.super.Profile
	for ctx.Err() == nil {
		st := n.Status()
		if st.Reason.Cause != cluster.CauseStalled {
			moving = time.Now()
		}
		switch silent := p.Lease - st.LeaseLeft; {
		case n.Lost() != nil:
			if time.Since(begun) > lostLimit {
				cancel(fmt.Errorf("withdrawn, and I/O has not ended for %s", ago(time.Since(begun))))
			}
		case silent > p.Wait():
			cancel(fmt.Errorf("the storage has not answered for %s", ago(silent)))
		case time.Since(moving) > p.Wait():
			cancel(fmt.Errorf("I/O has been at the storage for more than %s", ago(time.Since(moving))))
		case time.Since(begun) > s.limit:
			cancel(fmt.Errorf("leaving took longer than %s", ago(s.limit)))
		}
		time.Sleep(leaveLook)
	}
}

// giveUp ends as a crash would, but lets go of programs first.
func (s *session) giveUp(n *node, m *bazil.Mount, cause error, done <-chan error) error {
	err := hint(fmt.Errorf("%w: %w: %s", errGaveUp, cause, "what was not yet stable is lost"),
		"The journal of this node is replayed by the next mount, or by another node.")
	s.log.Error("giving up: the mount is cut off and the node ends as by a crash", "reason", cause)
	s.events.Add(n.event(events.Aborted, cause.Error()))
	n.Kill()
	if e := m.Cut(); e != nil {
		err = errors.Join(err, e)
	}
	select {
	case <-done:
	case <-time.After(endTime):
	}
	return err
}
