package pki

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net/url"
	"time"
)

const (
	authorityLife = 20 * 365 * 24 * time.Hour
	// NodeLife is for how long the certificate of a node is good.
	NodeLife = 365 * 24 * time.Hour
	// RenewBefore is how long before its end a certificate should be renewed.
	RenewBefore = 30 * 24 * time.Hour
	// skew is by how much clocks of hosts may differ.
	skew = time.Hour
)

// authority signs certificates of nodes.
type authority struct {
	cluster ClusterID
	name    string
	cert    *x509.Certificate
	key     ed25519.PrivateKey
}

func newAuthority(id ClusterID, name string, now time.Time) (*authority, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the key of the authority: %w", err)
	}
	t := &x509.Certificate{
		SerialNumber: newSerial(), Subject: pkix.Name{CommonName: "covol cluster " + name},
		URIs:      []*url.URL{{Scheme: uriScheme, Host: id.String()}},
		NotBefore: now.Add(-skew), NotAfter: now.Add(authorityLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign,
	}
	cert, err := signed(t, t, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("sign the certificate of the authority: %w", err)
	}
	return &authority{cluster: id, name: name, cert: cert, key: key}, nil
}

// issue signs a certificate that names the owner of pub as a node.
func (a *authority) issue(node string, pub any, now time.Time) (*x509.Certificate, error) {
	if err := CheckName(node); err != nil {
		return nil, err
	}
	if _, ok := pub.(ed25519.PublicKey); !ok {
		return nil, fmt.Errorf("a key of type %T is not used here, want Ed25519", pub)
	}
	end := now.Add(NodeLife)
	if end.After(a.cert.NotAfter) {
		end = a.cert.NotAfter
	}
	t := &x509.Certificate{
		SerialNumber: newSerial(), Subject: pkix.Name{Organization: []string{"covol cluster " + a.name}, CommonName: node},
		URIs:      []*url.URL{Identity{Cluster: a.cluster, Node: node}.uri()},
		NotBefore: now.Add(-skew), NotAfter: end, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	cert, err := signed(t, a.cert, pub, a.key)
	if err != nil {
		return nil, fmt.Errorf("sign the certificate of %s: %w", node, err)
	}
	return cert, nil
}

func signed(t, parent *x509.Certificate, pub any, key ed25519.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, t, parent, pub, key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func newSerial() *big.Int {
	b := make([]byte, 16)
	_, _ = rand.Read(b)     // never fails
	b[0] = b[0]&0x7f | 0x40 // positive, and never short
	return new(big.Int).SetBytes(b)
}

// newNodeKey makes the key of a node.
func newNodeKey() (ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the key of the node: %w", err)
	}
	return key, nil
}
