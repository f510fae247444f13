package pki

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// FuzzToken: whatever a person pastes is a token, which prints as it was, or an error.
func FuzzToken(f *testing.F) {
	t := &Token{Addr: "10.0.0.1:7790"}
	f.Add(t.String())
	f.Add(tokenPrefix + "AAAA")
	f.Fuzz(func(t *testing.T, text string) {
		tok, err := ParseToken(text)
		if err != nil {
			require.ErrorIs(t, err, ErrToken)
			return
		}
		again, err := ParseToken(tok.String())
		require.NoError(t, err)
		require.Equal(t, tok, again)
	})
}

// channel is the state of a connection without a certificate of the client.
func channel(tb testing.TB, m *Member) tls.ConnectionState {
	x, y := net.Pipe()
	defer x.Close()
	defer y.Close()
	server := tls.Server(x, &tls.Config{SessionTicketsDisabled: true, Certificates: []tls.Certificate{{Certificate: [][]byte{m.Cert.Raw}, PrivateKey: m.Key}}})
	done := make(chan error, 1)
	go func() { done <- tls.Client(y, &tls.Config{InsecureSkipVerify: true}).Handshake() }()
	require.NoError(tb, server.Handshake())
	require.NoError(tb, <-done)
	return server.ConnectionState()
}

// FuzzRequest feeds the issuer bytes of somebody who has no token: no panic, and nobody is let in.
func FuzzRequest(f *testing.F) {
	dir := Dir(filepath.Join(f.TempDir(), "covol"))
	m, err := Init(dir, "lab", "head", time.Now(), false)
	require.NoError(f, err)
	i, err := NewIssuer(dir, time.Now, slog.New(slog.DiscardHandler), nil)
	require.NoError(f, err)
	tok, err := m.NewToken("127.0.0.1:1", "", time.Hour, time.Now())
	require.NoError(f, err)
	cs := channel(f, m)
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, m.Key)
	require.NoError(f, err)
	for _, r := range []request{
		{Version: wireVersion, Kind: kindJoin, Node: "x", Token: tok.ID, CSR: csr, Proof: make([]byte, 64)},
		{Version: wireVersion, Kind: kindJoin, Node: "x", Token: tok.ID, CSR: []byte{0x30}, Proof: make([]byte, 64)},
		{Version: wireVersion, Kind: kindRenew, Node: "head"},
		{},
	} {
		var b bytes.Buffer
		require.NoError(f, writeMessage(&b, r))
		f.Add(b.Bytes())
	}
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		var r request
		if readMessage(bytes.NewReader(b), &r) != nil {
			return
		}
		cert, _, err := i.decide(m, cs, &r)
		require.Error(t, err)
		require.Nil(t, cert)
	})
}

// FuzzAnswer feeds a node bytes of an issuer: no panic, and no certificate of somebody else.
func FuzzAnswer(f *testing.F) {
	m, err := Init(Dir(filepath.Join(f.TempDir(), "covol")), "lab", "head", time.Now(), false)
	require.NoError(f, err)
	var b bytes.Buffer
	require.NoError(f, writeMessage(&b, answer{Version: wireVersion, Name: "lab", Cert: m.Cert.Raw, Gossip: m.Gossip}))
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		var a answer
		if readMessage(bytes.NewReader(b), &a) != nil {
			return
		}
		if cert, err := a.cert(m.CA, m.Info.Cluster, "head", m.Key, time.Now()); err == nil {
			require.True(t, m.Key.Public().(ed25519.PublicKey).Equal(cert.PublicKey))
		}
	})
}

// FuzzCertificate: names in a certificate, whoever signed it, are read or refused.
func FuzzCertificate(f *testing.F) {
	m, err := Init(Dir(filepath.Join(f.TempDir(), "covol")), "lab", "head", time.Now(), false)
	require.NoError(f, err)
	f.Add(m.Cert.Raw)
	f.Add(m.CA.Raw)
	f.Fuzz(func(t *testing.T, der []byte) {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return
		}
		if id, err := IdentityOf(cert); err == nil {
			require.NoError(t, CheckName(id.Node))
		}
		if _, err := verify(m.CA, m.Info.Cluster, []*x509.Certificate{cert}, time.Now()); err == nil {
			require.Equal(t, m.Cert.RawSubjectPublicKeyInfo, cert.RawSubjectPublicKeyInfo)
		}
	})
}
