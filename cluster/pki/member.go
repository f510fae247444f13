package pki

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// Info is what a node knows of its cluster besides keys: the content of cluster.json.
type Info struct {
	Version int         `json:"version"`
	Cluster ClusterID   `json:"cluster"`
	Name    string      `json:"name"`
	Node    string      `json:"node"`
	CA      Fingerprint `json:"ca_fingerprint"`
	Issuer  string      `json:"issuer,omitempty"` // HOST:PORT where certificates are renewed; empty where not known yet
}

const infoVersion = 1

// Member is one node's part of a cluster, as its directory has it. It is not changed after it was loaded.
type Member struct {
	Dir    Dir
	Info   Info
	CA     *x509.Certificate
	Cert   *x509.Certificate
	Key    ed25519.PrivateKey
	Gossip []byte // 32 bytes
	// authority is nil but on the issuer.
	authority *authority
}

// Issuer reports whether this node has the key of the authority.
func (m *Member) Issuer() bool { return m.authority != nil }

// Left is for how long the certificate of the node is good.
func (m *Member) Left(now time.Time) time.Duration { return m.Cert.NotAfter.Sub(now) }

const gossipKeySize = 32

// Init makes a cluster and its first node, which is the issuer. With force an earlier cluster in the directory is
// destroyed.
func Init(dir Dir, cluster, node string, now time.Time, force bool) (*Member, error) {
	if err := errors.Join(CheckName(cluster), CheckName(node)); err != nil {
		return nil, err
	}
	if err := dir.prepare(force); err != nil {
		return nil, err
	}
	ca, err := newAuthority(newClusterID(), cluster, now)
	if err != nil {
		return nil, err
	}
	key, err := newNodeKey()
	if err != nil {
		return nil, err
	}
	cert, err := ca.issue(node, key.Public(), now)
	if err != nil {
		return nil, err
	}
	m := &Member{
		Dir: dir, CA: ca.cert, Cert: cert, Key: key, Gossip: make([]byte, gossipKeySize), authority: ca,
		Info: Info{Version: infoVersion, Cluster: ca.cluster, Name: cluster, Node: node, CA: FingerprintOf(ca.cert)},
	}
	_, _ = rand.Read(m.Gossip) // never fails
	return m, m.install(force, now)
}

// Enrol makes a node's directory on the issuer itself, without a token: for nodes of one host, as in a lab. A name that
// has a certificate gets a new key only with force, which also overwrites the directory.
func (m *Member) Enrol(dir Dir, node string, now time.Time, force bool) (*Member, error) {
	if !m.Issuer() {
		return nil, ErrNotIssuer
	}
	if err := CheckName(node); err != nil {
		return nil, err
	}
	if err := dir.prepare(force); err != nil {
		return nil, err
	}
	s, err := m.Dir.lockTokens()
	if err != nil {
		return nil, err
	}
	defer s.unlock()
	old, err := m.Dir.issued(node)
	switch {
	case err != nil:
		return nil, err
	case old != nil && !force:
		return nil, fmt.Errorf("certificate of node %q: %w", node, ErrExists)
	}
	key, err := newNodeKey()
	if err != nil {
		return nil, err
	}
	cert, err := m.authority.issue(node, key.Public(), now)
	if err != nil {
		return nil, err
	}
	if err := m.Dir.record(cert, now); err != nil {
		return nil, err
	}
	info := m.Info
	info.Node = node
	n := &Member{Dir: dir, Info: info, CA: m.CA, Cert: cert, Key: key, Gossip: m.Gossip}
	return n, n.install(force, now)
}

// install writes the directory.
func (m *Member) install(force bool, now time.Time) error {
	if force {
		if err := m.Dir.clear(); err != nil {
			return err
		}
	}
	key, err := keyPEM(m.Key)
	if err != nil {
		return err
	}
	files := []struct {
		name    string
		content []byte
	}{{fileCA, certPEM(m.CA)}, {fileGossip, []byte(hex.EncodeToString(m.Gossip) + "\n")}, {fileNodeKey, key}, {fileNode, certPEM(m.Cert)}}
	for _, f := range files {
		if err := m.Dir.write(f.name, f.content, false); err != nil {
			return err
		}
	}
	if m.Issuer() {
		if key, err = keyPEM(m.authority.key); err != nil {
			return err
		}
		if err := m.Dir.write(fileCAKey, key, false); err != nil {
			return err
		}
		if err := m.Dir.record(m.Cert, now); err != nil {
			return err
		}
	}
	return m.writeInfo(false)
}

func (m *Member) writeInfo(replace bool) error {
	b, err := json.MarshalIndent(m.Info, "", "  ")
	if err != nil {
		return err
	}
	return m.Dir.write(fileCluster, append(b, '\n'), replace)
}

// SetIssuer notes where certificates are issued.
func (m *Member) SetIssuer(addr string) error {
	if m.Info.Issuer == addr {
		return nil
	}
	m.Info.Issuer = addr
	return m.writeInfo(true)
}

// Load reads a cluster directory. That the certificate is in time is for others to judge.
func Load(dir Dir) (*Member, error) {
	b, err := dir.read(fileCluster)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", dir, ErrNoCluster)
	}
	if err != nil {
		return nil, err
	}
	m := &Member{Dir: dir}
	if err := json.Unmarshal(b, &m.Info); err != nil {
		return nil, fmt.Errorf("%s: %w", dir.path(fileCluster), err)
	}
	if m.Info.Version != infoVersion {
		return nil, fmt.Errorf("%s is of version %d, this program knows %d", dir.path(fileCluster), m.Info.Version, infoVersion)
	}
	if m.CA, err = dir.readCert(fileCA); err != nil {
		return nil, err
	}
	if m.Cert, err = dir.readCert(fileNode); err != nil {
		return nil, err
	}
	if m.Key, err = dir.readKey(fileNodeKey); err != nil {
		return nil, err
	}
	if b, err = dir.read(fileGossip); err != nil {
		return nil, err
	}
	if m.Gossip, err = hex.DecodeString(string(bytes.TrimSpace(b))); err != nil || len(m.Gossip) != gossipKeySize {
		return nil, fmt.Errorf("%s is no key of %d bytes in hexadecimal", dir.path(fileGossip), gossipKeySize)
	}
	if err := m.consistent(); err != nil {
		return nil, fmt.Errorf("%s: files do not fit each other: %w", dir, err)
	}
	return m, m.loadAuthority()
}

// consistent holds the files to each other: an interrupted copy is found here and not as a refusal by others.
func (m *Member) consistent() error {
	if got := FingerprintOf(m.CA); got != m.Info.CA {
		return fmt.Errorf("%s has fingerprint %s, %s names %s", fileCA, got, fileCluster, m.Info.CA)
	}
	if !m.Key.Public().(ed25519.PublicKey).Equal(m.Cert.PublicKey) {
		return fmt.Errorf("%s is not the key of %s", fileNodeKey, fileNode)
	}
	id, err := verify(m.CA, m.Info.Cluster, []*x509.Certificate{m.Cert}, m.Cert.NotBefore)
	if err == nil && id.Node != m.Info.Node {
		err = fmt.Errorf("%s names node %q, %s %q", fileNode, id.Node, fileCluster, m.Info.Node)
	}
	return err
}

func (m *Member) loadAuthority() error {
	key, err := m.Dir.readKey(fileCAKey)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !key.Public().(ed25519.PublicKey).Equal(m.CA.PublicKey) {
		return fmt.Errorf("%s is not the key of %s", m.Dir.path(fileCAKey), fileCA)
	}
	m.authority = &authority{cluster: m.Info.Cluster, name: m.Info.Name, cert: m.CA, key: key}
	return nil
}

const (
	pemCert = "CERTIFICATE"
	pemKey  = "PRIVATE KEY"
)

func certPEM(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: pemCert, Bytes: c.Raw})
}

func keyPEM(k ed25519.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemKey, Bytes: der}), nil
}

func (d Dir) readPEM(name, kind string) ([]byte, error) {
	b, err := d.read(name)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil || block.Type != kind {
		return nil, fmt.Errorf("%s has no %s in PEM", d.path(name), kind)
	}
	return block.Bytes, nil
}

func (d Dir) readCert(name string) (*x509.Certificate, error) {
	der, err := d.readPEM(name, pemCert)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.path(name), err)
	}
	return cert, nil
}

func (d Dir) readKey(name string) (ed25519.PrivateKey, error) {
	der, err := d.readPEM(name, pemKey)
	if err != nil {
		return nil, err
	}
	k, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.path(name), err)
	}
	key, ok := k.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s is a key of type %T, want Ed25519", d.path(name), k)
	}
	return key, nil
}
