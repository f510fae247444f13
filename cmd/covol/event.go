package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/covol/covol/cluster"
	"github.com/covol/covol/cmd/covol/internal/events"
	"github.com/covol/covol/member"
)

// Where events are kept: STATE/NODE/VOLUME/events, with a note of the mount beside it.
const (
	defaultState = "/var/lib/covol"
	// stateEnv is the default of --state-dir, for whoever cannot give it on every command line.
	stateEnv = "COVOL_STATE_DIR"
	// noState keeps events in memory.
	noState     = "none"
	eventsName  = "events"
	helperName  = "event-store"
	eventsWait  = 5 * time.Second // for the last events of a mount to be stored
	mountedNote = "mount.json"
)

// addStateDir is the flag of all that read or write state of nodes.
func addStateDir(cmd *cobra.Command, dir *string) {
	cmd.Flags().StringVar(dir, "state-dir", or(os.Getenv(stateEnv), defaultState),
		`where nodes of this host keep their events; "none" keeps them in memory`)
	_ = cmd.MarkFlagDirname("state-dir")
}

// newEventHelper is the process that alone opens event stores; see package events.
func newEventHelper() *cobra.Command {
	return &cobra.Command{
		Use: helperName, Hidden: true, DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, a []string) error {
			if code := events.Help(a, cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()); code != 0 {
				return &exitError{code: code}
			}
			return nil
		},
	}
}

// diskAt is the event store in a directory.
func diskAt(dir string) *events.Disk {
	return &events.Disk{Command: []string{"/proc/self/exe", helperName}, Dir: filepath.Join(dir, eventsName)}
}

// mountNote says whose state a directory holds.
type mountNote struct {
	Dir    string `json:"dir"`
	Node   string `json:"node"`
	Label  string `json:"label"`
	UUID   string `json:"uuid"`
	Device string `json:"device"`
}

// storeEvents says where the events of this mount go, once the volume is known. Without a place they stay in memory.
func (s *session) storeEvents(n *node) {
	if s.cfg.StateDir == noState || s.cfg.StateDir == "" {
		return
	}
	dir := filepath.Join(s.cfg.StateDir, n.cfg.Name, n.super.UUID.String())
	note := mountNote{Dir: s.dir, Node: n.cfg.Name, Label: n.super.Label, UUID: n.super.UUID.String(), Device: s.device}
	if err := writeNote(dir, &note); err != nil {
		s.log.Warn("events are kept in memory only", "err", err)
		return
	}
	s.events.Store(diskAt(dir))
}

func writeNote(dir string, note *mountNote) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("state of the node: %w", err)
	}
	path := filepath.Join(dir, mountedNote)
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("state of the node: %w", err)
	}
	if err := errors.Join(writeJSON(f, note), f.Close(), os.Rename(f.Name(), path)); err != nil {
		return fmt.Errorf("state of the node: %w", err)
	}
	return nil
}

// closeEvents stores the last events of the mount.
func (s *session) closeEvents(result error) {
	e := events.Event{Kind: events.Unmounted, Node: s.cfg.Name, Text: "cleanly"}
	if result != nil {
		e.Text = result.Error()
	}
	s.events.Add(e)
	ctx, cancel := context.WithTimeout(context.Background(), eventsWait)
	defer cancel()
	if err := s.events.Close(ctx); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.Warn("the last events are not stored", "err", err)
	}
}

// event is an event about this node.
func (n *node) event(kind events.Kind, text string) events.Event {
	e := events.Event{Kind: kind, Node: n.cfg.Name, Text: text}
	if m := n.up.Load(); m != nil {
		if st := m.Status(); st.Self.Incarnation > 0 {
			slot := int(st.Self.Slot)
			e.Slot, e.Incarnation, e.Epoch = &slot, uint32(st.Self.Incarnation), uint64(st.View.Epoch)
		}
	}
	return e
}

// tell passes an event on, if somebody listens.
func (n *node) tell(e events.Event) {
	if n.cfg.OnEvent != nil {
		n.cfg.OnEvent(e)
	}
}

// happened passes on what the cluster tells. Of its own withdrawal the node tells itself, for that may have begun in the
// filesystem.
func (n *node) happened(e cluster.Event) {
	if e.Kind == cluster.EventWithdrawn {
		return
	}
	slot := int(e.Slot)
	n.tell(events.Event{Kind: events.Kind(e.Kind.String()), Node: e.Node, Slot: &slot, Epoch: uint64(e.Epoch), Text: e.Text})
}

// replayed tells of a journal that this node has brought home.
func (n *node) replayed(r member.Replayed) {
	slot := int(r.Slot)
	n.tell(events.Event{Kind: events.Replayed, Node: n.cfg.Name, Slot: &slot,
		Text: fmt.Sprintf("journal brought home: %d transactions, %d blocks", r.Groups, r.Applied)})
}
