package pki

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"time"
)

// Refusal is the reason for which the issuer refused, in its words.
type Refusal struct{ Reason string }

func (r *Refusal) Error() string { return "the issuer refuses: " + r.Reason }

// Join makes a key, has it certified by the issuer that the token names, and writes the cluster directory. Nothing
// is sent before it is sure that the directory can be written: a token works once.
func Join(ctx context.Context, dir Dir, t *Token, node string, now func() time.Time, force bool) (*Member, error) {
	if err := CheckName(node); err != nil {
		return nil, err
	}
	if err := dir.prepare(force); err != nil {
		return nil, err
	}
	key, err := newNodeKey()
	if err != nil {
		return nil, err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: node}}, key)
	if err != nil {
		return nil, fmt.Errorf("make a certificate request: %w", err)
	}
	var ca *x509.Certificate
	conn, err := dialIssuer(ctx, t.Addr, &tls.Config{Time: now, VerifyConnection: func(cs tls.ConnectionState) (err error) {
		ca, err = t.pinned(cs, now())
		return err
	}})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	cs := conn.ConnectionState()
	exporter, err := cs.ExportKeyingMaterial(exporterLabel, nil, exporterSize)
	if err != nil {
		return nil, err
	}
	a, err := ask(conn, &request{Version: wireVersion, Kind: kindJoin, Node: node, Token: t.ID, CSR: csr,
		Proof: ed25519.Sign(t.key(), statement(exporter, t.ID, node, csr))})
	if err != nil {
		return nil, err
	}
	cert, err := a.cert(ca, t.Cluster, node, key, now())
	if err != nil {
		return nil, err
	}
	m := &Member{Dir: dir, CA: ca, Cert: cert, Key: key, Gossip: a.Gossip,
		Info: Info{Version: infoVersion, Cluster: t.Cluster, Name: a.Name, Node: node, CA: t.CA, Issuer: t.Addr}}
	if len(m.Gossip) != gossipKeySize {
		return nil, fmt.Errorf("the issuer sent a gossip key of %d bytes, want %d", len(m.Gossip), gossipKeySize)
	}
	if err := CheckName(m.Info.Name); err != nil {
		return nil, fmt.Errorf("name of the cluster: %w", err)
	}
	if err := m.install(force, now()); err != nil {
		return nil, fmt.Errorf("the token is used up, but its fruits could not be kept: %w", err)
	}
	return m, nil
}

// pinned finds the authority of the token in what the issuer shows, and holds the issuer to it.
func (t *Token) pinned(cs tls.ConnectionState, now time.Time) (*x509.Certificate, error) {
	for _, c := range cs.PeerCertificates[min(1, len(cs.PeerCertificates)):] {
		if FingerprintOf(c) == t.CA {
			_, err := verify(c, t.Cluster, cs.PeerCertificates, now)
			return c, err
		}
	}
	return nil, fmt.Errorf("%w: who answers at %s does not belong to the authority that the token names", ErrStranger, t.Addr)
}

// Renew replaces the certificate of the node by one that lasts longer. The issuer does it by itself, others ask it.
func Renew(ctx context.Context, m *Member, now func() time.Time) (*Member, error) {
	cert, err := m.renewed(ctx, now)
	if err != nil {
		return nil, err
	}
	if err := m.Dir.write(fileNode, certPEM(cert), true); err != nil {
		return nil, err
	}
	return Load(m.Dir)
}

func (m *Member) renewed(ctx context.Context, now func() time.Time) (*x509.Certificate, error) {
	if m.Issuer() {
		return m.reissue(m.Cert, now())
	}
	if m.Info.Issuer == "" {
		return nil, errors.New("it is not known where certificates are issued")
	}
	if left := m.Left(now()); left <= 0 {
		return nil, fmt.Errorf("the certificate ended on %s, and one that ended cannot be renewed: join again with a token for this very name", day(m.Cert.NotAfter))
	}
	conn, err := dialIssuer(ctx, m.Info.Issuer, &tls.Config{
		Time: now, Certificates: []tls.Certificate{{Certificate: [][]byte{m.Cert.Raw}, PrivateKey: m.Key}},
		VerifyConnection: func(cs tls.ConnectionState) error {
			_, err := verify(m.CA, m.Info.Cluster, cs.PeerCertificates, now())
			return err
		}})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	a, err := ask(conn, &request{Version: wireVersion, Kind: kindRenew, Node: m.Info.Node})
	if err != nil {
		return nil, err
	}
	return a.cert(m.CA, m.Info.Cluster, m.Info.Node, m.Key, now())
}

// dialIssuer connects. Names and chains are for cfg.VerifyConnection to check, in a way of our own.
func dialIssuer(ctx context.Context, addr string, cfg *tls.Config) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, exchangeTime)
	defer cancel()
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("reach the issuer: %w", err)
	}
	cfg.MinVersion, cfg.InsecureSkipVerify = tls.VersionTLS13, true
	conn := tls.Client(raw, cfg)
	_ = raw.SetDeadline(time.Now().Add(exchangeTime))
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, fmt.Errorf("talk to the issuer at %s: %w", addr, err)
	}
	return conn, nil
}

func ask(conn *tls.Conn, req *request) (*answer, error) {
	if err := writeMessage(conn, req); err != nil {
		return nil, fmt.Errorf("ask the issuer: %w", remoteRefusal(err))
	}
	a := &answer{}
	if err := readMessage(conn, a); err != nil {
		return nil, fmt.Errorf("answer of the issuer: %w", remoteRefusal(err))
	}
	switch {
	case a.Refused != "":
		return nil, &Refusal{Reason: printable(a.Refused)}
	case a.Version != wireVersion:
		return nil, fmt.Errorf("the issuer answers in version %d, this program knows %d", a.Version, wireVersion)
	}
	return a, nil
}

// cert is the certificate in an answer, if it is what was asked for.
func (a *answer) cert(ca *x509.Certificate, cluster ClusterID, node string, key ed25519.PrivateKey, now time.Time) (*x509.Certificate, error) {
	cert, err := x509.ParseCertificate(a.Cert)
	if err != nil {
		return nil, fmt.Errorf("certificate from the issuer: %w", err)
	}
	id, err := verify(ca, cluster, []*x509.Certificate{cert}, now)
	switch {
	case err != nil:
		return nil, fmt.Errorf("certificate from the issuer: %w", err)
	case id.Node != node:
		return nil, fmt.Errorf("the issuer sent a certificate for %q, not for %q", id.Node, node)
	case !key.Public().(ed25519.PublicKey).Equal(cert.PublicKey):
		return nil, errors.New("the issuer sent a certificate for another key")
	}
	return cert, nil
}

// printable keeps a stranger's words from driving a terminal.
func printable(s string) string {
	b := []rune(s)
	for i, r := range b {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			b[i] = '?'
		}
	}
	return string(b)
}
