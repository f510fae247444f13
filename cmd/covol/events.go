package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/covol/covol/cmd/covol/internal/events"
)

type eventsOptions struct {
	since    string
	last     int
	follow   bool
	stateDir string
	asJSON   bool
	out, err io.Writer
}

func newEvents() *cobra.Command {
	o := &eventsOptions{}
	cmd := &cobra.Command{
		Use:   "events [DIR]",
		Short: "Show what has happened to the nodes of this host",
		Long: `Show what has happened to the volume mounted on DIR, as its node saw it: who joined and left,
who was suspected, dead by which proof and recovered, when I/O paused, why the node
withdrew. Events are kept for 30 days, also when the volume is not mounted. Without DIR
those of all nodes of this host.

With --json one object a line.`,
		Example: "  covol events /csv/volume1 --since 1h\n  covol events --since 7d --json\n  covol events /csv/volume1 --follow",
		Args:    args(0, 1),
		RunE: func(cmd *cobra.Command, a []string) error {
			o.out, o.err = cmd.OutOrStdout(), cmd.ErrOrStderr()
			return o.run(cmd.Context(), a)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.since, "since", "", "only those of this time until now, such as 90s, 1h or 7d")
	f.IntVar(&o.last, "last", 0, "only so many, the latest")
	f.BoolVarP(&o.follow, "follow", "f", false, "go on with what happens from now on, until the node leaves")
	addStateDir(cmd, &o.stateDir)
	addJSON(cmd, &o.asJSON)
	return cmd
}

// hostEvent is an event with the mount that it belongs to.
type hostEvent struct {
	Dir string `json:"dir"`
	events.Event
}

func (o *eventsOptions) run(ctx context.Context, a []string) error {
	q := events.Query{Last: o.last}
	if o.since != "" {
		d, err := parseSince(o.since)
		if err != nil {
			return err
		}
		q.Since = time.Now().Add(-d)
	}
	sources, err := findEvents(o.stateDir, a)
	if err != nil {
		return err
	}
	if o.follow {
		if len(sources) != 1 || sources[0].client == nil {
			return hint(errors.New("--follow is for one volume that is mounted"), "Name its directory: covol events DIR --follow")
		}
		return sources[0].stream(ctx, q, true, o.print(len(a) == 0), o.note)
	}
	var all []hostEvent
	for _, s := range sources {
		err := s.read(ctx, q, func(e hostEvent) { all = append(all, e) }, o.note)
		if err != nil && len(a) > 0 {
			return err
		}
		if err != nil { // one of many: the others are worth showing
			o.note(err.Error())
		}
	}
	slices.SortStableFunc(all, func(a, b hostEvent) int { return a.Time.Compare(b.Time) })
	if q.Last > 0 {
		all = all[max(0, len(all)-q.Last):]
	}
	print := o.print(len(a) == 0)
	for _, e := range all {
		print(e)
	}
	if len(all) == 0 && !o.asJSON {
		o.note("no events")
	}
	return nil
}

// note says on standard error what is not an event.
func (o *eventsOptions) note(text string) { fmt.Fprintf(o.err, "covol: %s\n", text) }

// print returns what prints one event.
func (o *eventsOptions) print(dirs bool) func(hostEvent) {
	enc := json.NewEncoder(o.out)
	enc.SetEscapeHTML(false)
	return func(e hostEvent) {
		if o.asJSON {
			_ = enc.Encode(e)
			return
		}
		where := ""
		if dirs {
			where = e.Dir + "  "
		}
		fmt.Fprintf(o.out, "%s  %s%-12s  %-10s  %s\n", e.Time.Local().Format("2006-01-02 15:04:05.000"), where, or(e.Node, "-"), e.Kind, e.what())
	}
}

// what is the rest of an event on one line.
func (e *hostEvent) what() string {
	var parts []string
	if e.Slot != nil {
		parts = append(parts, "slot "+strconv.Itoa(*e.Slot))
	}
	if e.Incarnation > 0 {
		parts = append(parts, "incarnation "+strconv.FormatUint(uint64(e.Incarnation), 10))
	}
	if e.Epoch > 0 {
		parts = append(parts, "epoch "+strconv.FormatUint(e.Epoch, 10))
	}
	text := strings.Join(strings.Fields(e.Text), " ")
	switch {
	case len(parts) == 0:
		return text
	case text == "":
		return strings.Join(parts, ", ")
	}
	return text + " (" + strings.Join(parts, ", ") + ")"
}

// parseSince is a duration that may have days.
func parseSince(s string) (time.Duration, error) {
	text, unit := s, time.Duration(0)
	if days, ok := strings.CutSuffix(s, "d"); ok {
		text, unit = days, 24*time.Hour
	}
	if unit > 0 {
		if n, err := strconv.ParseFloat(text, 64); err == nil && n > 0 && n < 36500 {
			return time.Duration(n * float64(unit)), nil
		}
	} else if d, err := time.ParseDuration(s); err == nil && d > 0 {
		return d, nil
	}
	return 0, hint(fmt.Errorf("--since %q: not a time", s), "Want such as 90s, 15m, 1h or 7d.")
}
