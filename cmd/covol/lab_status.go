package main

import (
	"context"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"
)

type labStatusOptions struct {
	dir    string
	asJSON bool
	out    io.Writer
}

func newLabStatus() *cobra.Command {
	o := &labStatusOptions{}
	cmd := &cobra.Command{
		Use: "status", Short: "Show the nodes of a lab", Example: "  covol lab status --json", Args: args(0, 0),
		Long: "Show each node of a lab: its state, process, mount and log.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.out = cmd.OutOrStdout()
			return o.run(cmd.Context())
		},
	}
	addLabDir(cmd, &o.dir)
	addJSON(cmd, &o.asJSON)
	return cmd
}

func (o *labStatusOptions) run(ctx context.Context) error {
	l, err := openLab(o.dir)
	if err != nil {
		return err
	}
	if err := l.must(); err != nil {
		return err
	}
	r := l.report(ctx)
	if o.asJSON {
		return writeJSON(o.out, r)
	}
	return r.print(o.out)
}

func (r *labReport) print(w io.Writer) error {
	fmt.Fprintf(w, "image  %s\n", r.Image)
	t := newTable(w, "NODE", "STATE", "EPOCH", "PID", "MOUNTED ON", "LOG")
	for _, n := range r.Nodes {
		pid, epoch := "", ""
		if n.PID != 0 {
			pid = strconv.Itoa(n.PID)
		}
		if n.Status != nil && n.Status.Cluster != nil {
			epoch = strconv.FormatUint(n.Status.Cluster.Epoch, 10)
		}
		t.row(n.Name, n.State, epoch, pid, n.Mount, n.Log)
	}
	return t.flush()
}
