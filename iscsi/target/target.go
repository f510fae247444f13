package target

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/covol/covol/iscsi/chap"
	"github.com/covol/covol/iscsi/scsi"
	"github.com/covol/covol/ondisk/sched"
)

// portalGroup is the tag of the only portal group and the relative port of its SCSI port.
const portalGroup = 1

// Options are what a Target needs; Name, Server, Clock and Random must be set.
type Options struct {
	Name   string // iSCSI name of the target
	Server *scsi.Server
	CHAP   chap.Secret // that initiators must prove; zero means no authentication
	Mutual chap.Secret // that the target proves when asked; zero refuses
	Allow  []string    // names of the initiators that may log in; empty is all
	Clock  sched.Scheduler
	Random io.Reader // for challenges
	Log    *slog.Logger

	// Limits; 0 is the default.
	QueueDepth     int           // commands of one session at once, 128
	MaxConnections int           // with those that are logging in, 1024
	Memory         int64         // bytes of data in flight over all sessions, 256 MiB
	LoginTime      time.Duration // for a whole login, 10 s
	StallTime      time.Duration // without progress of data that was asked for or sent, 30 s
	PingTime       time.Duration // of silence before a NOP-In, and of silence after it before the end, 15 s
}

func (o *Options) defaults() {
	o.QueueDepth = or(o.QueueDepth, 128)
	o.MaxConnections = or(o.MaxConnections, 1024)
	o.Memory = or(o.Memory, 256<<20)
	o.LoginTime = or(o.LoginTime, 10*time.Second)
	o.StallTime = or(o.StallTime, 30*time.Second)
	o.PingTime = or(o.PingTime, 15*time.Second)
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// Target serves one iSCSI target on any number of listeners.
type Target struct {
	o      Options
	memory *semaphore.Weighted
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	ended  sync.WaitGroup // connections

	mu sync.Mutex
	// GUARDED_BY(mu)
	closed bool
	// GUARDED_BY(mu)
	listeners []net.Listener
	// GUARDED_BY(mu)
	conns map[*conn]bool
	// GUARDED_BY(mu)
	sessions map[port]*conn
	// GUARDED_BY(mu)
	lastTSIH uint16
}

// port is an initiator port: what has one session with the target (RFC 7143 4.4.3).
type port struct {
	name string
	isid uint64
}

// New makes a target that serves nobody yet.
func New(o Options) (*Target, error) {
	if o.Name == "" || o.Server == nil || o.Clock == nil || o.Random == nil {
		return nil, errors.New("target without name, server, clock or randomness")
	}
	if o.CHAP.Zero() && !o.Mutual.Zero() {
		return nil, errors.New("mutual CHAP without CHAP of initiators")
	}
	if !o.CHAP.Zero() && o.CHAP.Secret == o.Mutual.Secret {
		return nil, errors.New("both directions of CHAP have the same secret, which would prove nothing")
	}
	o.defaults()
	t := &Target{o: o, memory: semaphore.NewWeighted(o.Memory), conns: map[*conn]bool{}, sessions: map[port]*conn{}}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	return t, nil
}

// Serve takes connections from ln until Close, then returns nil, or until ln fails.
func (t *Target) Serve(ln net.Listener) error {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return ln.Close()
	}
	t.listeners = append(t.listeners, ln)
	t.mu.Unlock()
	for {
		nc, err := ln.Accept()
		switch {
		case t.ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("listen: %w", err)
		case err != nil: // such as too many open files: it passes
			t.o.Log.Warn("cannot take a connection", "error", err)
			if t.o.Clock.Sleep(t.ctx, 100*time.Millisecond) != nil {
				return nil
			}
		default:
			t.take(nc)
		}
	}
}

func (t *Target) take(nc net.Conn) {
	c := newConn(t, nc)
	t.mu.Lock()
	full := len(t.conns) >= t.o.MaxConnections
	if !full && !t.closed {
		t.conns[c] = true
		t.ended.Add(1)
		t.mu.Unlock()
		go c.serve()
		return
	}
	t.mu.Unlock()
	if full {
		t.o.Log.Warn("too many connections", "from", nc.RemoteAddr(), "most", t.o.MaxConnections)
	}
	_ = nc.Close()
}

// Close ends all sessions and listeners and returns when no command is running.
func (t *Target) Close() error {
	t.mu.Lock()
	t.closed = true
	t.cancel()
	var errs []error
	for _, ln := range t.listeners {
		if err := ln.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	for c := range t.conns {
		c.close(errors.New("the target is closing"))
	}
	t.mu.Unlock()
	t.ended.Wait()
	return errors.Join(errs...)
}

// gone forgets a connection that has ended.
func (t *Target) gone(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.conns, c)
	if t.sessions[c.port] == c {
		delete(t.sessions, c.port)
	}
}

// enter makes c the session of its initiator port. An older one of that port ends first (RFC 7143 6.3.5).
func (t *Target) enter(c *conn) (tsih uint16, reinstated bool) {
	for {
		t.mu.Lock()
		old := t.sessions[c.port]
		if old == nil {
			break
		}
		t.mu.Unlock()
		reinstated = true
		old.close(errors.New("the initiator has started another session in its place"))
		<-old.over
	}
	defer t.mu.Unlock()
	if t.lastTSIH++; t.lastTSIH == 0 {
		t.lastTSIH = 1
	}
	t.sessions[c.port] = c
	return t.lastTSIH, reinstated
}

// inSession are the connections with sessions.
func (t *Target) inSession() []*conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]*conn, 0, len(t.sessions))
	for _, c := range t.sessions {
		all = append(all, c)
	}
	return all
}

// Session is what Status tells of one session.
type Session struct {
	Initiator string `json:"initiator"`
	ISID      string `json:"isid"`
	From      string `json:"from"`
	Running   int    `json:"running"` // commands
	Commands  uint64 `json:"commands"`
	Read      uint64 `json:"read_bytes"`
	Written   uint64 `json:"written_bytes"`
	Digests   string `json:"digests"`
}

// Status lists the sessions by initiator.
func (t *Target) Status() []Session {
	all := []Session{}
	for _, c := range t.inSession() {
		all = append(all, c.status())
	}
	slices.SortFunc(all, func(a, b Session) int {
		if a.Initiator+a.ISID < b.Initiator+b.ISID {
			return -1
		}
		return 1
	})
	return all
}
