package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSize(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "4096": 4096, "4K": 4096, "4k": 4096, "4KiB": 4096, "1.5G": 3 << 29, "64T": 64 << 40, " 1M ": 1 << 20, "1P": 1 << 50,
	} {
		n, err := parseSize(text)
		require.NoError(t, err, text)
		require.Equal(t, want, n, text)
	}
	for _, text := range []string{"", "x", "4KB", "4GB", "-1", "1e400", "9000000P", "0.3", "K", "4 K x", "NaN", "Inf"} {
		_, err := parseSize(text)
		require.ErrorIs(t, err, errSize, text)
	}
	for text, want := range map[string]string{"4K": "4K", "4096": "4K", "4097": "4097", "1536K": "1536K", "4G": "4G", "0": ""} {
		var b byteSize
		require.NoError(t, b.Set(text))
		require.Equal(t, want, b.String())
	}
}

// TestHelp: each command of the contract is there, says what it does, and has an example.
func TestHelp(t *testing.T) {
	contract := map[string][]string{
		"mkfs": {"label", "cluster-size", "slots", "journal-size", "profile", "force", "json"}, "mount": {"node", "bind", "join", "transport"},
		"umount": {"json"}, "fsck": {"check-only", "yes", "json"}, "dump": {"json"}, "status": {"json"}, "locks": {"json"},
		"lab up": {"nodes", "dir", "size", "json"}, "lab status": {"dir", "json"}, "lab down": {"dir", "json"}, "version": {"json"},
	}
	root := newRoot()
	for name, flags := range contract {
		cmd, _, err := root.Find(strings.Fields(name))
		require.NoError(t, err, name)
		require.Equal(t, "covol "+name, cmd.CommandPath())
		assert.NotEmpty(t, cmd.Short, name)
		assert.Contains(t, cmd.Example, "covol "+name)
		for _, f := range flags {
			assert.NotNil(t, cmd.Flags().Lookup(f), "%s --%s", name, f)
		}
	}
	var out bytes.Buffer
	root = newRoot()
	root.SetOut(&out)
	root.SetArgs([]string{"completion", "bash"})
	require.NoError(t, root.Execute())
	assert.Contains(t, out.String(), "covol")
}

func TestHints(t *testing.T) {
	base := errors.New("base")
	err := hint(hint(base, "inner %d", 1), "outer")
	require.ErrorIs(t, err, base)
	var out bytes.Buffer
	cmd := &cobra.Command{SilenceErrors: true, SilenceUsage: true, RunE: func(*cobra.Command, []string) error {
		return &exitError{code: 8, err: err}
	}}
	cmd.SetArgs(nil)
	require.Equal(t, 8, execute(context.Background(), cmd, &out))
	require.Equal(t, "covol: base\n  inner 1\n", out.String())
	require.NoError(t, hint(nil, "nothing"))

	out.Reset()
	cmd.RunE = func(*cobra.Command, []string) error { return &exitError{code: 4} }
	require.Equal(t, 4, execute(context.Background(), cmd, &out))
	require.Empty(t, out.String(), "the report has said it all")
}

func TestCanonical(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "real"), 0o755))
	require.NoError(t, os.Symlink("real", filepath.Join(dir, "link")))
	t.Chdir(dir)
	for in, want := range map[string]string{
		"real": "real", "link": "real", "./real/": "real", "link/none": "real/none", "none": "none", "none/none": "none/none",
	} {
		got, err := canonical(in)
		require.NoError(t, err)
		require.Equal(t, filepath.Join(dir, want), got, in)
	}
	require.Equal(t, `a b\c`, unescape(`a\040b\134c`))
	require.Equal(t, `a\9`, unescape(`a\9`))
}

func TestAgo(t *testing.T) {
	for d, want := range map[time.Duration]string{
		1234 * time.Microsecond: "1ms", 2345 * time.Millisecond: "2.3s", 61200 * time.Millisecond: "1m1s", -2345 * time.Millisecond: "-2.3s",
	} {
		require.Equal(t, want, ago(d))
	}
	require.Equal(t, 1500*time.Microsecond, fromMillis(millis(1500*time.Microsecond)))
}

// TestProgress: nothing is shown to what is no terminal.
func TestProgress(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(&out)
	p.start = p.start.Add(-time.Minute)
	p.update("work", 1, 2)
	p.done()
	require.Empty(t, out.String())
}

func TestVersion(t *testing.T) {
	v := into[versionInfo](t, ok(t, "version", "--json"))
	require.Equal(t, 1, v.Format)
	require.Contains(t, ok(t, "version"), "volume format 1")
}
