package main

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestStatus(t *testing.T) {
	needMount(t)
	dev := newVolume(t, "--label", "seen")
	a := mount(t, dev, "a")
	b := mount(t, dev, "b")
	require.NoError(t, os.WriteFile(a.path("f"), []byte("x"), 0o644))
	_, err := os.ReadFile(b.path("f"))
	require.NoError(t, err)

	r := a.status()
	assert.Equal(t, a.cmd.Process.Pid, r.PID)
	assert.Equal(t, "active", r.State)
	assert.True(t, r.Mounted)
	assert.Equal(t, "a", r.Node.Name)
	assert.Equal(t, 0, r.Node.Slot)
	assert.EqualValues(t, 1, r.Node.Incarnation)
	assert.Equal(t, "seen", r.Volume.Label)
	assert.Equal(t, dev, r.Volume.Device)
	assert.EqualValues(t, 256<<20, r.Volume.Size)
	require.NotNil(t, r.Volume.Free)
	assert.Positive(t, *r.Volume.Free)
	assert.Equal(t, "bazil", r.Transport.Name)
	require.NotNil(t, r.Cluster)
	assert.Equal(t, []string{"host", "lease"}, r.Cluster.Fencing)
	assert.Positive(t, r.Cluster.LeaseLeftMS)
	require.Len(t, r.Cluster.Members, 2)
	self, other := r.Cluster.Members[0], r.Cluster.Members[1]
	assert.True(t, self.Self)
	assert.Equal(t, "b", other.Name)
	assert.Equal(t, "alive", other.Liveness)
	assert.True(t, other.Connected, other.ConnectError)
	assert.Equal(t, b.status().Node.Addr, other.Addr)
	assert.Zero(t, r.Counters.Unexpected)
	assert.Positive(t, r.Counters.LockMessagesSent)
	assert.Positive(t, r.Counters.DeviceWrites)

	all := into[[]statusReport](t, ok(t, "status", "--json"))
	found := 0
	for _, m := range all {
		if m.Dir == a.dir || m.Dir == b.dir {
			found++
		}
	}
	assert.Equal(t, 2, found, "status without a directory lists all mounts")
	text := ok(t, "status", a.dir)
	for _, want := range []string{"node a is active", "seen", "bazil", "host, then lease", "127.0.0.1:"} {
		assert.Contains(t, text, want)
	}
	assert.Contains(t, ok(t, "status"), a.dir)
	fails(t, 1, "no volume is mounted there", "status", t.TempDir())
}

// TestAlone: a node that works in its own files sends no lock message after the first use.
func TestAlone(t *testing.T) {
	needMount(t)
	dev := newVolume(t)
	a := mount(t, dev, "a")
	mount(t, dev, "b")
	require.NoError(t, os.Mkdir(a.path("own"), 0o755))
	work := func() {
		for range 20 {
			writeSynced(t, a.path("own/f"), strings.Repeat("x", 100_000))
			_, err := os.ReadFile(a.path("own/f"))
			require.NoError(t, err)
		}
	}
	work()
	before := a.status().Counters
	work()
	after := a.status().Counters
	require.Equal(t, before.LockMessagesSent, after.LockMessagesSent)
	require.Equal(t, before.RemoteGrants, after.RemoteGrants)
	require.Greater(t, after.DeviceWrites, before.DeviceWrites)
}

// TestLocks: who holds and who waits is seen at the master.
func TestLocks(t *testing.T) {
	needMount(t)
	dev := newVolume(t)
	a, b := mount(t, dev, "a"), mount(t, dev, "b")
	writeSynced(t, a.path("f"), "x")
	r := into[lockReport](t, ok(t, "locks", "--json", a.dir))
	assert.Equal(t, "a", r.Node)
	ex := 0
	var paths []string
	for _, l := range r.Locks {
		if l.Mode == "EX" && strings.HasPrefix(l.Resource, "inode/") {
			ex++
			require.NotNil(t, l.Master)
			paths = append(paths, l.Path)
		}
	}
	assert.Positive(t, ex)
	assert.Contains(t, paths, "/f")
	assert.Contains(t, ok(t, "locks", a.dir), "RESOURCE")
	assert.NotEmpty(t, into[[]lockReport](t, ok(t, "locks", "--json")))

	// a stops with a file locked that b decides about: b says who is in the way, until a is taken for dead.
	writeSynced(t, b.path("g"), "x")
	writeSynced(t, a.path("g"), "y")
	require.NoError(t, a.cmd.Process.Signal(syscall.SIGSTOP))
	read := make(chan error, 1)
	go func() {
		_, err := os.ReadFile(b.path("g"))
		read <- err
	}()
	require.Eventually(t, func() bool {
		r := into[lockReport](t, ok(t, "locks", "--blocked", "--json", b.dir))
		if len(r.Blocked) == 0 {
			return false
		}
		w := r.Blocked[0]
		return w.Node.Name == "b" && len(w.By) == 1 && w.By[0].Name == "a" && w.By[0].Mode == "EX" && w.ForMS > 0
	}, patience, 20*time.Millisecond)
	assert.Contains(t, ok(t, "locks", "--blocked", b.dir), "a EX (holds)")
	select {
	case err := <-read:
		require.NoError(t, err)
	case <-time.After(patience):
		require.Fail(t, "b still waits")
	}
	require.NoError(t, a.cmd.Process.Signal(syscall.SIGCONT))
	require.Eventually(t, func() bool { s := a.status(); return s.State == "withdrawn" || s.State == "fenced" }, patience, 20*time.Millisecond)
	require.Equal(t, 1, covol(t, "umount", a.dir).code)
	require.Equal(t, 1, a.wait())
}

// TestBlocked: who is in the way of whom, from what holds and waits.
func TestBlocked(t *testing.T) {
	node := func(name string) lockNode { return lockNode{Name: name, Slot: int(name[0] - 'a')} }
	l := lockDetail{Resource: "inode/7", Holders: []lockHolder{
		{lockNode: node("a"), Mode: "PR"}, {lockNode: node("b"), Mode: "PR", Dead: true},
	}, Waiters: []lockWaiter{
		{lockNode: node("a"), Want: "EX", Convert: true, ForMS: 10}, {lockNode: node("c"), Want: "PR", ForMS: 30}, {lockNode: node("d"), Want: "EX", ForMS: 20},
	}}
	elsewhere := lockDetail{Resource: "inode/8", Want: "EX", WaitingMS: 40, Master: &lockNode{Name: "z"}}
	r := &lockReport{Node: "d", Locks: []lockDetail{l, elsewhere}}
	r.findBlocked()
	var got []string
	for _, b := range r.Blocked {
		line := b.Node.text() + " " + b.Want + ":"
		for _, by := range b.By {
			line += " " + by.text() + " " + by.Mode + " " + by.Why
		}
		got = append(got, line)
	}
	require.Equal(t, []string{
		"d EX:", "c PR: a EX queued", "d EX: a PR holds b PR dead", "a EX: b PR dead",
	}, got)
	r.learn([]*lockReport{{Node: "z", Locks: []lockDetail{{Resource: "inode/8", Path: "/x", Master: &lockNode{Name: "z"},
		Holders: []lockHolder{{lockNode: node("b"), Mode: "PR"}}, Waiters: []lockWaiter{{lockNode: node("d"), Want: "EX", ForMS: 50}}}}}})
	require.Equal(t, "/x", r.Blocked[0].Path)
	require.Equal(t, []blocker{{lockNode: node("b"), Mode: "PR", Why: "holds"}}, r.Blocked[0].By)
}
