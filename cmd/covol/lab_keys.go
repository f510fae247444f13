package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/covol/covol/cluster/pki"
)

// A lab is a cluster of its own: DIR/cluster/issuer has its authority, DIR/cluster/nodeN the keys of each node.

func (l *lab) clusterRoot() string    { return filepath.Join(l.dir, "cluster") }
func (l *lab) issuer() pki.Dir        { return pki.Dir(filepath.Join(l.clusterRoot(), "issuer")) }
func (n *labNode) clusterDir() string { return filepath.Join(n.lab.clusterRoot(), n.name()) }
func (n *labNode) keys() pki.Dir      { return pki.Dir(n.clusterDir()) }

// makeCluster makes the authority of the lab unless it is there. An interrupted attempt is begun anew.
func (l *lab) makeCluster() error {
	if l.issuer().Exists() {
		return nil
	}
	_, err := pki.Init(l.issuer(), "lab", "issuer", time.Now(), true)
	return err
}

// makeKeys gives the node its certificate, and a new one in time. The node is down.
func (n *labNode) makeKeys() error {
	m, err := pki.Load(n.keys())
	if err == nil && m.Left(time.Now()) > pki.RenewBefore {
		return nil
	}
	if err != nil && !errors.Is(err, pki.ErrNoCluster) {
		return err
	}
	issuer, err := pki.Load(n.lab.issuer())
	if err != nil {
		return err
	}
	if _, err := issuer.Enrol(n.keys(), n.name(), time.Now(), true); err != nil {
		return fmt.Errorf("keys of %s: %w", n.name(), err)
	}
	return nil
}
