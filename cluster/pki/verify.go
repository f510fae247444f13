package pki

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"
)

// ErrStranger is the class of certificates that are not of a node of the cluster.
var ErrStranger = errors.New("not a node of this cluster")

// verify accepts the certificate of a node of a cluster and says which. The reasons are for people.
func verify(ca *x509.Certificate, cluster ClusterID, chain []*x509.Certificate, now time.Time) (Identity, error) {
	if len(chain) == 0 {
		return Identity{}, fmt.Errorf("%w: it shows no certificate", ErrStranger)
	}
	cert := chain[0]
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	_, err := cert.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return Identity{}, fmt.Errorf("%w: the certificate of %s is good from %s to %s only", ErrStranger, quoted(cert), day(cert.NotBefore), day(cert.NotAfter))
	case errors.As(err, &unknown):
		return Identity{}, fmt.Errorf("%w: the certificate of %s is signed by another authority", ErrStranger, quoted(cert))
	case err != nil:
		return Identity{}, fmt.Errorf("%w: %w", ErrStranger, err)
	}
	id, err := IdentityOf(cert)
	switch {
	case err != nil:
		return id, fmt.Errorf("%w: %w", ErrStranger, err)
	case id.Cluster != cluster:
		return id, fmt.Errorf("%w: %q is of cluster %s", ErrStranger, id.Node, id.Cluster)
	}
	return id, nil
}

// quoted is the name that a certificate claims, for messages.
func quoted(cert *x509.Certificate) string {
	name := cert.Subject.CommonName
	if len(name) > maxName {
		name = name[:maxName]
	}
	return fmt.Sprintf("%q", name)
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") }

// remoteRefusal makes the alert of a peer that does not like our certificate readable.
func remoteRefusal(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" {
		return fmt.Errorf("the other side does not accept this node's certificate (its log says why): %w", err)
	}
	return err
}
