package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/covol/covol/cluster/pki"
)

// clusterShow is what cluster show --json tells.
type clusterShow struct {
	Cluster     string       `json:"cluster"`
	Name        string       `json:"name"`
	Node        string       `json:"node"`
	Dir         string       `json:"dir"`
	Issuer      string       `json:"issuer,omitempty"` // where certificates are renewed
	IsIssuer    bool         `json:"is_issuer"`
	Authority   string       `json:"authority"` // SHA-256 of its certificate
	AuthorityTo time.Time    `json:"authority_until"`
	Certificate string       `json:"certificate"`
	From        time.Time    `json:"from"`
	Until       time.Time    `json:"until"`
	DaysLeft    int          `json:"days_left"`
	Nodes       []pki.Issued `json:"nodes,omitempty"` // on the issuer: all names
}

func newClusterShow() *cobra.Command {
	var o clusterOptions
	var asJSON bool
	cmd := &cobra.Command{
		Use: "show", Short: "Show names, ends and fingerprints of certificates",
		Example: "  covol cluster show --json", Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.streams(cmd)
			m, err := o.load()
			if err != nil {
				return err
			}
			s := &clusterShow{
				Cluster: m.Info.Cluster.String(), Name: m.Info.Name, Node: m.Info.Node, Dir: o.dir, Issuer: m.Info.Issuer, IsIssuer: m.Issuer(),
				Authority: m.Info.CA.String(), AuthorityTo: m.CA.NotAfter.UTC(), Certificate: pki.FingerprintOf(m.Cert).String(),
				From: m.Cert.NotBefore.UTC(), Until: m.Cert.NotAfter.UTC(), DaysLeft: int(m.Left(time.Now()).Hours() / 24),
			}
			if s.Nodes, err = m.Issued(); err != nil {
				return err
			}
			warnSoon(o.err, m)
			if asJSON {
				return writeJSON(o.out, s)
			}
			return o.show(s)
		},
	}
	o.add(cmd)
	addJSON(cmd, &asJSON)
	return cmd
}

func (o *clusterOptions) show(s *clusterShow) error {
	role := "issuer at " + or(s.Issuer, "(not known)")
	if s.IsIssuer {
		role = "this host is the issuer"
	}
	fmt.Fprintf(o.out, "cluster      %s (%s), %s\nauthority    SHA-256 %s\n             until %s\nnode         %s\ncertificate  SHA-256 %s\n             until %s, %d days\n",
		s.Name, s.Cluster, role, s.Authority, s.AuthorityTo.Format(time.DateOnly), s.Node, s.Certificate, s.Until.Format(time.DateOnly), s.DaysLeft)
	if len(s.Nodes) == 0 {
		return nil
	}
	fmt.Fprintln(o.out)
	t := newTable(o.out, "NODE", "SINCE", "UNTIL", "CERTIFICATE")
	for _, n := range s.Nodes {
		t.row(n.Node, n.At.Format(time.DateOnly), n.NotAfter.Format(time.DateOnly), n.Fingerprint.String()[:16]+"...")
	}
	return t.flush()
}
