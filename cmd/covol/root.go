package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

const rootLong = `covol is a cluster volume: several hosts mount one shared disk (LUN, block device or
image file) at the same time, each file is safe from the others by a distributed lock
manager, and VM images on it can be used from any host.

Try it on one machine:

  covol lab up           three nodes on one image file
  covol lab status
  covol lab down`

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use: "covol", Short: "Cluster volumes for KVM hosts", Long: rootLong,
		SilenceErrors: true, SilenceUsage: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return hint(usageError(cmd, err), "See %q.", cmd.CommandPath()+" --help")
	})
	root.AddCommand(newMkfs(), newMount(), newUmount(), newFsck(), newDump(), newStatus(), newLocks(), newEvents(), newNode(), newCluster(), newLab(), newTarget(), newVersion(), newEventHelper())
	return root
}

// usageError gives a wrong command line of fsck the code that says it could not run.
func usageError(cmd *cobra.Command, err error) error {
	if cmd.Name() == "fsck" {
		return &exitError{code: fsckFailed, err: err}
	}
	return err
}

// args checks the number of positional arguments and names those that are wanted.
func args(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) >= least && (len(args) <= most || most < 0) {
			return nil
		}
		return hint(usageError(cmd, fmt.Errorf("%s: wrong number of arguments", cmd.CommandPath())), "Usage: %s", cmd.UseLine())
	}
}

func addJSON(cmd *cobra.Command, asJSON *bool) {
	cmd.Flags().BoolVar(asJSON, "json", false, "print JSON for scripts")
}
