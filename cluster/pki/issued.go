package pki

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"
)

// Issued is a name that has a certificate, as the issuer remembers it.
type Issued struct {
	Node        string      `json:"node"`
	Key         []byte      `json:"key"` // SHA-256 of the public key
	Fingerprint Fingerprint `json:"fingerprint"`
	NotAfter    time.Time   `json:"not_after"`
	At          time.Time   `json:"at"`
}

func issuedFile(node string) string { return dirIssued + "/" + url.PathEscape(node) + ".json" }

func keyHash(cert *x509.Certificate) []byte {
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return sum[:]
}

// record remembers a certificate before it is given away.
func (d Dir) record(cert *x509.Certificate, now time.Time) error {
	id, err := IdentityOf(cert)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(d.path(dirIssued), 0o700); err != nil {
		return err
	}
	b, err := json.Marshal(Issued{Node: id.Node, Key: keyHash(cert), Fingerprint: FingerprintOf(cert), NotAfter: cert.NotAfter.UTC(), At: now.UTC()})
	if err != nil {
		return err
	}
	return d.write(issuedFile(id.Node), append(b, '\n'), true)
}

// issued returns nil for a name that has no certificate.
func (d Dir) issued(node string) (*Issued, error) {
	r, err := d.readIssued(issuedFile(node))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return r, err
}

func (d Dir) readIssued(name string) (*Issued, error) {
	b, err := d.read(name)
	if err != nil {
		return nil, err
	}
	r := &Issued{}
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("%s: %w", d.path(name), err)
	}
	return r, nil
}

// Issued lists the names that have certificates, on the issuer, in order.
func (m *Member) Issued() ([]Issued, error) {
	entries, err := os.ReadDir(m.Dir.path(dirIssued))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []Issued
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".json") || strings.HasPrefix(e.Name(), ".") && strings.HasSuffix(e.Name(), ".new") {
			continue
		}
		r, err := m.Dir.readIssued(dirIssued + "/" + e.Name())
		if err != nil {
			return nil, err
		}
		list = append(list, *r)
	}
	slices.SortFunc(list, func(a, b Issued) int { return cmp.Compare(a.Node, b.Node) })
	return list, nil
}

// sameKey reports whether the certificate is of the key that has the name.
func (i *Issued) sameKey(cert *x509.Certificate) bool { return bytes.Equal(i.Key, keyHash(cert)) }
