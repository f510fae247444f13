package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/covol/covol/cmd/covol/internal/events"
)

// eventSource is where the events of one mount come from: its process if it runs, else what it left on disk.
type eventSource struct {
	dir    string         // mount point
	client *controlClient // nil: no process
	disk   *events.Disk   // nil: nothing on disk that we know of
}

// findEvents are the sources for a mount point, or without one all of this host.
func findEvents(stateDir string, a []string) ([]*eventSource, error) {
	byDir := map[string]*eventSource{}
	add := func(dir string) *eventSource {
		if byDir[dir] == nil {
			byDir[dir] = &eventSource{dir: dir}
		}
		return byDir[dir]
	}
	states := []string{stateDir}
	want := ""
	if len(a) == 1 {
		abs, err := canonical(a[0])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", a[0], err)
		}
		want = abs
		if lab := labStateOf(abs); lab != "" {
			states = append(states, lab)
		}
		if socket := findControl(abs); socket != "" {
			add(abs).client = newClient(socket)
		}
	} else {
		for _, socket := range allControls() {
			c := newClient(socket)
			if dir, state, err := c.whose(); err == nil {
				add(dir).client = c
				states = append(states, state)
			}
		}
	}
	for _, state := range states {
		for dir, disk := range storesIn(state) {
			if want == "" || dir == want {
				add(dir).disk = disk
			}
		}
	}
	if want != "" && len(byDir) == 0 {
		return nil, hint(fmt.Errorf("%s: no events: nothing is or was mounted there", a[0]), "If the node was mounted with --state-dir, give the same here.")
	}
	list := make([]*eventSource, 0, len(byDir))
	for _, s := range byDir {
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b *eventSource) int { return strings.Compare(a.dir, b.dir) })
	return list, nil
}

// storesIn are the stores below a state directory, by the mount point that they were last written for.
func storesIn(state string) map[string]*events.Disk {
	found := map[string]*events.Disk{}
	latest := map[string]time.Time{}
	paths, _ := filepath.Glob(filepath.Join(state, "*", "*", mountedNote))
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		fi, err := os.Stat(path)
		var note mountNote
		if err != nil || json.Unmarshal(text, &note) != nil || note.Dir == "" || !fi.ModTime().After(latest[note.Dir]) {
			continue
		}
		latest[note.Dir], found[note.Dir] = fi.ModTime(), diskAt(filepath.Dir(path))
	}
	return found
}

// whose asks a mount for its directory and where it keeps its state.
func (c *controlClient) whose() (dir, state string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), askTime)
	defer cancel()
	r, err := c.status(ctx)
	if err != nil {
		return "", "", err
	}
	return r.Dir, r.StateDir, nil
}

// read passes on the events asked for. A process that does not answer is passed over: its events are on disk too.
func (s *eventSource) read(ctx context.Context, q events.Query, emit func(hostEvent), note func(string)) error {
	if s.client != nil {
		bounded, cancel := context.WithTimeout(ctx, askTime)
		err := s.stream(bounded, q, false, emit, note)
		cancel()
		if err == nil {
			return nil
		}
		if s.disk == nil {
			return fmt.Errorf("%s: %w", s.dir, err)
		}
		note(fmt.Sprintf("%s: its process does not answer, latest events may be missing: %v", s.dir, err))
	}
	found, damage, err := s.disk.Read(ctx, q)
	if events.IsEmpty(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", s.dir, err)
	}
	if damage.Any() {
		note(fmt.Sprintf("%s: the event store is damaged: %s", s.dir, damage))
	}
	for _, e := range found {
		emit(hostEvent{s.dir, e})
	}
	return nil
}

// eventLine is one line of the answer of a mount process: an event, or a remark.
type eventLine struct {
	Event *events.Event `json:"event,omitempty"`
	Note  string        `json:"note,omitempty"`
}

// stream passes on events of the mount process, with follow until it ends or the caller goes away.
func (s *eventSource) stream(ctx context.Context, q events.Query, follow bool, emit func(hostEvent), note func(string)) error {
	args := url.Values{"last": {strconv.Itoa(q.Last)}, "follow": {strconv.FormatBool(follow)}}
	if !q.Since.IsZero() {
		args.Set("since", q.Since.Format(time.RFC3339Nano))
	}
	body, err := s.client.open(ctx, http.MethodGet, pathEvents+"?"+args.Encode())
	if err != nil {
		return err
	}
	defer body.Close()
	for dec := json.NewDecoder(body); ; {
		var line eventLine
		err := dec.Decode(&line)
		switch {
		case errors.Is(err, io.EOF) || follow && gone(err):
			return nil
		case err != nil:
			return fmt.Errorf("answer of the mount process: %w", err)
		case line.Event != nil:
			emit(hostEvent{s.dir, *line.Event})
		case line.Note != "":
			note(s.dir + ": " + line.Note)
		}
	}
}
