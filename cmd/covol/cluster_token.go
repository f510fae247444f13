package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/covol/covol/cluster/pki"
)

type tokenOptions struct {
	clusterOptions
	ttl    time.Duration
	node   string
	listen string
	wait   bool
	asJSON bool
}

func newClusterToken() *cobra.Command {
	o := &tokenOptions{}
	cmd := &cobra.Command{
		Use: "token", Short: "Make a token that lets one host in",
		Long: `Print a token, and the command to type on the host that is to join. A token works once, until its time
is over; who has it can use it. With --wait this command lets the host in and then ends;
without, "covol cluster serve" must run here.

A token for a --node lets in that name only, and replaces the key of a node that had it: for a
host that was installed anew, or whose certificate has ended.`,
		Example: "  covol cluster token --wait\n  covol cluster token --node host3 --ttl 10m", Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.streams(cmd)
			return o.run(cmd.Context())
		},
	}
	o.add(cmd)
	cmd.Flags().DurationVar(&o.ttl, "ttl", time.Hour, "for how long the token works")
	cmd.Flags().StringVar(&o.node, "node", "", "name that the node must have (default: any that is free)")
	cmd.Flags().StringVar(&o.listen, "listen", "", "HOST:PORT where the joining host reaches this one (default: as before, else port 7790 of the first address)")
	cmd.Flags().BoolVar(&o.wait, "wait", false, "serve until the token was used")
	addJSON(cmd, &o.asJSON)
	return cmd
}

func (o *tokenOptions) run(ctx context.Context) error {
	m, err := o.load()
	if err != nil {
		return err
	}
	addr, err := issuerAddr(m, o.listen)
	if err != nil {
		return err
	}
	var ln net.Listener
	if o.wait {
		if ln, err = listenEnrol(addr); err != nil {
			return err
		}
		defer ln.Close()
	}
	t, err := m.NewToken(addr, o.node, o.ttl, time.Now())
	if err != nil {
		return clusterHint(fmt.Errorf("make token: %w", err), o.dir)
	}
	if err := m.SetIssuer(addr); err != nil {
		return err
	}
	warnSoon(o.err, m)
	if err := o.print(t); err != nil || !o.wait {
		return err
	}
	return o.letIn(ctx, ln, t)
}

func (o *tokenOptions) print(t *pki.Token) error {
	if o.asJSON {
		return writeJSON(o.out, map[string]string{"token": t.String(), "address": t.Addr, "expires": time.Now().Add(o.ttl).UTC().Format(time.RFC3339)})
	}
	flag, more := "", ""
	if o.node != "" {
		flag = " --node " + o.node
	}
	if !o.wait {
		more = "\nThe joining host must reach this one: keep running here: covol cluster serve" + o.dirFlag() + "\n"
	}
	_, err := fmt.Fprintf(o.out, "Type on the host that is to join, within %s:\n\n  covol cluster join%s %s\n%s", ago(o.ttl), flag, t, more)
	return err
}

// letIn serves until the token was used or its time is over.
func (o *tokenOptions) letIn(ctx context.Context, ln net.Listener, t *pki.Token) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, o.ttl)
	defer cancel()
	joined := ""
	done, finish := context.WithCancel(ctx)
	defer finish()
	i, err := pki.NewIssuer(pki.Dir(o.dir), time.Now, o.log(), func(id pki.TokenID, node string) {
		if id == t.ID {
			joined = node // Serve waits for this before it returns
			finish()
		}
	})
	if err != nil {
		return clusterHint(err, o.dir)
	}
	if err := i.Serve(done, ln); err != nil {
		return err
	}
	if joined == "" {
		return errors.New("nobody has used the token")
	}
	if !o.asJSON {
		_, err = fmt.Fprintf(o.out, "Node %s is in the cluster now.\n", joined)
	}
	return err
}

func listenEnrol(addr string) (net.Listener, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, hint(fmt.Errorf("listen for joining nodes: %w", err), "Is covol cluster serve running? Then leave --wait away. Else give an address of this host: --listen HOST:PORT")
	}
	return ln, nil
}
