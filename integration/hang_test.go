package integration

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// user is a program that uses the volume.
type user struct {
	l    *lab
	cmd  *exec.Cmd
	done chan error
	out  bytes.Buffer
}

// reads starts a program that reads a file past all caches.
func (l *lab) reads(path string) *user {
	u := &user{l: l, done: make(chan error, 1)}
	u.cmd = exec.Command("dd", "if="+path, "of=/dev/null", "bs=4096", "count=1", "iflag=direct", "status=none")
	u.cmd.Stderr = &u.out
	require.NoError(l.t, u.cmd.Start())
	go func() { u.done <- u.cmd.Wait() }()
	return u
}

// ends waits for the end, which must be an error.
func (u *user) ends(why string) {
	u.l.t.Helper()
	select {
	case err := <-u.done:
		require.Error(u.l.t, err, why)
	case <-u.l.late:
		require.Fail(u.l.t, "a program hangs", why)
	}
}

// hangLab is a lab whose disk can be made to hang.
func hangLab(t *testing.T) (*lab, *node) {
	l := newLab(t, labOptions{nodes: 1, limit: 3 * time.Minute, faults: true})
	n := l.nodes[0]
	writeStable(t, n.path("f"), strings.Repeat("x", 8192))
	return l, n
}

// back mounts the node again, and finds what was stable.
func back(t *testing.T, n *node) {
	t.Helper()
	n.mount()
	text, err := os.ReadFile(n.path("f"))
	require.NoError(t, err)
	require.Len(t, text, 8192)
}

// sleeps reports whether a process waits for an answer of FUSE.
func sleeps(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/wchan", pid))
	return err == nil && strings.Contains(string(b), "request_wait_answer")
}

// TestPaused: while the storage is away programs wait, can be ended, and status says why; a node that is asked to leave
// then ends within the time after which others may take it for dead, and lets go of every program.
func TestPaused(t *testing.T) {
	t.Parallel() // it waits more than it works
	l, n := hangLab(t)
	n.faults("all", "any hang")
	inDevice := l.reads(n.path("f"))
	l.eventually("it pauses", func() bool {
		text := covol(t, "status", n.dir)
		return strings.Contains(text, "is paused (storage") && strings.Contains(text, "left -") // reads wait too
	})
	atGate := l.reads(n.path("f"))
	l.eventually("it is asleep", func() bool { return sleeps(atGate.cmd.Process.Pid) })
	require.NoError(t, atGate.cmd.Process.Signal(unix.SIGTERM))
	atGate.ends("a signal ends a program whose I/O has not begun")
	last := l.reads(n.path("f"))
	code, out := covolCode(t, "umount", n.dir)
	require.NotZero(t, code)
	require.Contains(t, out, "in use")
	n.signal(unix.SIGTERM)
	n.over()
	inDevice.ends("the node has ended")
	last.ends("the node has ended")
	assert.Contains(t, n.tail(), "the storage has not answered")
	entries, err := os.ReadDir(n.dir)
	require.NoError(t, err, "nothing is mounted there any more")
	require.Empty(t, entries)
	back(t, n)
}

// TestStalled: the same when heartbeats get through and data does not.
func TestStalled(t *testing.T) {
	t.Parallel() // it waits more than it works
	l, n := hangLab(t)
	n.faults("data", "any hang")
	reader := l.reads(n.path("f"))
	l.eventually("its read is at the device", func() bool { return n.struck().dataWaiting > 0 })
	n.signal(unix.SIGTERM)
	n.over()
	reader.ends("the node has ended")
	back(t, n)
}

// TestHungDataPath: a node whose data path hangs while its heartbeats get through says so, gives up after W, and the others
// take over what it holds.
func TestHungDataPath(t *testing.T) {
	t.Parallel() // it waits more than it works
	l := newLab(t, labOptions{nodes: 2, limit: 3 * time.Minute, faults: true})
	a, b := l.nodes[0], l.nodes[1]
	writeStable(t, a.path("f"), block('0'))
	writeStable(t, a.path("g"), block('1')) // the directory is a's
	a.faults("data", "any hang")
	reader := l.reads(a.path("f"))
	l.eventually("it says what it waits for", func() bool {
		text := covol(t, "status", a.dir)
		return strings.Contains(text, "is stalled (stalled: I/O in flight") && strings.Contains(text, "waits for  the storage to answer")
	})
	require.Equal(t, "active", b.status().State)
	writeStable(t, b.path("h"), block('2')) // waits for what a holds
	overwrite(t, b.path("f"), 'b')
	require.True(t, a.outFor(b))
	require.Equal(t, "withdrawn", a.status().State)
	require.Contains(t, covol(t, "status", a.dir), "the data path hangs")
	require.True(t, a.events()["stalled n1"] && b.events()["recovered n1"])
	reader.ends("it is cut off")
	a.signal(unix.SIGTERM)
	a.over()
	a.mount()
	require.Equal(t, block('b'), readAll(t, a.path("f")))
	require.Equal(t, block('2'), readAll(t, a.path("h")))
}

// TestWithdrawnStuck: I/O that does not come back keeps no program once the node has withdrawn.
func TestWithdrawnStuck(t *testing.T) {
	t.Parallel() // it waits more than it works
	l, n := hangLab(t)
	n.faults("data", "read hang; write error")
	reader := l.reads(n.path("f"))
	l.eventually("its read is at the device", func() bool { return n.struck().dataWaiting > 0 })
	f, err := os.Create(n.path("g"))
	if err == nil {
		require.Error(t, f.Sync())
		_ = f.Close()
	}
	l.eventually("it withdraws", func() bool { return n.status().out() })
	reader.ends("it is cut off")
	code, out := covolCode(t, "umount", n.dir)
	require.NotZero(t, code)
	require.Contains(t, out, "withdrawn")
	n.over()
	back(t, n)
}

// TestSilentProcess: a mount process that does not answer is given up by force, and only so.
func TestSilentProcess(t *testing.T) {
	t.Parallel() // it waits more than it works
	l, n := hangLab(t)
	n.signal(unix.SIGSTOP)
	reader := l.reads(n.path("f"))
	code, out := covolCode(t, "umount", n.dir)
	require.Equal(t, 1, code)
	require.Contains(t, out, "does not answer")
	require.Contains(t, out, "--force")
	require.Contains(t, covol(t, "umount", "--force", n.dir), "killed")
	n.over()
	reader.ends("it is cut off")
	back(t, n)
}
