package tcp

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/covol/covol/cluster/view"
)

var errReplaced = errors.New("replaced by a newer connection")

// accept takes connections of peers in lower slots in.
func (t *Transport) accept() {
	for {
		conn, err := t.listener.Accept()
		if err != nil {
			if t.ctx.Err() != nil {
				return
			}
			t.log.Warn("lock manager: accept", "err", err) // out of descriptors, most likely
			timer := time.NewTimer(backoffLast)
			select {
			case <-timer.C:
				continue
			case <-t.ctx.Done():
				timer.Stop()
				return
			}
		}
		select {
		case t.strange <- struct{}{}:
			t.wg.Go(func() { t.welcome(conn) })
		default:
			_ = conn.Close()
		}
	}
}

// welcome hears an accepted connection's hello, answers it and serves the peer.
func (t *Transport) welcome(conn net.Conn) {
	p, conn, err := t.hear(conn)
	<-t.strange
	if err != nil {
		_ = conn.Close()
		if t.ctx.Err() == nil {
			t.log.Warn("lock manager: connection refused", "remote", conn.RemoteAddr(), "err", err)
		}
		return
	}
	if err := t.serve(p, conn); p.ctx.Err() == nil {
		t.log.Warn("lock manager: connection ended", "slot", p.id.Slot, "incarnation", p.id.Incarnation, "err", err)
	}
}

func (t *Transport) hear(conn net.Conn) (*peer, net.Conn, error) {
	stop := context.AfterFunc(t.ctx, func() { _ = conn.Close() })
	defer stop()
	if t.tls != nil {
		conn = tls.Server(conn, t.tls)
	}
	if err := conn.SetDeadline(time.Now().Add(helloTimeout)); err != nil {
		return nil, conn, err
	}
	h, err := readHello(conn)
	if err != nil {
		return nil, conn, err
	}
	p, v := t.judge(&h)
	answer := hello{version: Version, verdict: v, volume: t.cfg.Volume, from: t.cfg.Self, to: h.from}
	if _, err := conn.Write(answer.append(nil)); err != nil {
		return nil, conn, fmt.Errorf("answer hello: %w", err)
	}
	if v != welcome {
		if v.mayBeNewer() && t.cfg.OnStranger != nil {
			t.cfg.OnStranger()
		}
		return nil, conn, fmt.Errorf("%w: slot %d incarnation %d: %s", ErrRefused, h.from.Slot, h.from.Incarnation, v)
	}
	return p, conn, nil
}

// dialOnce connects and says hello.
func (t *Transport) dialOnce(p *peer) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(p.ctx, dialTimeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", p.addr)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(p.ctx, func() { _ = conn.Close() })
	defer stop()
	if t.tls != nil {
		conn = tls.Client(conn, t.clientTLS(p.addr))
	}
	if err := t.greet(p, conn); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// Announce shows this node to whoever listens at addr, so that a node of the same volume looks for a newer view at once.
// An error says that nobody of this volume could be reached there.
func (t *Transport) Announce(ctx context.Context, addr string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(t.ctx, cancel)()
	p := &peer{t: t, id: view.NodeID{Slot: view.NoSlot}, addr: addr, ctx: ctx}
	conn, err := t.dialOnce(p)
	if err == nil {
		return conn.Close()
	}
	var r *refusal
	if errors.As(err, &r) && r.v.mayBeNewer() {
		return nil
	}
	return err
}

// refusal is the ErrRefused that a peer answered a hello with.
type refusal struct {
	by view.NodeID
	v  verdict
}

func (r *refusal) Error() string {
	return fmt.Sprintf("%v by slot %d incarnation %d: %s", ErrRefused, r.by.Slot, r.by.Incarnation, r.v)
}

func (r *refusal) Is(target error) bool { return target == ErrRefused }

// clientTLS fills in the name to verify where the configuration has none.
func (t *Transport) clientTLS(addr string) *tls.Config {
	if t.tls.ServerName != "" || t.tls.InsecureSkipVerify {
		return t.tls
	}
	c := t.tls.Clone()
	if host, _, err := net.SplitHostPort(addr); err == nil {
		c.ServerName = host
	}
	return c
}

func (t *Transport) greet(p *peer, conn net.Conn) error {
	if err := conn.SetDeadline(time.Now().Add(helloTimeout)); err != nil {
		return err
	}
	mine := hello{version: Version, volume: t.cfg.Volume, from: t.cfg.Self, to: p.id}
	if _, err := conn.Write(mine.append(nil)); err != nil {
		return fmt.Errorf("say hello: %w", err)
	}
	h, err := readHello(conn)
	switch {
	case err != nil:
		return err
	case h.verdict != welcome:
		return &refusal{by: h.from, v: h.verdict}
	case h.version != Version || h.volume != t.cfg.Volume || h.from != p.id || h.to != t.cfg.Self:
		return fmt.Errorf("%w: someone else answers there: slot %d incarnation %d", ErrRefused, h.from.Slot, h.from.Incarnation)
	}
	return nil
}

// serve carries messages both ways until the connection ends, and says why.
func (t *Transport) serve(p *peer, conn net.Conn) error {
	ctx, generation := p.adopt()
	t.log.Info("lock manager: connected", "slot", p.id.Slot, "incarnation", p.id.Incarnation, "remote", conn.RemoteAddr())
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	tuned := conn
	if s, ok := conn.(*tls.Conn); ok {
		tuned = s.NetConn()
	}
	if c, ok := tuned.(*net.TCPConn); ok {
		_ = c.SetNoDelay(true) // the default of the runtime, and what the latency rests on
	}
	var wg sync.WaitGroup
	var writeErr error
	done := make(chan struct{})
	wg.Go(func() {
		writeErr = p.write(conn, done)
		_ = conn.Close()
	})
	err := t.read(p, conn)
	close(done)
	_ = conn.Close()
	wg.Wait()
	if writeErr != nil && errors.Is(err, net.ErrClosed) {
		err = writeErr
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	p.ended(generation, err)
	return err
}

// read delivers what arrives. It always returns an error.
func (t *Transport) read(p *peer, conn net.Conn) error {
	r := bufio.NewReaderSize(conn, readerBuffer)
	for {
		if r.Buffered() == 0 {
			if err := conn.SetReadDeadline(time.Now().Add(silence)); err != nil {
				return err
			}
		}
		m, err := readFrame(r)
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		if m.channel == channelKeepalive {
			continue
		}
		if f := t.handler(m.channel); f != nil && p.ctx.Err() == nil {
			f(p.id.Slot, m.body)
		}
	}
}

// write sends what is queued, all that has gathered in one system call, and a keepalive where nothing was queued
// for long.
func (p *peer) write(conn net.Conn, done <-chan struct{}) error {
	var scratch []byte
	idle := time.NewTicker(keepalive)
	defer idle.Stop()
	spoke := false
	for {
		messages := p.take()
		if len(messages) == 0 {
			select {
			case <-done:
				return nil
			case <-p.wake:
				continue
			case <-idle.C:
				if spoke {
					spoke = false
					continue
				}
				messages = []message{{channel: channelKeepalive}}
			}
		}
		spoke = true
		if err := conn.SetWriteDeadline(time.Now().Add(silence)); err != nil {
			return err
		}
		var parts net.Buffers
		parts, scratch = gather(messages, scratch)
		if _, err := parts.WriteTo(conn); err != nil {
			return fmt.Errorf("write: %w", err)
		}
	}
}
