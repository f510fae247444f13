package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/covol/covol/cluster/pki"
)

func newClusterJoin() *cobra.Command {
	var o clusterOptions
	var node string
	var force bool
	cmd := &cobra.Command{
		Use: "join TOKEN", Short: "Let this host into a cluster",
		Long: `Make a key, have it certified by the host that made the token, and write the cluster directory. The key
never leaves this host, and the token is shown only to the authority that it names.`,
		Example: "  covol cluster join --node host2 covol-token-...", Args: args(1, 1),
		RunE: func(cmd *cobra.Command, a []string) error {
			o.streams(cmd)
			node, err := nodeName(node)
			if err != nil {
				return err
			}
			t, err := pki.ParseToken(a[0])
			if err != nil {
				return hint(err, "Copy the whole line that covol cluster token printed.")
			}
			m, err := pki.Join(cmd.Context(), pki.Dir(o.dir), t, node, time.Now, force)
			if err != nil {
				return joinClusterHint(fmt.Errorf("join cluster: %w", err), &o, t)
			}
			_, err = fmt.Fprintf(o.out, "This host is node %s of cluster %s. Its certificate is good until %s.\n",
				node, m.Info.Name, m.Cert.NotAfter.Format(time.DateOnly))
			return err
		},
	}
	o.add(cmd)
	cmd.Flags().StringVar(&node, "node", "", "name of this node (default: the host's name)")
	cmd.Flags().BoolVar(&force, "force", false, "forget the cluster that the directory belongs to")
	return cmd
}

func joinClusterHint(err error, o *clusterOptions, t *pki.Token) error {
	var refused *pki.Refusal
	switch {
	case errors.As(err, &refused):
		return hint(err, "A new token: covol cluster token --wait, on the host at %s", t.Addr)
	case errors.Is(err, pki.ErrStranger):
		return hint(err, "Is the token of this cluster, and does its issuer answer at %s? Nothing secret was sent.", t.Addr)
	case errors.Is(err, pki.ErrExists):
		return clusterHint(err, o.dir)
	}
	return hint(err, "Does covol cluster token --wait, or covol cluster serve, run on the host at %s, and does its firewall let this one in?", t.Addr)
}
