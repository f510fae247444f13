package pki

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// ClusterID names a cluster. It is made once, at random.
type ClusterID [16]byte

func newClusterID() (id ClusterID) {
	_, _ = rand.Read(id[:]) // never fails
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return id
}

// String is the usual form of a UUID.
func (id ClusterID) String() string {
	h := hex.EncodeToString(id[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// MarshalText is String.
func (id ClusterID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText is the inverse of String and takes nothing else.
func (id *ClusterID) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(strings.ReplaceAll(string(text), "-", ""))
	if err != nil || len(b) != len(id) {
		return fmt.Errorf("%q is no UUID", text)
	}
	got := ClusterID(b)
	if got.String() != string(text) {
		return fmt.Errorf("%q is no UUID", text)
	}
	*id = got
	return nil
}

// Identity is whom a certificate speaks for.
type Identity struct {
	Cluster ClusterID
	Node    string
}

const (
	uriScheme = "covol"
	uriNode   = "/node/"
	maxName   = 64 // bytes of a name, as a slot on the disk has room for
)

// CheckName holds the name of a node or a cluster to what fits a slot, a file name and a line of text.
func CheckName(name string) error {
	switch {
	case name == "":
		return errors.New("the name is empty")
	case len(name) > maxName:
		return fmt.Errorf("a name of %d bytes is longer than %d", len(name), maxName)
	}
	for _, r := range name {
		if r <= ' ' || r == 0x7f || r == '/' || r == '\ufffd' {
			return fmt.Errorf("name %q has a character that is not allowed", name)
		}
	}
	return nil
}

func (i Identity) uri() *url.URL {
	return &url.URL{Scheme: uriScheme, Host: i.Cluster.String(), Path: uriNode + i.Node}
}

// IdentityOf reads the names in a certificate. It says nothing about who signed them.
func IdentityOf(cert *x509.Certificate) (Identity, error) {
	var id Identity
	if len(cert.URIs) != 1 {
		return id, fmt.Errorf("the certificate has %d URIs, want 1", len(cert.URIs))
	}
	u := cert.URIs[0]
	name, ok := strings.CutPrefix(u.Path, uriNode)
	if u.Scheme != uriScheme || !ok || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return id, fmt.Errorf("%s does not name a node of covol", u)
	}
	if err := id.Cluster.UnmarshalText([]byte(u.Host)); err != nil {
		return id, fmt.Errorf("cluster of %s: %w", u, err)
	}
	if err := CheckName(name); err != nil {
		return id, fmt.Errorf("node of %s: %w", u, err)
	}
	id.Node = name
	return id, nil
}

// Fingerprint is the SHA-256 of a certificate.
type Fingerprint [sha256.Size]byte

// FingerprintOf is taken over the whole DER form.
func FingerprintOf(cert *x509.Certificate) Fingerprint { return sha256.Sum256(cert.Raw) }

func (f Fingerprint) String() string { return hex.EncodeToString(f[:]) }

// MarshalText is String.
func (f Fingerprint) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText is the inverse of String.
func (f *Fingerprint) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	if err != nil || len(b) != len(f) {
		return fmt.Errorf("%q is no SHA-256", text)
	}
	*f = Fingerprint(b)
	return nil
}
