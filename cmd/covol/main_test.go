package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// asCovol makes the test binary be covol, so that tests use real processes, with the race detector if they have it.
const asCovol = "COVOL_TEST_AS_COVOL"

func TestMain(m *testing.M) {
	if os.Getenv(asCovol) != "" {
		main()
	}
	if err := os.Setenv(stateEnv, noState); err != nil { // what is stored is a matter of the tests that ask for it
		panic(err)
	}
	os.Exit(m.Run())
}

// patience bounds what a test waits for. It is never what a test is about.
const patience = 60 * time.Second

func covolCmd(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), asCovol+"=1")
	return cmd
}

// result is what a command left.
type result struct {
	out, err string
	code     int
}

// covol runs a command to its end.
func covol(t *testing.T, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = append(os.Environ(), asCovol+"=1")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.WaitDelay = time.Second // a lab's nodes do not hold these, but if they did we would hang
	err := cmd.Run()
	require.NoError(t, ctx.Err(), "covol %s hangs: %s%s", strings.Join(args, " "), &out, &errs)
	if _, ok := err.(*exec.ExitError); !ok {
		require.NoError(t, err)
	}
	return result{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// ok runs a command that must succeed and returns what it printed.
func ok(t *testing.T, args ...string) string {
	t.Helper()
	r := covol(t, args...)
	require.Zero(t, r.code, "covol %s: %s", strings.Join(args, " "), r.err)
	return r.out
}

// fails runs a command that must fail with code, and name want on standard error, and print nothing else.
func fails(t *testing.T, code int, want string, args ...string) result {
	t.Helper()
	r := covol(t, args...)
	require.Equal(t, code, r.code, "covol %s: %s%s", strings.Join(args, " "), r.out, r.err)
	require.Contains(t, r.err, want, "covol %s", strings.Join(args, " "))
	return r
}

func into[T any](t *testing.T, text string) (v T) {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(text))
	dec.DisallowUnknownFields()
	require.NoError(t, dec.Decode(&v), text)
	return v
}

func needMount(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to mount")
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skip("needs /dev/fuse")
	}
	if _, err := exec.LookPath("fusermount3"); err != nil {
		t.Skip("needs fusermount3 (Debian package fuse3)")
	}
}

// image makes a sparse file of a size that mkfs takes.
func image(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "lun.img")
	require.NoError(t, os.WriteFile(path, nil, 0o644))
	require.NoError(t, os.Truncate(path, 256<<20))
	return path
}

// newVolume makes a volume with the shortest times. When the test is over it must be clean.
func newVolume(t *testing.T, flags ...string) string {
	t.Helper()
	path := image(t)
	ok(t, append([]string{"mkfs", "--profile", "fast", path}, flags...)...)
	t.Cleanup(func() {
		if !t.Failed() {
			ok(t, "fsck", "-n", path)
		}
	})
	return path
}

// mounted is a covol mount process.
type mounted struct {
	t    *testing.T
	cmd  *exec.Cmd
	dir  string
	line string
	done chan struct{}

	mu sync.Mutex
	// GUARDED_BY(mu)
	log bytes.Buffer
}

func (m *mounted) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.log.Write(p)
}

func (m *mounted) stderr() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.log.String()
}

// mountAtDir mounts a volume and returns when it is ready. At the end of the test it is unmounted if it still is.
func mountAtDir(t *testing.T, dev, dir, node string, flags ...string) *mounted {
	t.Helper()
	m := &mounted{t: t, dir: dir, done: make(chan struct{})}
	m.cmd = covolCmd(append([]string{"mount", dev, dir, "--node", node}, flags...)...)
	m.cmd.Stderr = m
	out, err := m.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, m.cmd.Start())
	ready := make(chan string, 1)
	go func() {
		defer close(m.done)
		r := bufio.NewReader(out)
		line, _ := r.ReadString('\n')
		ready <- line
		rest, _ := io.ReadAll(r)
		_ = m.cmd.Wait()
		if len(rest) > 0 {
			_, _ = m.Write([]byte("MORE ON STDOUT: " + string(rest)))
		}
	}()
	t.Cleanup(func() {
		select {
		case <-m.done:
		default:
			_ = m.cmd.Process.Signal(syscall.SIGTERM)
			m.wait()
		}
		_ = unix.Unmount(dir, unix.MNT_DETACH)
		if t.Failed() {
			t.Logf("log of %s:\n%s", node, m.stderr())
		}
	})
	select {
	case m.line = <-ready:
	case <-time.After(patience):
		_ = m.cmd.Process.Signal(syscall.SIGQUIT)
		require.Fail(t, "not mounted", m.stderr())
	}
	require.NotEmpty(t, m.line, m.stderr())
	return m
}

// mount mounts on a directory of its own.
func mount(t *testing.T, dev, node string, flags ...string) *mounted {
	t.Helper()
	return mountAtDir(t, dev, t.TempDir(), node, flags...)
}

// wait returns the exit code.
func (m *mounted) wait() int {
	m.t.Helper()
	select {
	case <-m.done:
	case <-time.After(patience):
		_ = m.cmd.Process.Signal(syscall.SIGQUIT)
		require.Fail(m.t, "the mount process does not end", m.stderr())
	}
	return m.cmd.ProcessState.ExitCode()
}

// kill is kill -9.
func (m *mounted) kill() {
	m.t.Helper()
	require.NoError(m.t, m.cmd.Process.Kill())
	m.wait()
}

func (m *mounted) path(name string) string { return filepath.Join(m.dir, name) }

func (m *mounted) status() *statusReport {
	m.t.Helper()
	r := into[statusReport](m.t, ok(m.t, "status", "--json", m.dir))
	return &r
}

// writeSynced writes a file and makes it and its name stable.
func writeSynced(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.Create(path)
	require.NoError(t, err)
	defer f.Close()
	_, err = f.WriteString(text)
	require.NoError(t, err)
	require.NoError(t, f.Sync())
}
