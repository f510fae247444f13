package main

import (
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/covol/covol/cluster/pki"
)

func newClusterServe() *cobra.Command {
	var o clusterOptions
	var listen string
	cmd := &cobra.Command{
		Use: "serve", Short: "Let in hosts that have tokens, and renew certificates",
		Long: `Answer covol cluster join and covol cluster renew of other hosts, until a signal. Who has neither a token
nor a certificate of the cluster learns nothing here.`,
		Example: "  covol cluster serve --listen 10.0.0.1:7790", Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.streams(cmd)
			m, err := o.load()
			if err != nil {
				return err
			}
			addr, err := issuerAddr(m, listen)
			if err != nil {
				return err
			}
			log := o.log()
			i, err := pki.NewIssuer(pki.Dir(o.dir), time.Now, log, nil)
			if err != nil {
				return clusterHint(err, o.dir)
			}
			ln, err := listenEnrol(addr)
			if err != nil {
				return err
			}
			if err := m.SetIssuer(addr); err != nil {
				_ = ln.Close()
				return err
			}
			warnSoon(o.err, m)
			log.Info("serving", "addr", addr, "cluster", m.Info.Name)
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return i.Serve(ctx, ln)
		},
	}
	o.add(cmd)
	cmd.Flags().StringVar(&listen, "listen", "", "HOST:PORT where other hosts reach this one (default: as before, else port 7790 of the first address)")
	return cmd
}
