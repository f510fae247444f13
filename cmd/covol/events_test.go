package main

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/cmd/covol/internal/events"
)

// readEvents are what covol events --json prints.
func readEvents(t *testing.T, args ...string) []hostEvent {
	t.Helper()
	var all []hostEvent
	for line := range strings.Lines(ok(t, append([]string{"events", "--json"}, args...)...)) {
		all = append(all, into[hostEvent](t, line))
	}
	return all
}

func kinds(all []hostEvent) (list []events.Kind) {
	for _, e := range all {
		list = append(list, e.Kind)
	}
	return list
}

// TestEvents: what happens is told while the node runs, to those who follow too, and afterwards, by whatever it ended.
func TestEvents(t *testing.T) {
	needMount(t)
	dev, state := newVolume(t), t.TempDir()
	a := mount(t, dev, "a", "--state-dir", state)
	before := readEvents(t, "--state-dir", state, a.dir)
	require.Contains(t, kinds(before), events.Mounted)
	for _, e := range before {
		require.Equal(t, a.dir, e.Dir)
	}

	follow := covolCmd("events", "--follow", "--json", a.dir)
	out, err := follow.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, follow.Start())
	lines := bufio.NewReader(out)
	next := func() (e hostEvent) {
		line, err := lines.ReadString('\n')
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal([]byte(line), &e))
		return e
	}
	for range before {
		next()
	}
	ok(t, "umount", a.dir)
	for {
		if e := next(); e.Kind == events.Unmounted {
			assert.Equal(t, "cleanly", e.Text)
			break
		}
	}
	require.NoError(t, follow.Wait(), "it ends with the node")

	after := readEvents(t, "--state-dir", state, a.dir)
	require.Greater(t, len(after), len(before))
	require.Equal(t, events.Unmounted, after[len(after)-1].Kind)
	require.Len(t, readEvents(t, "--state-dir", state, "--last", "1"), 1)
	require.Empty(t, readEvents(t, "--state-dir", state, "--since", "1ns", a.dir))
	require.Contains(t, ok(t, "events", "--state-dir", state, "--since", "1h", a.dir), "mounted")
	fails(t, 1, "nothing is or was mounted there", "events", "--state-dir", state, t.TempDir())
	fails(t, 1, "--since", "events", "--since", "soon")
	fails(t, 1, "--follow", "events", "--state-dir", state, "--follow", a.dir)
}

// TestEventsOfStopped: a mount process that does not run any more, or is stopped, has its events on disk.
func TestEventsOfStopped(t *testing.T) {
	needMount(t)
	dev, state := newVolume(t), t.TempDir()
	a := mount(t, dev, "a", "--state-dir", state)
	require.NotEmpty(t, readEvents(t, "--state-dir", state, a.dir), "asking has them stored")
	a.kill()
	require.Contains(t, kinds(readEvents(t, "--state-dir", state, a.dir)), events.Mounted)
	b := mountAtDir(t, dev, a.dir, "a", "--state-dir", state)
	all := kinds(readEvents(t, "--state-dir", state, a.dir))
	require.Equal(t, 2, strings.Count(joinKinds(all), string(events.Mounted)))
	require.Contains(t, all, events.Replayed)
	require.NoError(t, b.cmd.Process.Signal(syscall.SIGTERM))
	require.Zero(t, b.wait())
}

func joinKinds(all []events.Kind) string {
	var b strings.Builder
	for _, k := range all {
		b.WriteString(string(k) + " ")
	}
	return b.String()
}

// TestEventsCannotBeStored: a mount does not care.
func TestEventsCannotBeStored(t *testing.T) {
	needMount(t)
	dev := newVolume(t)
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	a := mount(t, dev, "a", "--state-dir", file)
	require.Contains(t, kinds(readEvents(t, a.dir)), events.Mounted)
	require.Contains(t, a.stderr(), "events are kept in memory")
}

func TestParseSince(t *testing.T) {
	for text, want := range map[string]time.Duration{"90s": 90 * time.Second, "1h": time.Hour, "7d": 7 * 24 * time.Hour, "1.5d": 36 * time.Hour} {
		d, err := parseSince(text)
		require.NoError(t, err)
		require.Equal(t, want, d)
	}
	for _, text := range []string{"", "d", "-1h", "-2d", "1e9d", "soon", "5"} {
		_, err := parseSince(text)
		require.Error(t, err, text)
	}
}
