package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestMountCycle(t *testing.T) {
	needMount(t)
	dev := newVolume(t)
	a := mount(t, dev, "a")
	require.Equal(t, fmt.Sprintf("covol: mounted %s on %s\n", dev, a.dir), a.line)
	require.NoError(t, os.WriteFile(a.path("f"), []byte("from a"), 0o644))
	b := mount(t, dev, "b", "--join", a.status().Node.Addr, "--bind", "127.0.0.1:0")
	text, err := os.ReadFile(b.path("f"))
	require.NoError(t, err)
	require.Equal(t, "from a", string(text))
	assert.NotContains(t, b.stderr(), "no node of this volume answers")

	ok(t, "umount", a.dir)
	require.Zero(t, a.wait(), a.stderr())
	require.NotContains(t, a.stderr(), "MORE ON STDOUT")
	m, err := mountAt(a.dir)
	require.NoError(t, err)
	require.Nil(t, m, "the mount point is free again")
	ok(t, "umount", b.dir)
	require.Zero(t, b.wait(), b.stderr())
	require.Contains(t, ok(t, "fsck", dev), "clean")
	require.Contains(t, fails(t, 1, "no volume is mounted there", "umount", a.dir).err, "covol status")
}

// TestLeaveBySignal: each way to end a mount leaves cleanly, with code 0 and the slot free.
func TestLeaveBySignal(t *testing.T) {
	needMount(t)
	dev := newVolume(t)
	ways := map[string]func(m *mounted){
		"SIGTERM": func(m *mounted) { require.NoError(t, m.cmd.Process.Signal(syscall.SIGTERM)) },
		"SIGINT":  func(m *mounted) { require.NoError(t, m.cmd.Process.Signal(syscall.SIGINT)) },
		"SIGHUP":  func(m *mounted) { require.NoError(t, m.cmd.Process.Signal(syscall.SIGHUP)) },
		"SIGTERM ten times": func(m *mounted) {
			for range 10 {
				_ = m.cmd.Process.Signal(syscall.SIGTERM)
			}
		},
		"umount(8)": func(m *mounted) {
			out, err := exec.Command("umount", m.dir).CombinedOutput()
			require.NoError(t, err, string(out))
		},
	}
	for name, leave := range ways {
		t.Run(name, func(t *testing.T) {
			m := mount(t, dev, "a")
			require.NoError(t, os.WriteFile(m.path(strings.ReplaceAll(name, " ", "")), []byte(name), 0o644))
			leave(m)
			require.Zero(t, m.wait(), m.stderr())
			require.Zero(t, covol(t, "fsck", dev).code, "no journal is left to replay")
			names, err := os.ReadDir(m.dir)
			require.NoError(t, err)
			require.Empty(t, names, "nothing is mounted there any more")
		})
	}
	m := mount(t, dev, "a")
	for name := range ways {
		text, err := os.ReadFile(m.path(strings.ReplaceAll(name, " ", "")))
		require.NoError(t, err)
		require.Equal(t, name, string(text))
	}
}

// TestBusy: a mount in use stays, unless its users may be cut off.
func TestBusy(t *testing.T) {
	needMount(t)
	dev := newVolume(t)
	m := mount(t, dev, "a")
	f, err := os.Create(m.path("f"))
	require.NoError(t, err)
	defer f.Close()
	fails(t, 1, "in use", "umount", m.dir)
	_, err = f.WriteString("goes on")
	require.NoError(t, err)
	require.EqualValues(t, 1, m.status().Counters.OpenFiles)
	ok(t, "umount", "--force", m.dir)
	require.Zero(t, m.wait(), m.stderr())
	_, err = f.WriteString("x")
	require.Error(t, err)
}

// TestKilled: after kill -9 the dead mount is cleared, the journal replayed, and what was synced is there; other nodes
// see it, and wait for nothing else.
func TestKilled(t *testing.T) {
	needMount(t)
	dev := newVolume(t)
	other := mount(t, dev, "other")
	theirs, err := os.Create(other.path("theirs"))
	require.NoError(t, err)
	defer theirs.Close()
	_, err = theirs.Write(make([]byte, 1<<20))
	require.NoError(t, err)
	dir := t.TempDir()
	for round := range 3 {
		m := mountAtDir(t, dev, dir, "victim")
		for old := range round {
			text, err := os.ReadFile(m.path(fmt.Sprintf("d%d/f", old)))
			require.NoError(t, err)
			require.Equal(t, "synced", string(text))
		}
		require.NoError(t, os.Mkdir(m.path(fmt.Sprintf("d%d", round)), 0o755))
		writeSynced(t, m.path(fmt.Sprintf("d%d/f", round)), "synced")
		m.kill()
		_, err := os.ReadDir(dir)
		require.ErrorIs(t, err, syscall.ENOTCONN)
		_, err = theirs.WriteAt([]byte("goes on"), 0)
		require.NoError(t, err, "what the dead did not hold goes on")
	}
	require.Contains(t, ok(t, "umount", dir), "cleared the dead mount")
	m := mountAtDir(t, dev, dir, "victim")
	require.Contains(t, m.stderr()+other.stderr(), "journal replayed", "by whoever came first")
	for _, n := range []*mounted{m, other} {
		text, err := os.ReadFile(n.path("d2/f"))
		require.NoError(t, err)
		require.Equal(t, "synced", string(text))
	}
}

// TestAllKilled: when everybody is dead, fsck -y replays what they left, and says so by its code.
func TestAllKilled(t *testing.T) {
	needMount(t)
	dev := newVolume(t)
	a, b := mount(t, dev, "a"), mount(t, dev, "b")
	writeSynced(t, a.path("a"), "a")
	writeSynced(t, b.path("b"), "b")
	a.kill()
	b.kill()
	require.Zero(t, covol(t, "fsck", "-n", dev).code, "judged as after replay")
	r := covol(t, "fsck", "-y", "--json", dev)
	require.Equal(t, fsckRepaired, r.code, r.err)
	require.Contains(t, r.out, `"replayed": [`)
	require.Zero(t, covol(t, "fsck", "-y", dev).code, "there is nothing left to replay")
	c := mount(t, dev, "c")
	for _, name := range []string{"a", "b"} {
		text, err := os.ReadFile(c.path(name))
		require.NoError(t, err)
		require.Equal(t, name, string(text))
	}
}

// TestMountRefused: each bad wish is refused with an error that names it, and changes nothing.
func TestMountRefused(t *testing.T) {
	needMount(t)
	dev, dir := newVolume(t), t.TempDir()
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	tmpfs := filepath.Join(dir, "tmpfs")
	require.NoError(t, os.Mkdir(tmpfs, 0o755))
	require.NoError(t, unix.Mount("tmpfs", tmpfs, "tmpfs", 0, "size=64k"))
	defer func() { require.NoError(t, unix.Unmount(tmpfs, 0)) }()
	live := mount(t, dev, "live")
	before, err := os.ReadFile(dev)
	require.NoError(t, err)
	cases := []struct {
		want string
		args []string
	}{
		{"does not exist", []string{dev, filepath.Join(dir, "none")}},
		{"not a directory", []string{dev, file}},
		{"is in use: tmpfs", []string{dev, tmpfs}},
		{"already mounted", []string{dev, live.dir}},
		{"no such file", []string{filepath.Join(dir, "none"), dir}},
		{"mounted already", []string{dev, dir, "--node", "live"}},
		{"longer than", []string{dev, dir, "--node", strings.Repeat("x", 65)}},
		{"not allowed", []string{dev, dir, "--node", "a b"}},
		{"--bind", []string{dev, dir, "--bind", "nonsense"}},
		{"no port number", []string{dev, dir, "--bind", "127.0.0.1:http"}},
		{"--bind 192.0.2.1:0", []string{dev, dir, "--bind", "192.0.2.1:0"}},
		{"--join", []string{dev, dir, "--join", "nonsense"}},
		{"io_uring", []string{dev, dir, "--transport", "uring"}},
		{"want auto, bazil or uring", []string{dev, dir, "--transport", "magic"}},
		{"--log-level", []string{dev, dir, "--log-level", "loud"}},
		{"unknown flag", []string{dev, dir, "--nodes", "a"}},
		{"wrong number of arguments", []string{dev}},
	}
	for _, c := range cases {
		r := fails(t, 1, c.want, append([]string{"mount", "--node", "x"}, c.args...)...)
		require.Empty(t, r.out, c.want)
	}
	after, err := os.ReadFile(dev)
	require.NoError(t, err)
	require.Equal(t, len(before), len(after))
	require.Len(t, live.status().Cluster.Members, 1, "nobody else has come in")
}

// TestNoSlot: as many nodes as slots, then a clear refusal, then room again.
func TestNoSlot(t *testing.T) {
	needMount(t)
	dev := newVolume(t, "--slots", "2")
	a := mount(t, dev, "a")
	mount(t, dev, "b")
	r := fails(t, 1, "no free slot", "mount", dev, t.TempDir(), "--node", "c")
	require.Contains(t, r.err, "a (slot 0")
	ok(t, "umount", a.dir)
	mount(t, dev, "c")
}

// TestSignalWhileJoining: a node that waits for its death to be proven can be told to give up.
func TestSignalWhileJoining(t *testing.T) {
	needMount(t)
	dev := newVolume(t)
	m := mount(t, dev, "a")
	require.NoError(t, m.cmd.Process.Signal(syscall.SIGSTOP)) // alive by its lock, silent: the join must wait
	defer func() { _ = m.cmd.Process.Signal(syscall.SIGCONT) }()
	j := covolCmd("mount", dev, t.TempDir(), "--node", "a")
	require.NoError(t, j.Start())
	done := make(chan error, 1)
	go func() { done <- j.Wait() }()
	// However far it has come, it ends.
	require.Eventually(t, func() bool { return len(allControls()) > 1 || len(done) > 0 }, patience, 10*time.Millisecond)
	_ = j.Process.Signal(syscall.SIGTERM)
	select {
	case <-done:
		require.NotZero(t, j.ProcessState.ExitCode())
	case <-time.After(patience):
		_ = j.Process.Kill()
		require.Fail(t, "does not end")
	}
	require.NoError(t, m.cmd.Process.Signal(syscall.SIGCONT))
}

// TestLeaveWhileWaiting: a node can leave while programs wait there for what a stopped one holds. They get an error.
func TestLeaveWhileWaiting(t *testing.T) {
	needMount(t)
	dev := newVolume(t)
	a, b := mount(t, dev, "a"), mount(t, dev, "b")
	writeSynced(t, a.path("f"), "x")
	require.NoError(t, a.cmd.Process.Signal(syscall.SIGSTOP))
	read := make(chan error, 1)
	go func() {
		_, err := os.ReadFile(b.path("f"))
		read <- err
	}()
	require.Eventually(t, func() bool {
		return strings.Contains(ok(t, "locks", "--waiting", b.dir), "inode/")
	}, patience, 50*time.Millisecond)
	require.NoError(t, b.cmd.Process.Signal(syscall.SIGTERM))
	require.Zero(t, b.wait(), b.stderr())
	<-read // an error, or what it waited for if a was taken for dead meanwhile
	a.kill()
	require.Contains(t, ok(t, "umount", a.dir), "cleared")
	require.Contains(t, []int{0, fsckRepaired}, covol(t, "fsck", "-y", dev).code)
}
