package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/spf13/cobra"

	"github.com/covol/covol/cluster/pki"
)

// security is how nodes know each other: by certificates, or not at all.
type security struct {
	creds    *pki.Credentials // nil: in clear
	insecure bool             // the operator wants it so, also between hosts
}

// String says how nodes know each other, for people.
func (s *security) String() string {
	if s.creds == nil {
		return "in clear"
	}
	m := s.creds.Member()
	return fmt.Sprintf("TLS 1.3, cluster %s, certificate until %s", m.Info.Name, m.Cert.NotAfter.Format(time.DateOnly))
}

// securityFlags are the flags of commands that talk to other nodes.
type securityFlags struct {
	cmd      *cobra.Command
	dir      string
	insecure bool
}

const flagClusterDir = "cluster-dir"

func (f *securityFlags) add(cmd *cobra.Command) {
	f.cmd = cmd
	cmd.Flags().StringVar(&f.dir, flagClusterDir, pki.DefaultDir, "directory with the certificate and keys of this node, made by covol cluster")
	cmd.Flags().BoolVar(&f.insecure, "insecure", false, "talk in clear also with other hosts: whoever reaches the port can harm the volume")
	_ = cmd.MarkFlagDirname(flagClusterDir)
}

// used reports whether there is a cluster directory to use, or one was named that should be there.
func (f *securityFlags) used() bool {
	return !f.insecure && (f.cmd.Flags().Changed(flagClusterDir) || pki.Dir(f.dir).Exists())
}

// open loads the cluster directory. A node name that is given must be the one in the certificate.
func (f *securityFlags) open(node string, log *slog.Logger) (security, error) {
	switch {
	case f.insecure && f.cmd.Flags().Changed(flagClusterDir):
		return security{}, errors.New("--insecure and --cluster-dir exclude each other")
	case !f.used():
		return security{insecure: f.insecure}, nil
	}
	creds, err := pki.Open(pki.Dir(f.dir), time.Now, log)
	if err != nil {
		return security{}, clusterHint(err, f.dir)
	}
	if have := creds.Member().Info.Node; node != "" && node != have {
		return security{}, hint(fmt.Errorf("--node %s: the certificate in %s is of node %q", node, f.dir, have),
			"Leave --node away, or take a directory of that node: --cluster-dir DIR")
	}
	return security{creds: creds}, nil
}

// allows refuses to talk in clear with other hosts unless somebody wants it so.
func (s *security) allows(listen net.Addr, join []string) error {
	if s.creds != nil || s.insecure {
		return nil
	}
	for _, addr := range append([]string{listen.String()}, join...) {
		if !loopback(addr) {
			return hint(fmt.Errorf("nodes would talk in clear over %s, and this host has no cluster directory", addr),
				"Once: covol cluster init, then for each other host covol cluster token --wait, and there covol cluster join TOKEN. Or --insecure on every node, on a network that only the hosts reach.")
		}
	}
	return nil
}

func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	ip := net.ParseIP(host)
	return err == nil && (ip != nil && ip.IsLoopback() || host == "localhost")
}

// clusterHint says what to do about a cluster directory that cannot be used.
func clusterHint(err error, dir string) error {
	flag := ""
	if dir != pki.DefaultDir {
		flag = " --dir " + dir
	}
	switch {
	case errors.Is(err, pki.ErrNoCluster):
		return hint(err, "Make a cluster with: covol cluster init%s; or join one with: covol cluster join TOKEN%s", flag, flag)
	case errors.Is(err, pki.ErrExists):
		return hint(err, "To replace it for good: --force")
	case errors.Is(err, pki.ErrNotIssuer):
		return hint(err, "Do this on the host where covol cluster init ran; covol cluster show names its address.")
	}
	return err
}
