package pki

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// Credentials are a node's certificate and key in use. They follow the directory: a renewed certificate is shown from
// the next connection on, without a restart.
type Credentials struct {
	now func() time.Time
	log *slog.Logger
	dir Dir

	mu sync.Mutex
	// GUARDED_BY(mu)
	member *Member
	// GUARDED_BY(mu): of node.crt when member was read
	stamp fileStamp
	// GUARDED_BY(mu): the day for which the coming end was told
	warned int64
}

type fileStamp struct {
	mod  time.Time
	size int64
	ok   bool
}

// Open loads a cluster directory for use. A certificate that has ended is refused: the others would refuse it too.
func Open(dir Dir, now func() time.Time, log *slog.Logger) (*Credentials, error) {
	c := &Credentials{now: now, log: log, dir: dir, stamp: dir.stamp()}
	m, err := Load(dir)
	if err != nil {
		return nil, err
	}
	if _, err := verify(m.CA, m.Info.Cluster, []*x509.Certificate{m.Cert}, now()); err != nil {
		return nil, fmt.Errorf("the certificate of this node in %s: %w", dir, err)
	}
	c.member = m
	return c, nil
}

func (d Dir) stamp() fileStamp {
	st, err := os.Stat(d.path(fileNode))
	if err != nil {
		return fileStamp{}
	}
	return fileStamp{mod: st.ModTime(), size: st.Size(), ok: true}
}

// Member is what the directory has now, or had when it could last be read.
func (c *Credentials) Member() *Member {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.dir.stamp(); s != c.stamp {
		c.stamp = s
		if m, err := Load(c.dir); err != nil {
			c.log.Error("certificate of this node changed, but cannot be used", "err", err)
		} else if m.Info.Cluster != c.member.Info.Cluster || m.Info.Node != c.member.Info.Node {
			c.log.Error("the cluster directory is of another cluster or node now; it is not used before a restart", "dir", string(c.dir))
		} else {
			c.member = m
			c.log.Info("certificate of this node was renewed", "until", day(m.Cert.NotAfter))
		}
	}
	c.warn()
	return c.member
}

// warn tells once a day that the certificate should be renewed. It is called with mu held.
func (c *Credentials) warn() {
	now := c.now()
	left, today := c.member.Left(now), now.Unix()/(24*60*60)
	if left >= RenewBefore || c.warned == today {
		return
	}
	c.warned = today
	c.log.Warn("the certificate of this node ends soon; renew it with: covol cluster renew", "until", day(c.member.Cert.NotAfter), "days", int(left.Hours()/24))
}

// TLS is the configuration for both directions of a connection between nodes: 1.3, both sides must show a certificate
// of the cluster. Which node it is must be checked with Peer.
func (c *Credentials) TLS() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Time: c.now,
		// A ticket would let a side go on with a certificate that has ended, and a peer that restarts has none.
		SessionTicketsDisabled: true,
		// Names of hosts mean nothing here. VerifyConnection does all that is skipped, on both sides.
		InsecureSkipVerify: true,
		ClientAuth:         tls.RequireAnyClientCert,
		VerifyConnection: func(cs tls.ConnectionState) error {
			_, err := c.Peer(cs)
			return err
		},
		GetCertificate:       func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.certificate(), nil },
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c.certificate(), nil },
	}
}

func (c *Credentials) certificate() *tls.Certificate {
	m := c.Member()
	return &tls.Certificate{Certificate: [][]byte{m.Cert.Raw}, PrivateKey: m.Key, Leaf: m.Cert}
}

// Peer says which node is at the other end of a connection.
func (c *Credentials) Peer(cs tls.ConnectionState) (Identity, error) {
	c.mu.Lock()
	m := c.member
	c.mu.Unlock()
	return verify(m.CA, m.Info.Cluster, cs.PeerCertificates, c.now())
}

// CheckPeer holds the other end of a connection to a name. An empty name is any node of the cluster.
func (c *Credentials) CheckPeer(cs tls.ConnectionState, name string) error {
	id, err := c.Peer(cs)
	if err == nil && name != "" && id.Node != name {
		err = fmt.Errorf("%w: the certificate is of node %q, the name there is %q", ErrStranger, id.Node, name)
	}
	return err
}
