package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/covol/covol/cluster/pki"
)

func newClusterRenew() *cobra.Command {
	var o clusterOptions
	cmd := &cobra.Command{
		Use: "renew", Short: "Renew the certificate of this host",
		Long: `Replace the certificate of this host by one that is good for another year. The issuer must run "covol
cluster serve". Mounts use the new one from their next connection on.`,
		Example: "  covol cluster renew", Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.streams(cmd)
			m, err := o.load()
			if err != nil {
				return err
			}
			again, err := pki.Renew(cmd.Context(), m, time.Now)
			var refused *pki.Refusal
			switch {
			case errors.As(err, &refused):
				return hint(fmt.Errorf("renew: %w", err), "On the issuer: covol cluster token --wait --node %s; then join again here with --force.", m.Info.Node)
			case err != nil:
				return hint(fmt.Errorf("renew: %w", err), "Does covol cluster serve run on the issuer, %s?", or(m.Info.Issuer, "whose address is not known here"))
			}
			_, err = fmt.Fprintf(o.out, "The certificate of node %s is good until %s.\n", m.Info.Node, again.Cert.NotAfter.Format(time.DateOnly))
			return err
		},
	}
	o.add(cmd)
	return cmd
}
