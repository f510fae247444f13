package pki

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"
)

// Issuer answers nodes that want to come in or to renew their certificates.
type Issuer struct {
	dir Dir
	now func() time.Time
	log *slog.Logger
	// onJoin, if not nil, is called after a node was let in by a token and has the answer.
	onJoin func(TokenID, string)
	open   chan struct{} // a token per connection

	mu sync.Mutex
	// GUARDED_BY(mu): what was refused lately, by address
	failures map[string]failures
}

type failures struct {
	count int
	since time.Time
}

const (
	exchangeTime   = 10 * time.Second // bounds one connection
	issuerOpen     = 32               // connections at once
	failuresMost   = 20               // refusals of one address ...
	failuresWithin = time.Minute      // ... in this time, before it is not heard
	failuresKept   = 4096             // addresses
	exporterLabel  = "EXPORTER-covol-enrol"
	exporterSize   = 32
)

// NewIssuer serves the cluster in dir, which must have the key of the authority. onJoin, if not nil, is called by Serve
// for each node that was let in, after it was answered.
func NewIssuer(dir Dir, now func() time.Time, log *slog.Logger, onJoin func(TokenID, string)) (*Issuer, error) {
	m, err := Load(dir)
	if err != nil {
		return nil, err
	}
	if !m.Issuer() {
		return nil, fmt.Errorf("%s: %w", dir, ErrNotIssuer)
	}
	if _, err := verify(m.CA, m.Info.Cluster, []*x509.Certificate{m.Cert}, now()); err != nil {
		return nil, fmt.Errorf("the certificate of this node: %w", err)
	}
	return &Issuer{dir: dir, now: now, log: log, onJoin: onJoin, open: make(chan struct{}, issuerOpen), failures: map[string]failures{}}, nil
}

// Serve answers on a listener, which belongs to it from now on, until ctx ends.
func (i *Issuer) Serve(ctx context.Context, ln net.Listener) error {
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer ln.Close()
	for {
		conn, err := ln.Accept()
		if ctx.Err() != nil {
			if conn != nil {
				_ = conn.Close()
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		if i.tooMany(conn.RemoteAddr()) {
			_ = conn.Close()
			continue
		}
		select {
		case i.open <- struct{}{}:
			wg.Go(func() {
				defer func() { <-i.open }()
				i.handle(ctx, conn)
			})
		default:
			_ = conn.Close()
		}
	}
}

// handle answers one connection.
func (i *Issuer) handle(ctx context.Context, conn net.Conn) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(exchangeTime))
	what, err := i.exchange(conn)
	if err != nil {
		i.failed(conn.RemoteAddr())
		i.log.Warn("refused", "remote", conn.RemoteAddr().String(), "reason", err)
		return
	}
	i.log.Info(what, "remote", conn.RemoteAddr().String())
}

// exchange hears a request and answers it. The directory is read anew each time: it changes under a long run.
func (i *Issuer) exchange(raw net.Conn) (string, error) {
	m, err := Load(i.dir)
	if err != nil {
		return "", err
	}
	if !m.Issuer() {
		return "", ErrNotIssuer
	}
	conn := tls.Server(raw, &tls.Config{
		MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true, ClientAuth: tls.RequestClientCert, Time: i.now,
		Certificates: []tls.Certificate{{Certificate: [][]byte{m.Cert.Raw, m.CA.Raw}, PrivateKey: m.Key}},
		VerifyConnection: func(cs tls.ConnectionState) error {
			if len(cs.PeerCertificates) == 0 {
				return nil // it must have a token, then
			}
			_, err := verify(m.CA, m.Info.Cluster, cs.PeerCertificates, i.now())
			return err
		},
	})
	if err := conn.Handshake(); err != nil {
		return "", fmt.Errorf("handshake: %w", err)
	}
	var req request
	if err := readMessage(conn, &req); err != nil {
		return "", fmt.Errorf("request: %w", err)
	}
	cert, what, err := i.decide(m, conn.ConnectionState(), &req)
	if err != nil {
		reason := err.Error()
		_ = writeMessage(conn, answer{Version: wireVersion, Refused: reason[:min(len(reason), 1024)]})
		_ = conn.CloseWrite()
		return "", err
	}
	if err := writeMessage(conn, answer{Version: wireVersion, Name: m.Info.Name, Cert: cert.Raw, Gossip: m.Gossip}); err != nil {
		return "", fmt.Errorf("%s, but the answer did not arrive: %w", what, err)
	}
	err = conn.CloseWrite()
	if i.onJoin != nil && req.Kind == kindJoin {
		i.onJoin(req.Token, req.Node)
	}
	return what, err
}

func (i *Issuer) decide(m *Member, cs tls.ConnectionState, req *request) (cert *x509.Certificate, what string, err error) {
	if req.Version != wireVersion {
		return nil, "", fmt.Errorf("messages of version %d, the issuer knows %d", req.Version, wireVersion)
	}
	switch req.Kind {
	case kindJoin:
		cert, err = i.join(m, cs, req)
		return cert, fmt.Sprintf("node %q was let in", req.Node), err
	case kindRenew:
		cert, err = i.renew(m, cs, req)
		return cert, fmt.Sprintf("certificate of node %q was renewed", req.Node), err
	}
	return nil, "", fmt.Errorf("a request of a kind not known here")
}

// join lets a node in by a token. Order matters: the token is used up and the name taken before the answer leaves.
func (i *Issuer) join(m *Member, cs tls.ConnectionState, req *request) (*x509.Certificate, error) {
	if err := CheckName(req.Node); err != nil {
		return nil, err
	}
	csr, err := x509.ParseCertificateRequest(req.CSR)
	if err != nil {
		return nil, fmt.Errorf("certificate request: %w", err)
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, fmt.Errorf("certificate request: %w", err)
	}
	exporter, err := cs.ExportKeyingMaterial(exporterLabel, nil, exporterSize)
	if err != nil {
		return nil, err
	}
	s, err := i.dir.lockTokens()
	if err != nil {
		return nil, err
	}
	defer s.unlock()
	now := i.now()
	r, err := s.check(req.Token, req.Node, statement(exporter, req.Token, req.Node, req.CSR), req.Proof, now)
	if err != nil {
		return nil, err
	}
	old, err := i.dir.issued(req.Node)
	switch {
	case err != nil:
		return nil, err
	case old != nil && r.Node == "":
		return nil, fmt.Errorf("node %q has a certificate already. Choose another name, or if it is to replace that one, make a token for it: covol cluster token --node %s", req.Node, req.Node)
	}
	cert, err := m.authority.issue(req.Node, csr.PublicKey, now)
	if err != nil {
		return nil, err
	}
	r.UsedBy, r.Used = req.Node, now.UTC()
	if err := s.save(req.Token, r, true); err != nil {
		return nil, err
	}
	if err := i.dir.record(cert, now); err != nil {
		return nil, err
	}
	return cert, nil
}

// renew gives the key that has the name a new certificate.
func (i *Issuer) renew(m *Member, cs tls.ConnectionState, req *request) (*x509.Certificate, error) {
	if len(cs.PeerCertificates) == 0 {
		return nil, errors.New("to renew a certificate show the old one")
	}
	id, err := verify(m.CA, m.Info.Cluster, cs.PeerCertificates, i.now())
	if err != nil {
		return nil, err
	}
	if id.Node != req.Node {
		return nil, fmt.Errorf("the certificate names %q, the request %q", id.Node, req.Node)
	}
	return m.reissue(cs.PeerCertificates[0], i.now())
}

// reissue signs the key of a certificate again, if it still has the name.
func (m *Member) reissue(old *x509.Certificate, now time.Time) (*x509.Certificate, error) {
	s, err := m.Dir.lockTokens()
	if err != nil {
		return nil, err
	}
	defer s.unlock()
	id, err := IdentityOf(old)
	if err != nil {
		return nil, err
	}
	r, err := m.Dir.issued(id.Node)
	switch {
	case err != nil:
		return nil, err
	case r == nil:
		return nil, fmt.Errorf("node %q is not on the issuer's list any more", id.Node)
	case !r.sameKey(old):
		return nil, fmt.Errorf("the name %q was given to another key on %s", id.Node, day(r.At))
	}
	cert, err := m.authority.issue(id.Node, old.PublicKey, now)
	if err != nil {
		return nil, err
	}
	return cert, m.Dir.record(cert, now)
}

// failed counts a refusal.
func (i *Issuer) failed(addr net.Addr) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.failures) >= failuresKept {
		clear(i.failures)
	}
	f := i.failures[hostOf(addr)]
	if i.now().Sub(f.since) > failuresWithin {
		f = failures{since: i.now()}
	}
	f.count++
	i.failures[hostOf(addr)] = f
}

// tooMany reports whether an address was refused so often that it is not heard for a while.
func (i *Issuer) tooMany(addr net.Addr) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	f := i.failures[hostOf(addr)]
	return f.count >= failuresMost && i.now().Sub(f.since) <= failuresWithin
}

func hostOf(addr net.Addr) string {
	host, _, err := net.SplitHostPort(addr.String())
	if err != nil {
		return addr.String()
	}
	return host
}
