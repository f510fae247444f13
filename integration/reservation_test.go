package integration

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/covol/covol/iscsi/scsi"
	"github.com/covol/covol/ondisk"
)

// reservedStatus is what these tests want to know of a node.
type reservedStatus struct {
	State   string
	Cluster struct {
		Fencing   []string
		LastProof string `json:"last_proof"`
		Members   []struct{ Name string }
	}
}

func statusOf(t *testing.T, dir string) (s reservedStatus) {
	t.Helper()
	out, err := exec.Command(covolBin(t), "status", "--json", dir).Output()
	require.NoError(t, err, "%s", out)
	require.NoError(t, json.Unmarshal(out, &s), "%s", out)
	return s
}

// TestReservation: of three nodes on one unit one is killed and one stopped. The third goes on with what they held by the
// word of the storage, without a wait for the leases; the one that was stopped is fenced when it goes on.
func TestReservation(t *testing.T) {
	t.Parallel() // it waits more than it works
	needMounts(t)
	g, base := covolTarget(t, "512M"), t.TempDir()
	runTool(t, covolBin(t), "mkfs", g.unit())
	dir := func(n string) string { return filepath.Join(base, n) }
	stopped, killed := mountISCSI(t, g.unit(), dir("a"), "a"), mountISCSI(t, g.unit(), dir("b"), "b")
	mountISCSI(t, g.unit(), dir("c"), "c", "--fence", "reservation") // nothing else can prove a death
	require.Equal(t, []string{"reservation", "lease"}, statusOf(t, dir("a")).Cluster.Fencing)
	for _, n := range []string{"a", "b"} {
		writeStable(t, filepath.Join(dir(n), n), "by "+n)
	}
	f, err := os.OpenFile(filepath.Join(dir("a"), "a"), os.O_RDWR, 0)
	require.NoError(t, err)
	defer f.Close()

	require.NoError(t, stopped.Process.Signal(unix.SIGSTOP))
	t.Cleanup(func() { _ = stopped.Process.Signal(unix.SIGCONT) })
	since := time.Now()
	require.NoError(t, killed.Process.Kill())
	for _, n := range []string{"a", "b"} {
		path := filepath.Join(dir("c"), n)
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		assert.Equal(t, "by "+n, string(text))
		writeStable(t, path, "by c")
	}
	t.Logf("the survivor has written what both held after %v", time.Since(since))
	assert.Equal(t, "reservation", statusOf(t, dir("c")).Cluster.LastProof)

	wait := ondisk.Profiles[0].Wait()
	require.Eventually(t, func() bool { return time.Since(since) > wait }, time.Minute, 20*time.Millisecond)
	require.NoError(t, stopped.Process.Signal(unix.SIGCONT))
	require.Eventually(t, func() bool { return statusOf(t, dir("a")).State == "fenced" }, 20*time.Second, 20*time.Millisecond)
	_, err = f.WriteAt([]byte("late"), 0)
	if err == nil {
		err = f.Sync()
	}
	require.ErrorIs(t, err, syscall.EIO)
	for _, n := range []string{"a", "b"} {
		text, err := os.ReadFile(filepath.Join(dir("c"), n))
		require.NoError(t, err)
		assert.Equal(t, "by c", string(text))
	}
	runTool(t, covolBin(t), "umount", dir("c"))
}

// TestReservationLeft: tools work on a unit that dead nodes have left reserved, and say so; so does a node that was told
// to prove deaths by the lease.
func TestReservationLeft(t *testing.T) {
	needMounts(t)
	g, ctx := covolTarget(t, "256M"), context.Background()
	d := openISCSI(t, g.unit(), 7)
	leave := func() {
		require.NoError(t, d.Register(ctx, 0, 0x77, true))
		require.NoError(t, d.Reserve(ctx, scsi.WriteExclusiveAllRegistrants, 0x77))
	}
	tell := func(args ...string) string {
		out, err := exec.Command(covolBin(t), args...).CombinedOutput()
		require.NoError(t, err, "%s", out)
		keys, _, err := d.ReadKeys(ctx)
		require.NoError(t, err)
		require.Empty(t, keys, "%v", args)
		return string(out)
	}
	leave()
	code, out := covolCode(t, "mkfs", "--profile", "fast", g.unit())
	require.NotZero(t, code)
	require.Contains(t, out, "is reserved")
	require.NoError(t, d.Clear(ctx, 0x77))
	tell("mkfs", "--profile", "fast", g.unit())
	leave()
	require.Contains(t, tell("mkfs", "--force", "--profile", "fast", g.unit()), "registrations that earlier nodes have left: 0x77")
	leave()
	require.Contains(t, tell("fsck", "-y", g.unit()), "registrations that earlier nodes have left: 0x77")
	leave()
	dir := filepath.Join(t.TempDir(), "a")
	mountISCSI(t, g.unit(), dir, "a", "--fence", "lease")
	writeStable(t, filepath.Join(dir, "f"), "x")
	require.Equal(t, []string{"lease", "registered"}, statusOf(t, dir).Cluster.Fencing)
	require.NoError(t, d.Register(ctx, 0x77, 0, true))
	tell("umount", dir)
}
