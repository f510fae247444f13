package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

type locksOptions struct {
	asJSON bool
	waits  bool
	out    io.Writer
}

func newLocks() *cobra.Command {
	o := &locksOptions{}
	cmd := &cobra.Command{
		Use:   "locks [DIR]",
		Short: "Show who holds and who waits for cluster locks",
		Long: `Show the cluster locks that the node mounted on DIR has to do with: what it holds, wants, or
decides about. Holders and waiters are known to the master of a lock only, which is named.
Without DIR all mounts of this host.

Modes: NL none, CR, CW, PR shared for reading, PW, EX exclusive. A lock stays with its node
after use until another one asks for it.`,
		Example: "  covol locks /csv/volume1\n  covol locks --waiting --json",
		Args:    args(0, 1),
		RunE: func(cmd *cobra.Command, a []string) error {
			o.out = cmd.OutOrStdout()
			return o.run(cmd.Context(), a)
		},
	}
	cmd.Flags().BoolVar(&o.waits, "waiting", false, "only locks that somebody waits for")
	addJSON(cmd, &o.asJSON)
	return cmd
}

func (o *locksOptions) run(ctx context.Context, a []string) error {
	var clients []*controlClient
	if len(a) == 1 {
		c, err := clientFor(a[0])
		if err != nil {
			return err
		}
		clients = append(clients, c)
	} else {
		for _, socket := range allControls() {
			clients = append(clients, newClient(socket))
		}
	}
	reports := []*lockReport{}
	var errs []error
	for _, c := range clients {
		ctx, cancel := context.WithTimeout(ctx, askTime)
		r, err := c.locks(ctx)
		cancel()
		if len(a) == 0 && gone(err) {
			continue // it has left since it was listed
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		r.Locks = o.wanted(r.Locks)
		reports = append(reports, r)
	}
	if err := o.print(reports, len(a) == 1); err != nil {
		return err
	}
	return errors.Join(errs...)
}

func (o *locksOptions) wanted(all []lockDetail) []lockDetail {
	kept := []lockDetail{}
	for _, l := range all {
		if !o.waits || l.Want != "" || len(l.Waiters) > 0 || l.Recovering {
			kept = append(kept, l)
		}
	}
	return kept
}

// print prints one report as an object if a mount was named, else a list.
func (o *locksOptions) print(reports []*lockReport, one bool) error {
	if o.asJSON && one && len(reports) == 1 {
		return writeJSON(o.out, reports[0])
	}
	if o.asJSON {
		return writeJSON(o.out, reports)
	}
	for i, r := range reports {
		if i > 0 {
			fmt.Fprintln(o.out)
		}
		fmt.Fprintf(o.out, "%s, node %s: %d locks\n", r.Dir, r.Node, len(r.Locks))
		if len(r.Locks) == 0 {
			continue
		}
		t := newTable(o.out, "RESOURCE", "HELD", "WANTED", "TOKEN", "MASTER", "HOLDERS", "WAITERS")
		for _, l := range r.Locks {
			t.row(l.cells()...)
		}
		if err := t.flush(); err != nil {
			return err
		}
	}
	return nil
}

func (l *lockDetail) cells() []string {
	want, master := "", "not known"
	if l.Want != "" {
		want = fmt.Sprintf("%s for %s", l.Want, ago(fromMillis(l.WaitingMS)))
	}
	if l.Master != nil {
		master = l.Master.text()
	}
	if l.Recovering {
		var dead []string
		for _, n := range l.Awaited {
			dead = append(dead, n.text())
		}
		master += ", after recovery of " + or(strings.Join(dead, ", "), "a dead node")
	}
	var holders, waiters []string
	for _, h := range l.Holders {
		text := h.text() + " " + h.Mode
		if h.Dead {
			text += " (dead)"
		}
		holders = append(holders, text)
	}
	for _, w := range l.Waiters {
		waiters = append(waiters, fmt.Sprintf("%s %s for %s", w.text(), w.Want, ago(fromMillis(w.ForMS))))
	}
	return []string{l.Resource, l.Mode, want, strconv.FormatUint(l.Token, 10), master, strings.Join(holders, ", "), strings.Join(waiters, ", ")}
}

func (n *lockNode) text() string { return or(n.Name, "slot "+strconv.Itoa(n.Slot)) }
