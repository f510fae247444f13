package main

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/covol/covol/cluster/pki"
)

func newCluster() *cobra.Command {
	cmd := &cobra.Command{
		Use: "cluster", Short: "Who belongs to the cluster: keys and certificates of nodes",
		Long: `Nodes of different hosts talk over TLS and know each other by certificates of one authority. The
host where the cluster is made keeps the authority's key and lets the others in, each by a
token that works once. The certificates are good for all volumes of the cluster.`,
		Example: `  host1# covol cluster init --name prod
  host1# covol cluster token --wait            # prints the command to type on host2
  host2# covol cluster join covol-token-...
  host1# covol cluster show`,
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newClusterInit(), newClusterToken(), newClusterJoin(), newClusterServe(), newClusterShow(), newClusterRenew())
	return cmd
}

// clusterOptions are what all of them share.
type clusterOptions struct {
	dir      string
	out, err io.Writer
}

func (o *clusterOptions) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.dir, "dir", pki.DefaultDir, "cluster directory of this host")
	_ = cmd.MarkFlagDirname("dir")
}

func (o *clusterOptions) streams(cmd *cobra.Command) {
	o.out, o.err = cmd.OutOrStdout(), cmd.ErrOrStderr()
}

func (o *clusterOptions) log() *slog.Logger {
	return slog.New(slog.NewTextHandler(o.err, &slog.HandlerOptions{Level: slog.LevelInfo}))
}

// load reads the directory, and says what to do where it cannot.
func (o *clusterOptions) load() (*pki.Member, error) {
	m, err := pki.Load(pki.Dir(o.dir))
	return m, clusterHint(err, o.dir)
}

// dirFlag is what to add to a command to mean the same directory.
func (o *clusterOptions) dirFlag() string {
	if o.dir == pki.DefaultDir {
		return ""
	}
	return " --dir " + o.dir
}

// enrolPort is where the issuer listens unless it is told otherwise.
const enrolPort = 7790

// issuerAddr is where others reach the issuer: what the operator says, else what was used before, else the first address of
// the host.
func issuerAddr(m *pki.Member, given string) (string, error) {
	addr := given
	if addr == "" {
		addr = m.Info.Issuer
	}
	if addr == "" {
		host, err := hostAddress()
		if err != nil {
			return "", err
		}
		addr = net.JoinHostPort(host, strconv.Itoa(enrolPort))
	}
	if err := pki.CheckAddr(addr); err != nil {
		return "", hint(fmt.Errorf("--listen %s: %w", addr, err), "Want HOST:PORT where the other hosts reach this one, such as 10.0.0.1:%d", enrolPort)
	}
	return addr, nil
}

// warnSoon says when a certificate should be renewed.
func warnSoon(w io.Writer, m *pki.Member) {
	if left := m.Left(time.Now()); left <= 0 {
		fmt.Fprintf(w, "warning: the certificate of %s has ended; other nodes refuse it\n", m.Info.Node)
	} else if left < pki.RenewBefore {
		fmt.Fprintf(w, "warning: the certificate of %s ends in %d days; renew it with: covol cluster renew\n", m.Info.Node, int(left.Hours()/24))
	}
}
