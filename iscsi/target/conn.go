package target

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/covol/covol/iscsi/pdu"
	"github.com/covol/covol/iscsi/scsi"
)

// conn is a connection and, once it is logged in, the session that consists of it.
type conn struct {
	t    *Target
	nc   net.Conn
	r    *pdu.Reader
	out  *sender
	ctx  context.Context // ends when the connection must
	end  context.CancelCauseFunc
	over chan struct{} // closed when nothing of it runs any more

	// Set by the login, constant from then on.
	port      port
	nexus     scsi.Nexus
	isid      uint64
	discovery bool
	attached  bool       // the units know of it
	values    pdu.Values // agreed

	maxData  atomic.Int64 // bytes, of a data segment that the initiator takes
	loggedIn atomic.Bool
	heard    atomic.Int64 // when the initiator was heard last, by the clock
	pinged   atomic.Bool  // since then
	text     []byte       // of a request that goes on; the reader's
	lastTag  uint32       // the reader's and tasks', under mu

	commands, read, written atomic.Uint64

	mu sync.Mutex
	// GUARDED_BY(mu)
	expCmdSN uint32
	// GUARDED_BY(mu)
	active int // commands in the window that are not answered
	// GUARDED_BY(mu)
	tasks map[uint32]*task // by initiator task tag
	// GUARDED_BY(mu)
	waiting map[uint32]*task // for data, by target transfer tag
	running sync.WaitGroup   // tasks and task management
}

func newConn(t *Target, nc net.Conn) *conn {
	c := &conn{t: t, nc: nc, over: make(chan struct{}), tasks: map[uint32]*task{}, waiting: map[uint32]*task{}}
	c.ctx, c.end = context.WithCancelCause(t.ctx)
	c.r = pdu.NewReader(nc, loginData)
	c.out = &sender{w: pdu.NewWriter(nc), c: c, wake: make(chan struct{}, 1)}
	c.maxData.Store(loginData)
	c.heard.Store(int64(t.o.Clock.Now()))
	return c
}

// errLeft is why a connection ends that logged out.
var errLeft = errors.New("logged out")

// close makes the connection end; the first reason counts.
func (c *conn) close(why error) {
	if why == nil {
		why = errLeft
	}
	c.end(why)
	_ = c.nc.Close()
}

// serve is the life of a connection.
func (c *conn) serve() {
	defer c.t.ended.Done()
	defer close(c.over)
	defer c.t.gone(c)
	log := c.t.o.Log.With("from", c.nc.RemoteAddr().String())
	stop := c.watch()
	defer stop()
	err := c.login()
	if err == nil {
		log.Info("session begins", "initiator", c.nexus.Initiator, "discovery", c.discovery)
		c.running.Go(c.out.run)
		err = c.receive()
	}
	if !errors.Is(err, errLeft) {
		c.close(err)
	}
	c.running.Wait()
	c.close(nil)
	if c.attached {
		c.t.o.Server.Detach(c.nexus)
	}
	log.Info("connection ends", "initiator", c.port.name, "reason", context.Cause(c.ctx))
}

// receive takes PDUs until the session ends.
func (c *conn) receive() error {
	for {
		h, ahs, err := c.r.Header()
		if errors.Is(err, io.EOF) {
			return errors.New("the initiator hung up")
		} else if err != nil {
			return fmt.Errorf("read header: %w", err)
		}
		c.heard.Store(int64(c.t.o.Clock.Now()))
		c.pinged.Store(false)
		if err := c.handle(h, ahs); err != nil {
			return err
		}
	}
}

func (c *conn) handle(h *pdu.Header, ahs []byte) error {
	switch h.Op() {
	case pdu.OpDataOut:
		return c.dataOut(h)
	case pdu.OpSNACK:
		return c.reject(h, pdu.RejectNotSupported)
	case pdu.OpCommand, pdu.OpTaskRequest, pdu.OpText, pdu.OpLogout, pdu.OpNopOut:
	default:
		_ = c.reject(h, pdu.RejectProtocol)
		return fmt.Errorf("%w: %v in the full feature phase", pdu.ErrMalformed, h.Op())
	}
	take, err := c.accept(h)
	if err != nil {
		return err
	}
	if !take {
		_, err := c.r.All()
		return err
	}
	if h.Op() == pdu.OpCommand {
		return c.command(h, ahs)
	}
	defer c.answered(h)
	data, err := c.r.All()
	if err != nil {
		return err
	}
	switch h.Op() {
	case pdu.OpTaskRequest:
		return c.manage(h)
	case pdu.OpText:
		return c.textRequest(h, data)
	case pdu.OpLogout:
		return c.logout(h)
	}
	c.nop(h, data)
	return nil
}

// accept looks at CmdSN (RFC 7143 4.2.2.1). A request outside the window is to be ignored. Inside it a gap cannot be, as
// there is one connection, which keeps the order.
func (c *conn) accept(h *pdu.Header) (bool, error) {
	if h.Immediate() {
		return true, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	sn := h.U32(pdu.CmdSN)
	if pdu.Less(sn, c.expCmdSN) || pdu.Less(c.maxCmdSNLocked(), sn) {
		return false, nil
	}
	if sn != c.expCmdSN {
		return false, fmt.Errorf("%w: command number %d where %d is next", pdu.ErrMalformed, sn, c.expCmdSN)
	}
	c.expCmdSN++
	c.active++
	return true, nil
}

func (c *conn) maxCmdSNLocked() uint32 { return c.expCmdSN + uint32(c.t.o.QueueDepth-c.active) - 1 }

// window returns ExpCmdSN and MaxCmdSN.
func (c *conn) window() (exp, most uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.expCmdSN, c.maxCmdSNLocked()
}

// answered gives the request's place in the window to the next.
func (c *conn) answered(h *pdu.Header) {
	if h.Immediate() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.active--
}

// reject answers what cannot be served (RFC 7143 11.17) and takes its data away.
func (c *conn) reject(h *pdu.Header, reason uint64) error {
	if _, err := c.r.All(); err != nil {
		return err
	}
	o := &outgoing{PDU: pdu.PDU{Header: pdu.New(pdu.OpReject, pdu.Final), Data: append([]byte(nil), h[:]...)}}
	o.Set(pdu.Reason, reason)
	o.Set32(pdu.ITT, pdu.NoTag)
	c.out.send(o)
	return nil
}

// nop is NOP-Out: a ping is echoed, an answer to ours was heard already.
func (c *conn) nop(h *pdu.Header, data []byte) {
	if h.U32(pdu.ITT) == pdu.NoTag {
		return
	}
	o := &outgoing{PDU: pdu.PDU{Header: pdu.New(pdu.OpNopIn, pdu.Final), Data: data[:min(len(data), int(c.maxData.Load()))]}}
	o.Set(pdu.LUN, h.Get(pdu.LUN))
	o.Set(pdu.ITT, h.Get(pdu.ITT))
	o.Set32(pdu.TTT, pdu.NoTag)
	c.out.send(o)
}

// logout ends the session (RFC 7143 11.14): the answer is the last that is sent.
func (c *conn) logout(h *pdu.Header) error {
	const forRecovery, notSupported = 2, 2
	o := &outgoing{PDU: pdu.PDU{Header: pdu.New(pdu.OpLogoutReply, pdu.Final)}}
	o.Set(pdu.ITT, h.Get(pdu.ITT))
	if h[1]&0x7f == forRecovery {
		o.Set(pdu.Response, notSupported)
		c.out.send(o)
		return nil
	}
	c.abort(func(*task) bool { return true })
	c.out.send(o)
	c.out.finish()
	return errLeft
}

// watch looks after the connection on the clock until stop is called.
func (c *conn) watch() (stop func()) {
	var mu sync.Mutex
	var cancel func() bool
	o := &c.t.o
	every := max(min(o.LoginTime, o.StallTime, o.PingTime)/4, time.Millisecond)
	begun := o.Clock.Now()
	stopped := false
	var look func()
	look = func() {
		if err := c.overdue(begun); err != nil {
			c.close(err)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if !stopped {
			cancel = o.Clock.AfterFunc(every, look)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	cancel = o.Clock.AfterFunc(every, look)
	return func() {
		mu.Lock()
		defer mu.Unlock()
		stopped = true
		cancel()
	}
}

// overdue says why the connection must end, and pings a silent initiator.
func (c *conn) overdue(begun time.Duration) error {
	o := &c.t.o
	now := o.Clock.Now()
	if !c.loggedIn.Load() {
		if now-begun > o.LoginTime {
			return fmt.Errorf("no login after %s", o.LoginTime)
		}
		return nil
	}
	if d := c.out.stalled(now); d > o.StallTime {
		return fmt.Errorf("the initiator has taken nothing for %s", d)
	}
	if c.dataStalled(now) {
		return fmt.Errorf("the initiator has not sent the data it was asked for in %s", o.StallTime)
	}
	silent := now - time.Duration(c.heard.Load())
	if silent > 2*o.PingTime {
		return fmt.Errorf("the initiator has been silent for %s", silent)
	}
	if silent > o.PingTime && !c.pinged.Swap(true) {
		ping := &outgoing{PDU: pdu.PDU{Header: pdu.New(pdu.OpNopIn, pdu.Final)}}
		ping.Set32(pdu.ITT, pdu.NoTag)
		ping.Set32(pdu.TTT, 1)
		c.out.send(ping)
	}
	return nil
}

func (c *conn) status() Session {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := Session{
		Initiator: c.port.name, ISID: fmt.Sprintf("%012x", c.port.isid), From: c.nc.RemoteAddr().String(), Running: len(c.tasks),
		Commands: c.commands.Load(), Read: c.read.Load(), Written: c.written.Load(), Digests: "none",
	}
	switch h, d := c.values.Digest("HeaderDigest"), c.values.Digest("DataDigest"); {
	case h && d:
		s.Digests = "header, data"
	case h:
		s.Digests = "header"
	case d:
		s.Digests = "data"
	}
	return s
}
