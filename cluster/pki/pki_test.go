package pki

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is a time that tests move.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Now().Truncate(time.Second)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// logBuffer is a log that goroutines write and a test reads.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// site is a cluster with an issuer that serves.
type site struct {
	t     *testing.T
	clock *clock
	log   *logBuffer
	head  *Member
	addr  string
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, clock: newClock(), log: &logBuffer{}}
	var err error
	s.head, err = Init(Dir(filepath.Join(t.TempDir(), "covol")), "lab", "head", s.clock.now(), false)
	require.NoError(t, err)
	s.addr = s.serve()
	return s
}

// serve runs a new issuer until the test is over.
func (s *site) serve() string {
	s.t.Helper()
	i, err := NewIssuer(s.head.Dir, s.clock.now, slog.New(slog.NewTextHandler(s.log, nil)), nil)
	require.NoError(s.t, err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(s.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- i.Serve(ctx, ln) }()
	s.t.Cleanup(func() {
		cancel()
		assert.NoError(s.t, <-done)
	})
	return ln.Addr().String()
}

func (s *site) token(node string) *Token {
	s.t.Helper()
	t, err := s.head.NewToken(s.addr, node, time.Hour, s.clock.now())
	require.NoError(s.t, err)
	again, err := ParseToken(t.String())
	require.NoError(s.t, err)
	require.Equal(s.t, t, again)
	return again
}

func (s *site) join(t *Token, node string) (*Member, error) {
	return Join(s.t.Context(), Dir(filepath.Join(s.t.TempDir(), "covol")), t, node, s.clock.now, false)
}

func (s *site) joined(node string) *Member {
	s.t.Helper()
	m, err := s.join(s.token(""), node)
	require.NoError(s.t, err)
	return m
}

// refused requires a refusal that both sides explain alike.
func (s *site) refused(err error, want string) {
	s.t.Helper()
	var r *Refusal
	require.ErrorAs(s.t, err, &r)
	require.Contains(s.t, r.Reason, want)
	require.Eventually(s.t, func() bool { return strings.Contains(s.log.String(), strings.ReplaceAll(want, `"`, `\"`)) }, 10*time.Second, time.Millisecond, "the issuer's log: %s", s.log)
}

func TestJoin(t *testing.T) {
	s := newSite(t)
	m := s.joined("n2")
	assert.Equal(t, s.head.Gossip, m.Gossip)
	assert.Equal(t, s.head.CA.Raw, m.CA.Raw)
	assert.False(t, m.Issuer())
	loaded, err := Load(m.Dir)
	require.NoError(t, err)
	assert.Equal(t, Info{Version: 1, Cluster: s.head.Info.Cluster, Name: "lab", Node: "n2", CA: s.head.Info.CA, Issuer: s.addr}, loaded.Info)
	assert.NoFileExists(t, m.Dir.path(fileCAKey))
	for _, dir := range []Dir{m.Dir, s.head.Dir} {
		require.NoError(t, filepath.Walk(string(dir), func(path string, st os.FileInfo, err error) error {
			if err == nil && st.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s has mode %v", path, st.Mode())
			}
			if strings.HasSuffix(path, ".new") || strings.Contains(path, ".try-") {
				t.Errorf("%s is left", path)
			}
			return err
		}))
	}
	list, err := s.head.Issued()
	require.NoError(t, err)
	require.Len(t, list, 2)
	assert.Equal(t, "head", list[0].Node)
	assert.Equal(t, FingerprintOf(m.Cert), list[1].Fingerprint)
}

func TestJoin_Refused(t *testing.T) {
	s := newSite(t)
	t.Run("used token", func(t *testing.T) {
		tok := s.token("")
		_, err := s.join(tok, "once")
		require.NoError(t, err)
		_, err = s.join(tok, "twice")
		s.refused(err, `used by node "once"`)
	})
	t.Run("expired token", func(t *testing.T) {
		tok := s.token("")
		s.clock.add(time.Hour)
		_, err := s.join(tok, "late")
		s.refused(err, "the token ended on")
	})
	t.Run("token of another node", func(t *testing.T) {
		_, err := s.join(s.token("this"), "that")
		s.refused(err, `made for node "this"`)
	})
	t.Run("name taken", func(t *testing.T) {
		m := s.joined("taken")
		_, err := s.join(s.token(""), "taken")
		s.refused(err, "has a certificate already")
		again, err := s.join(s.token("taken"), "taken")
		require.NoError(t, err, "a token for the very name replaces the key")
		_, err = Renew(t.Context(), m, s.clock.now)
		s.refused(err, "was given to another key")
		_, err = Renew(t.Context(), again, s.clock.now)
		require.NoError(t, err)
	})
	t.Run("guessed secret", func(t *testing.T) {
		tok := s.token("")
		guess := *tok
		for i := range maxTries {
			guess.Secret[0]++
			_, err := s.join(&guess, fmt.Sprint("guess", i))
			s.refused(err, "the token is not known here")
		}
		_, err := s.join(tok, "right")
		s.refused(err, "the token is void")
	})
	t.Run("unknown token", func(t *testing.T) {
		tok := *s.token("")
		tok.ID[0]++
		_, err := s.join(&tok, "x")
		s.refused(err, "the token is not known here")
	})
	list, err := s.head.Issued()
	require.NoError(t, err)
	assert.Len(t, list, 3, "head, once, taken")
}

// TestJoin_WrongIssuer: a node tells nothing to who is not the authority of its token.
func TestJoin_WrongIssuer(t *testing.T) {
	s, other := newSite(t), newSite(t)
	tok := *s.token("")
	tok.Addr = other.addr
	_, err := s.join(&tok, "n")
	require.ErrorIs(t, err, ErrStranger)
	require.ErrorContains(t, err, "does not belong to the authority that the token names")
	require.Eventually(t, func() bool { return strings.Contains(other.log.String(), "handshake") }, 10*time.Second, time.Millisecond)

	// Somebody shows the right authority's certificate, which is no secret, behind one of his own.
	key, err := newNodeKey()
	require.NoError(t, err)
	foreign, err := newAuthority(s.head.Info.Cluster, "lab", s.clock.now())
	require.NoError(t, err)
	cert, err := foreign.issue("head", key.Public(), s.clock.now())
	require.NoError(t, err)
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw, s.head.CA.Raw}, PrivateKey: key}}})
	require.NoError(t, err)
	heard := make(chan int, 1)
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			heard <- -1
			return
		}
		defer conn.Close()
		n, _ := conn.Read(make([]byte, 100))
		heard <- n
	}()
	defer ln.Close()
	tok = *s.token("")
	tok.Addr = ln.Addr().String()
	_, err = s.join(&tok, "n")
	require.ErrorContains(t, err, "another authority")
	assert.Zero(t, <-heard, "bytes sent to a stranger")
}

// TestIssuer_Hammered: an address that is refused all the time is not heard for a while, and garbage harms nobody.
func TestIssuer_Hammered(t *testing.T) {
	s := newSite(t)
	tok := s.token("")
	for range failuresMost {
		conn, err := net.Dial("tcp", s.addr)
		require.NoError(t, err)
		_, _ = conn.Write([]byte("GET / HTTP/1.0\r\n\r\n"))
		_, _ = conn.Read(make([]byte, 1000))
		_ = conn.Close()
	}
	require.Eventually(t, func() bool { return strings.Count(s.log.String(), "refused") == failuresMost }, 10*time.Second, time.Millisecond)
	_, err := s.join(tok, "n")
	require.Error(t, err)
	s.clock.add(failuresWithin + time.Second)
	_, err = s.join(tok, "n")
	require.NoError(t, err)
}

// TestIssuer_Race: of many that hold the same token at once, one comes in.
func TestIssuer_Race(t *testing.T) {
	s := newSite(t)
	second := s.serve() // as another process would
	tok := s.token("")
	var wg sync.WaitGroup
	var mu sync.Mutex
	in := 0
	for i := range 10 {
		mine := *tok
		if i%2 == 1 {
			mine.Addr = second
		}
		dir := Dir(filepath.Join(t.TempDir(), "covol"))
		wg.Go(func() {
			if _, err := Join(t.Context(), dir, &mine, fmt.Sprint("n", i), s.clock.now, false); err == nil {
				mu.Lock()
				defer mu.Unlock()
				in++
			}
		})
	}
	wg.Wait()
	assert.Equal(t, 1, in)
}

func TestRenew(t *testing.T) {
	s := newSite(t)
	m := s.joined("n2")
	var log logBuffer
	c, err := Open(m.Dir, s.clock.now, slog.New(slog.NewTextHandler(&log, nil)))
	require.NoError(t, err)
	require.Equal(t, m.Cert.Raw, c.certificate().Certificate[0])
	require.NotContains(t, log.String(), "ends soon")
	s.clock.add(NodeLife - RenewBefore + time.Hour)
	c.Member()
	c.Member()
	require.Equal(t, 1, strings.Count(log.String(), "covol cluster renew"), log.String())
	for _, who := range []*Member{s.head, m} {
		again, err := Renew(t.Context(), who, s.clock.now)
		require.NoError(t, err)
		assert.Equal(t, s.clock.now().Add(NodeLife).UTC(), again.Cert.NotAfter.UTC())
		assert.Equal(t, who.Cert.PublicKey, again.Cert.PublicKey)
		if who == m {
			assert.Equal(t, again.Cert.Raw, c.certificate().Certificate[0], "the new certificate is in use at once")
		}
	}
	// Taken from the list.
	require.NoError(t, os.Remove(s.head.Dir.path(issuedFile("n2"))))
	_, err = Renew(t.Context(), m, s.clock.now)
	s.refused(err, `node "n2" is not on the issuer's list`)
	// Too late.
	s.clock.add(NodeLife + time.Hour)
	_, err = Renew(t.Context(), m, s.clock.now)
	require.ErrorContains(t, err, "cannot be renewed")
	_, err = Open(m.Dir, s.clock.now, slog.New(slog.DiscardHandler))
	require.ErrorIs(t, err, ErrStranger)
	_, err = NewIssuer(s.head.Dir, s.clock.now, nil, nil)
	require.ErrorContains(t, err, "is good from")
}

// TestRenew_Strangers: nobody renews with a certificate that is not the cluster's, or with none.
func TestRenew_Strangers(t *testing.T) {
	s, other := newSite(t), newSite(t)
	m := *s.joined("n2")
	foreign := other.joined("n2")
	m.Cert, m.Key = foreign.Cert, foreign.Key
	_, err := Renew(t.Context(), &m, s.clock.now)
	require.ErrorContains(t, err, "does not accept this node's certificate")
	require.Eventually(t, func() bool { return strings.Contains(s.log.String(), "signed by another authority") }, 10*time.Second, time.Millisecond, s.log)

	conn, err := dialIssuer(t.Context(), s.addr, &tls.Config{})
	require.NoError(t, err)
	defer conn.Close()
	_, err = ask(conn, &request{Version: wireVersion, Kind: kindRenew, Node: "n2"})
	s.refused(err, "show the old one")

	mine := s.joined("n3")
	mine.Info.Node = "head"
	_, err = Renew(t.Context(), mine, s.clock.now)
	s.refused(err, "the request")
}

// TestConnections: who may talk to whom, by the configuration that nodes use.
func TestConnections(t *testing.T) {
	s, other := newSite(t), newSite(t)
	open := func(m *Member) *Credentials {
		c, err := Open(m.Dir, s.clock.now, slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		return c
	}
	a, b, foreign := open(s.head), open(s.joined("n2")), open(other.head)
	old := s.joined("old")
	expired, err := s.head.authority.issue("old", old.Key.Public(), s.clock.now().Add(-2*NodeLife))
	require.NoError(t, err)
	require.NoError(t, old.Dir.write(fileNode, certPEM(expired), true))
	oldTLS := b.TLS()
	oldTLS.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return &tls.Certificate{Certificate: [][]byte{expired.Raw}, PrivateKey: old.Key}, nil
	}
	naked := b.TLS()
	naked.GetClientCertificate = nil
	for _, tc := range []struct {
		name   string
		client *tls.Config
		server *Credentials
		want   string // what the server says
		expect string // whom the server expects
	}{
		{"members", b.TLS(), a, "", "n2"},
		{"wrong name", b.TLS(), a, `certificate is of node "n2", the name there is "n3"`, "n3"},
		{"client of another cluster", foreign.TLS(), a, "", ""},
		{"ended", oldTLS, a, "is good from", "old"},
		{"no certificate", naked, a, "certificate", "n2"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			x, y := net.Pipe()
			defer x.Close()
			defer y.Close()
			client, server := tls.Client(x, tc.client), tls.Server(y, tc.server.TLS())
			done := make(chan error, 1)
			go func() {
				err := client.Handshake()
				if err == nil {
					_, err = client.Read(make([]byte, 1))
				}
				_ = x.Close()
				done <- err
			}()
			err := server.Handshake()
			if err == nil {
				err = tc.server.CheckPeer(server.ConnectionState(), tc.expect)
			}
			if err == nil {
				_, err = server.Write([]byte{1})
			}
			_ = y.Close()
			theirs := <-done
			if tc.name == "members" {
				require.NoError(t, err)
				require.NoError(t, theirs)
				require.Equal(t, uint16(tls.VersionTLS13), server.ConnectionState().Version)
				return
			}
			require.Error(t, err)
			require.Error(t, theirs)
			require.ErrorContains(t, err, tc.want)
		})
	}
}

// TestInit_Overwrite: what is there stays, unless the caller says otherwise.
func TestInit_Overwrite(t *testing.T) {
	dir := Dir(t.TempDir())
	now := time.Now()
	first, err := Init(dir, "lab", "a", now, false)
	require.NoError(t, err)
	_, err = Init(dir, "lab", "a", now, false)
	require.ErrorIs(t, err, ErrExists)
	again, err := Load(dir)
	require.NoError(t, err)
	require.Equal(t, first.Cert.Raw, again.Cert.Raw)
	second, err := Init(dir, "lab", "b", now, true)
	require.NoError(t, err)
	list, err := second.Issued()
	require.NoError(t, err)
	require.Len(t, list, 1, "the list of the old cluster is gone")

	for _, name := range []string{fileCA, fileCAKey, fileNode, fileNodeKey, fileGossip} {
		lone := Dir(t.TempDir())
		require.NoError(t, lone.write(name, []byte("precious"), false))
		_, err := Init(lone, "lab", "a", now, false)
		require.ErrorIs(t, err, ErrExists, name)
		b, err := lone.read(name)
		require.NoError(t, err)
		require.Equal(t, "precious", string(b))
		require.ErrorIs(t, lone.write(name, nil, false), ErrExists)
	}
	open := t.TempDir()
	require.NoError(t, os.Chmod(open, 0o777))
	_, err = Init(Dir(open), "lab", "a", now, false)
	require.ErrorContains(t, err, "others may write")
}

// TestLoad_Damaged: a directory with any one file gone, changed, readable by others or from another cluster is
// refused, with the file's name.
func TestLoad_Damaged(t *testing.T) {
	good, err := Init(Dir(t.TempDir()), "lab", "a", time.Now(), false)
	require.NoError(t, err)
	foreign, err := Init(Dir(t.TempDir()), "lab", "a", time.Now(), false)
	require.NoError(t, err)
	files := []string{fileCluster, fileCA, fileNode, fileNodeKey, fileGossip, fileCAKey}
	for _, name := range files {
		content, err := good.Dir.read(name)
		require.NoError(t, err)
		theirs, err := foreign.Dir.read(name)
		require.NoError(t, err)
		for what, harm := range map[string]func(path string) error{
			"gone":      os.Remove,
			"readable":  func(p string) error { return os.Chmod(p, 0o644) },
			"empty":     func(p string) error { return os.WriteFile(p, nil, 0o600) },
			"cut":       func(p string) error { return os.WriteFile(p, content[:len(content)/2], 0o600) },
			"long":      func(p string) error { return os.WriteFile(p, make([]byte, maxFile+1), 0o600) },
			"directory": func(p string) error { return errors.Join(os.Remove(p), os.Mkdir(p, 0o700)) },
			"foreign":   func(p string) error { return os.WriteFile(p, theirs, 0o600) },
		} {
			if name == fileCAKey && what == "gone" || name == fileGossip && what == "foreign" {
				continue // as on most nodes; a key like any other
			}
			require.NoError(t, harm(good.Dir.path(name)))
			_, err := Load(good.Dir)
			require.Error(t, err, "%s %s", name, what)
			if what == "gone" && name == fileCluster {
				require.ErrorIs(t, err, ErrNoCluster)
			}
			require.NoError(t, os.RemoveAll(good.Dir.path(name)))
			require.NoError(t, good.Dir.write(name, content, false))
			_, err = Load(good.Dir)
			require.NoError(t, err)
		}
	}
}

// TestInstall_Interrupted: after any number of files were written there is no cluster, and --force makes one.
func TestInstall_Interrupted(t *testing.T) {
	m, err := Init(Dir(t.TempDir()), "lab", "a", time.Now(), false)
	require.NoError(t, err)
	order := []string{fileCA, fileGossip, fileNodeKey, fileNode, fileCAKey}
	for n := range len(order) + 1 {
		dir := Dir(t.TempDir())
		for _, name := range order[:n] {
			b, err := m.Dir.read(name)
			require.NoError(t, err)
			require.NoError(t, dir.write(name, b, false))
		}
		require.False(t, dir.Exists())
		_, err := Load(dir)
		require.ErrorIs(t, err, ErrNoCluster)
		_, err = Init(dir, "lab", "a", time.Now(), n > 0)
		require.NoError(t, err)
		_, err = Load(dir)
		require.NoError(t, err)
	}
}

func TestTokens_Kept(t *testing.T) {
	s := newSite(t)
	tok := s.token("")
	b, err := s.head.Dir.read(tokenFile(tok.ID))
	require.NoError(t, err)
	assert.NotContains(t, string(b), string(tok.Secret[:]))
	for _, ttl := range []time.Duration{0, -time.Second, MaxTTL + 1} {
		_, err := s.head.NewToken(s.addr, "", ttl, s.clock.now())
		require.Error(t, err)
	}
	for _, addr := range []string{"", "host", ":1", "host:0", "host:x", strings.Repeat("a", maxAddr) + ":1"} {
		_, err := s.head.NewToken(addr, "", time.Hour, s.clock.now())
		require.Error(t, err, addr)
	}
	s.clock.add(time.Hour + keepUsed)
	s.token("")
	assert.NoFileExists(t, s.head.Dir.path(tokenFile(tok.ID)))
	_, err = s.joined("n2").NewToken(s.addr, "", time.Hour, s.clock.now())
	require.ErrorIs(t, err, ErrNotIssuer)
}

func TestIdentity(t *testing.T) {
	a, err := newAuthority(newClusterID(), "lab", time.Now())
	require.NoError(t, err)
	pub, _, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	for _, name := range []string{"a", "host-1.example", "ümläut", "50%", "a?b#c", "..", strings.Repeat("x", maxName)} {
		cert, err := a.issue(name, pub, time.Now())
		require.NoError(t, err, name)
		id, err := verify(a.cert, a.cluster, []*x509.Certificate{cert}, time.Now())
		require.NoError(t, err, name)
		require.Equal(t, name, id.Node)
	}
	for _, name := range []string{"", "a b", "a/b", "a\nb", "\xff", strings.Repeat("x", maxName+1)} {
		require.Error(t, CheckName(name), "%q", name)
	}
	_, err = verify(a.cert, a.cluster, []*x509.Certificate{a.cert}, time.Now())
	require.Error(t, err, "the authority itself is no node")
}
