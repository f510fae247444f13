package tcp

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
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

func (t *Transport) hear(raw net.Conn) (*peer, net.Conn, error) {
	stop := context.AfterFunc(t.ctx, func() { _ = raw.Close() })
	defer stop()
	if err := raw.SetDeadline(time.Now().Add(helloTimeout)); err != nil {
		return nil, raw, err
	}
	conn, err := t.secure(raw, tls.Server, t.tls)
	if err != nil {
		return nil, conn, err
	}
	h, err := readHello(conn)
	if err != nil {
		return nil, conn, err
	}
	p, v, why := t.judge(&h, conn)
	answer := hello{version: Version, verdict: v, volume: t.cfg.Volume, from: t.cfg.Self, to: h.from}
	if _, err := conn.Write(answer.append(nil)); err != nil {
		return nil, conn, fmt.Errorf("answer hello: %w", err)
	}
	if v != welcome {
		if v.mayBeNewer() && t.cfg.OnStranger != nil {
			t.cfg.OnStranger()
		}
		err := fmt.Errorf("%w: slot %d incarnation %d: %s", ErrRefused, h.from.Slot, h.from.Incarnation, v)
		if why != nil {
			err = fmt.Errorf("%w: %w", err, why)
		}
		return nil, conn, err
	}
	return p, conn, nil
}

// dialOnce connects and says hello.
func (t *Transport) dialOnce(p *peer) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(p.ctx, dialTimeout)
	defer cancel()
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", p.addr)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(p.ctx, func() { _ = raw.Close() })
	defer stop()
	conn := raw
	if err = conn.SetDeadline(time.Now().Add(helloTimeout)); err == nil {
		conn, err = t.secure(conn, tls.Client, t.clientTLS(p.addr))
	}
	if err == nil {
		err = t.checkPeer(conn, p.name)
	}
	if err == nil {
		err = t.greet(p, conn)
	}
	if err != nil {
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
	return t.announce(ctx, addr, "")
}

// Probe finds out, for a node that has no identity yet, whether the member of that name at addr would talk to it. An
// error that is ErrRefused says that one of the two does not accept the other, any other that nobody could be asked.
func Probe(ctx context.Context, cfg Config, addr, name string) error {
	cfg.Self = view.NodeID{Slot: view.NoSlot}
	t := &Transport{cfg: cfg, ctx: ctx, tls: atLeast13(cfg.TLS)}
	return t.announce(ctx, addr, name)
}

func (t *Transport) announce(ctx context.Context, addr, name string) error {
	p := &peer{t: t, id: view.NodeID{Slot: view.NoSlot}, name: name, addr: addr, ctx: ctx}
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

// secure shakes hands over a connection that has a deadline. Without a configuration it does nothing.
func (t *Transport) secure(conn net.Conn, side func(net.Conn, *tls.Config) *tls.Conn, cfg *tls.Config) (net.Conn, error) {
	if cfg == nil {
		return conn, nil
	}
	s := side(conn, cfg)
	err := s.HandshakeContext(t.ctx)
	var clear tls.RecordHeaderError
	var network net.Error
	switch {
	case errors.As(err, &clear):
		err = fmt.Errorf("%w: the other side talks in clear, this one TLS", ErrRefused)
	case cutShort(err):
		err = fmt.Errorf("%w: handshake: the other side ended the connection; it may talk in clear: %w", ErrRefused, err)
	case errors.As(err, &network):
		err = fmt.Errorf("handshake: %w", explain(err))
	case err != nil && t.ctx.Err() == nil: // what we do not accept of the other side
		err = fmt.Errorf("%w: handshake: %w", ErrRefused, err)
	}
	return s, err
}

// cutShort reports whether the other side ended the connection without a word.
func cutShort(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)
}

// explain says what an alert of the peer means: it comes late, because a client has done its part of the handshake
// before the server judges it.
func explain(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" {
		return fmt.Errorf("%w: the other side does not accept this node's certificate (its log says why): %w", ErrRefused, err)
	}
	return err
}

// checkPeer judges by the certificate whether the member of that name is at the other end.
func (t *Transport) checkPeer(conn net.Conn, name string) error {
	s, ok := conn.(*tls.Conn)
	if !ok || t.cfg.CheckPeer == nil {
		return nil
	}
	if err := t.cfg.CheckPeer(s.ConnectionState(), name); err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return nil
}

// clientTLS fills in the name to verify where the configuration has none.
func (t *Transport) clientTLS(addr string) *tls.Config {
	if t.tls == nil || t.tls.ServerName != "" || t.tls.InsecureSkipVerify {
		return t.tls
	}
	c := t.tls.Clone()
	if host, _, err := net.SplitHostPort(addr); err == nil {
		c.ServerName = host
	}
	return c
}

func (t *Transport) greet(p *peer, conn net.Conn) error {
	mine := hello{version: Version, volume: t.cfg.Volume, from: t.cfg.Self, to: p.id}
	if _, err := conn.Write(mine.append(nil)); err != nil {
		return fmt.Errorf("say hello: %w", err)
	}
	h, err := readHello(conn)
	switch {
	case t.tls == nil && cutShort(err):
		return fmt.Errorf("%w: the other side ended the connection; it may want TLS: %w", ErrRefused, err)
	case err != nil:
		return explain(err)
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
	raw := conn
	if s, ok := conn.(*tls.Conn); ok {
		raw = s.NetConn() // to be closed without saying so: that would wait for a peer that does not read
	}
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	defer stop()
	if c, ok := raw.(*net.TCPConn); ok {
		tune(c)
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
