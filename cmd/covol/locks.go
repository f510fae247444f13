package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
)

type locksOptions struct {
	asJSON  bool
	waits   bool
	blocked bool
	out     io.Writer
}

func newLocks() *cobra.Command {
	o := &locksOptions{}
	cmd := &cobra.Command{
		Use:   "locks [DIR]",
		Short: "Show who holds and who waits for cluster locks",
		Long: `Show the cluster locks that the node mounted on DIR has to do with: what it holds, wants, or
decides about, what is waited for longest first. Holders and waiters are known to the master of a
lock only: nodes of the volume that are mounted on this host are asked too, others are
named. --blocked shows who waits for whom and how long. Without DIR all mounts of this host.

Names of files are those that are cached, and may be out of date.

Modes: NL none, CR, CW, PR shared for reading, PW, EX exclusive. A lock stays with its node
after use until another one asks for it.`,
		Example: "  covol locks /csv/volume1\n  covol locks --blocked\n  covol locks --waiting --json",
		Args:    args(0, 1),
		RunE: func(cmd *cobra.Command, a []string) error {
			o.out = cmd.OutOrStdout()
			return o.run(cmd.Context(), a)
		},
	}
	cmd.Flags().BoolVar(&o.waits, "waiting", false, "only locks that somebody waits for")
	cmd.Flags().BoolVar(&o.blocked, "blocked", false, "who waits for whom, one line for each request that waits")
	addJSON(cmd, &o.asJSON)
	return cmd
}

func (o *locksOptions) run(ctx context.Context, a []string) error {
	sockets := allControls()
	want := ""
	if len(a) == 1 {
		c, err := clientFor(a[0])
		if err != nil {
			return err
		}
		want = c.socket
	}
	all, errs := askLocks(ctx, sockets, want)
	reports := []*lockReport{}
	for i, r := range all {
		if want != "" && sockets[i] != want {
			continue
		}
		if err := errs[i]; err != nil {
			if want == "" && gone(err) {
				continue // it has left since it was listed
			}
			return err
		}
		reports = append(reports, r)
	}
	if want != "" && len(reports) == 0 {
		return fmt.Errorf("%s: %w", a[0], errNoMount)
	}
	known := slices.DeleteFunc(slices.Clone(all), func(r *lockReport) bool { return r == nil })
	for _, r := range reports {
		r.learn(known)
	}
	for _, r := range reports {
		r.Locks = o.wanted(r.Locks)
	}
	return o.print(reports, want != "")
}

// peerTime bounds the answer of mounts that only add to what another one says: they may be stopped.
const peerTime = time.Second

// askLocks asks all mounts at once; want is the one that matters, all do if it is empty. A report is nil where there is
// an error.
func askLocks(ctx context.Context, sockets []string, want string) ([]*lockReport, []error) {
	reports, errs := make([]*lockReport, len(sockets)), make([]error, len(sockets))
	var wg sync.WaitGroup
	for i, socket := range sockets {
		limit := askTime
		if want != "" && socket != want {
			limit = peerTime
		}
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, limit)
			defer cancel()
			if r, err := newClient(socket).locks(ctx); err != nil {
				errs[i] = err
			} else {
				reports[i] = r
			}
		})
	}
	wg.Wait()
	return reports, errs
}

func (o *locksOptions) wanted(all []lockDetail) []lockDetail {
	kept := []lockDetail{}
	for _, l := range all {
		if !o.waits || l.Want != "" || len(l.Waiters) > 0 || l.Recovering {
			kept = append(kept, l)
		}
	}
	slices.SortStableFunc(kept, func(a, b lockDetail) int { return cmp.Compare(b.waited(), a.waited()) })
	return kept
}

// waited is how long somebody has been waiting, in milliseconds.
func (l *lockDetail) waited() float64 {
	most := l.WaitingMS
	for _, w := range l.Waiters {
		most = max(most, w.ForMS)
	}
	return most
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
		fmt.Fprintf(o.out, "%s, node %s: %d locks, %d requests wait\n", r.Dir, r.Node, len(r.Locks), len(r.Blocked))
		if o.blocked {
			if err := r.printBlocked(o.out); err != nil {
				return err
			}
			continue
		}
		if len(r.Locks) == 0 {
			continue
		}
		t := newTable(o.out, "RESOURCE", "FILE", "HELD", "WANTED", "TOKEN", "MASTER", "HOLDERS", "WAITERS")
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
	return []string{l.Resource, l.Path, l.Mode, want, strconv.FormatUint(l.Token, 10), master, strings.Join(holders, ", "), strings.Join(waiters, ", ")}
}

// printBlocked prints one line for each request that waits.
func (r *lockReport) printBlocked(w io.Writer) error {
	if len(r.Blocked) == 0 {
		return nil
	}
	t := newTable(w, "WAITS", "FOR", "RESOURCE", "FILE", "WANTS", "BLOCKED BY", "MASTER")
	for _, b := range r.Blocked {
		master := "not known"
		if b.Master != nil {
			master = b.Master.text()
		}
		var by []string
		for _, n := range b.By {
			by = append(by, strings.TrimSpace(n.text()+" "+n.Mode)+" ("+n.Why+")")
		}
		if len(by) == 0 {
			by = []string{"ask " + master}
		}
		t.row(b.Node.text(), ago(fromMillis(b.ForMS)), b.Resource, b.Path, b.Want, strings.Join(by, ", "), master)
	}
	return t.flush()
}

func (n *lockNode) text() string { return or(n.Name, "slot "+strconv.Itoa(n.Slot)) }
