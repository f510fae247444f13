package main

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/covol/covol/cluster/pki"
)

func newClusterInit() *cobra.Command {
	var o clusterOptions
	var name, node string
	var force bool
	cmd := &cobra.Command{
		Use: "init", Short: "Make a cluster, with this host as its first node",
		Long: `Make the authority of a cluster and the keys of its first node. This host lets the others in: keep
a copy of its cluster directory in a safe place.`,
		Example: "  covol cluster init --name prod", Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.streams(cmd)
			node, err := nodeName(node)
			if err != nil {
				return err
			}
			if err := pki.CheckName(name); err != nil {
				return fmt.Errorf("--name: %w", err)
			}
			m, err := pki.Init(pki.Dir(o.dir), name, node, time.Now(), force)
			if err != nil {
				return clusterHint(fmt.Errorf("make cluster: %w", err), o.dir)
			}
			_, err = fmt.Fprintf(o.out, `Cluster %s (%s) is made; this host is node %s.
Authority: SHA-256 %s
Keys and certificates are in %s. Keep a copy of it in a safe place.

To let another host in, type here:

  covol cluster token --wait%s
`, name, m.Info.Cluster, node, m.Info.CA, o.dir, o.dirFlag())
			return err
		},
	}
	o.add(cmd)
	cmd.Flags().StringVar(&name, "name", "covol", "name of the cluster, for people")
	cmd.Flags().StringVar(&node, "node", "", "name of this node (default: the host's name)")
	cmd.Flags().BoolVar(&force, "force", false, "destroy the cluster that the directory belongs to")
	return cmd
}

// nodeName is a name that was given, else that of the host.
func nodeName(given string) (string, error) {
	if given != "" {
		return given, checkName(given)
	}
	name, err := os.Hostname()
	if err != nil {
		return "", hint(fmt.Errorf("name of this host: %w", err), "Give one: --node NAME")
	}
	return name, checkName(name)
}
