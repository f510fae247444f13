package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/covol/covol/cluster"
	"github.com/covol/covol/cmd/covol/internal/events"
)

func newNode() *cobra.Command {
	cmd := &cobra.Command{
		Use: "node", Short: "What a person can do about a node", Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newNodeFence())
	return cmd
}

type fenceOptions struct {
	confirm bool
	asJSON  bool
	out     io.Writer
}

func newNodeFence() *cobra.Command {
	o := &fenceOptions{}
	cmd := &cobra.Command{
		Use:   "fence NAME [DIR]",
		Short: "Say that a node is off, so that others need not wait for a proof",
		Long: `Declare the node called NAME dead, on your word that it is switched off or cut off the
storage for good. What it held is recovered at once. DIR names a mount of the volume on this
host; it may be left out if there is only one.

A node that still renews its heartbeat is not fenced. If your word is wrong, because the
node is only frozen and goes on later, two nodes may write the same blocks, and the volume
is damaged. Pull the plug first.`,
		Example: "  covol node fence host3 --confirm\n  covol node fence host3 /csv/volume1 --confirm",
		Args:    args(1, 2),
		RunE: func(cmd *cobra.Command, a []string) error {
			o.out = cmd.OutOrStdout()
			return o.run(cmd.Context(), a)
		},
	}
	cmd.Flags().BoolVar(&o.confirm, "confirm", false, "I have made sure that the node is off")
	addJSON(cmd, &o.asJSON)
	return cmd
}

// fenceTime is how long the word may take to get to the disk.
const fenceTime = time.Minute

func (o *fenceOptions) run(ctx context.Context, a []string) error {
	name := a[0]
	if !o.confirm {
		return hint(fmt.Errorf("this promises that node %s is off, or cut off the storage for good: "+
			"if it still runs and writes later, the volume is damaged", name),
			"Make sure of it, then say so: covol node fence %s --confirm", name)
	}
	c, err := onlyClient(a[1:])
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, fenceTime)
	defer cancel()
	if err := c.fence(ctx, name); err != nil {
		return err
	}
	if o.asJSON {
		return writeJSON(o.out, fenceResult{Name: name, Result: "dead"})
	}
	_, err = fmt.Fprintf(o.out, "Node %s is declared dead; what it held is being recovered. See: covol status\n", name)
	return err
}

type fenceResult struct {
	Name   string `json:"name"`
	Result string `json:"result"`
}

// onlyClient is the mount that is named, or the only one of this host.
func onlyClient(a []string) (*controlClient, error) {
	if len(a) > 0 {
		return clientFor(a[0])
	}
	sockets := allControls()
	switch len(sockets) {
	case 0:
		return nil, hint(errNoMount, "The command is for a host that has the volume mounted.")
	case 1:
		return newClient(sockets[0]), nil
	}
	return nil, hint(errors.New("several volumes or nodes are mounted on this host"), "Name the directory of one; covol status lists them.")
}

func (c *controlClient) fence(ctx context.Context, name string) error {
	return c.call(ctx, http.MethodPost, pathFence+"?"+url.Values{"name": {name}}.Encode(), &struct{}{})
}

// fence takes a person's word that a node is off.
func (c *controlServer) fence(w http.ResponseWriter, r *http.Request) {
	name := r.FormValue("name")
	err := c.s.fence(r.Context(), name)
	e := controlError{}
	if err != nil {
		e.Error = err.Error()
	}
	switch {
	case err == nil:
		answer(w, http.StatusOK, struct{}{})
	case errors.Is(err, cluster.ErrNodeLives):
		e.Hint = "A node that renews its heartbeat is not off. Look at it with covol status; to stop it: kill it, or pull the plug."
		answer(w, http.StatusConflict, e)
	case errors.Is(err, cluster.ErrNoNode):
		e.Hint = "covol status lists the nodes of the volume."
		answer(w, http.StatusNotFound, e)
	default:
		answer(w, http.StatusInternalServerError, e)
	}
}

func (s *session) fence(ctx context.Context, name string) error {
	s.mu.Lock()
	n := s.node
	s.mu.Unlock()
	if n == nil || n.up.Load() == nil {
		return errors.New("this node has not looked at the volume yet: try again")
	}
	s.log.Warn("somebody says that a node is off", "node", name)
	err := n.up.Load().Fence(ctx, name)
	text := "a person says that it is off: declared dead"
	if err != nil {
		text = "a person says that it is off: " + err.Error()
	}
	s.events.Add(events.Event{Kind: events.Asked, Node: name, Text: text})
	return err
}
