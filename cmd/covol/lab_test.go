package main

import (
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// newLabDir names a lab that is taken down at the end, whatever has become of it.
func newLabDir(t *testing.T) string {
	t.Helper()
	needMount(t)
	dir := filepath.Join(t.TempDir(), "lab")
	t.Cleanup(func() {
		if _, err := os.Stat(filepath.Join(dir, "lun.img")); err == nil {
			ok(t, "lab", "down", "--dir", dir, "--force")
		}
	})
	return dir
}

func labNow(t *testing.T, dir string) labReport {
	t.Helper()
	return into[labReport](t, ok(t, "lab", "status", "--json", "--dir", dir))
}

func TestLab(t *testing.T) {
	dir := newLabDir(t)
	assert.Contains(t, ok(t, "lab", "up", "--dir", dir, "--size", "512M"), "A lab of 3 nodes is up")
	path := func(node int, name string) string {
		return filepath.Join(dir, "node"+strconv.Itoa(node), "csv", "volume1", name)
	}
	writeSynced(t, path(1, "f"), "from node 1")
	text, err := os.ReadFile(path(3, "f"))
	require.NoError(t, err)
	require.Equal(t, "from node 1", string(text))

	assert.Contains(t, ok(t, "lab", "up", "--dir", dir), "is up already")
	r := labNow(t, dir)
	require.Len(t, r.Nodes, 3)
	for i, n := range r.Nodes {
		assert.Equal(t, "node"+strconv.Itoa(i+1), n.Name)
		assert.Equal(t, "active", n.State)
		assert.Equal(t, path(i+1, ""), n.Mount)
		require.NotNil(t, n.Status)
		assert.Equal(t, "lab", n.Status.Volume.Label)
		assert.Len(t, n.Status.Cluster.Members, 3)
	}

	// A node dies; lab up brings it back, with what was synced.
	victim := watchProcess(r.Nodes[0].PID)
	defer victim.close()
	require.NoError(t, syscall.Kill(r.Nodes[0].PID, syscall.SIGKILL))
	require.True(t, victim.wait(patience))
	assert.Equal(t, "down", labNow(t, dir).Nodes[0].State)
	again := into[labReport](t, ok(t, "lab", "up", "--json", "--dir", dir))
	assert.True(t, again.Nodes[0].Started)
	assert.False(t, again.Nodes[1].Started)
	assert.Equal(t, r.Nodes[1].PID, again.Nodes[1].PID)
	text, err = os.ReadFile(path(1, "f"))
	require.NoError(t, err)
	require.Equal(t, "from node 1", string(text))

	// A lab grows.
	ok(t, "lab", "up", "--dir", dir, "--nodes", "4")
	text, err = os.ReadFile(path(4, "f"))
	require.NoError(t, err)
	require.Equal(t, "from node 1", string(text))

	processes := labNow(t, dir).Nodes
	assert.Contains(t, ok(t, "lab", "down", "--dir", dir), "is kept")
	for _, n := range processes {
		cmdline, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(n.PID), "cmdline"))
		require.Empty(t, cmdline, "process %d is gone, or waits to be reaped", n.PID)
	}
	ok(t, "fsck", "-n", filepath.Join(dir, "lun.img"))
	ok(t, "lab", "up", "--dir", dir, "--nodes", "2")
	text, err = os.ReadFile(path(2, "f"))
	require.NoError(t, err)
	require.Equal(t, "from node 1", string(text))
	assert.Contains(t, ok(t, "lab", "down", "--rm", "--dir", dir), "removed")
	_, err = os.Stat(dir)
	require.ErrorIs(t, err, os.ErrNotExist)
}

// TestLabBusy: lab down does not cut off who works, and says so; lab up then finds everything as it was.
func TestLabBusy(t *testing.T) {
	dir := newLabDir(t)
	ok(t, "lab", "up", "--dir", dir, "--size", "512M", "--nodes", "2")
	f, err := os.Create(filepath.Join(dir, "node2", "csv", "volume1", "f"))
	require.NoError(t, err)
	defer f.Close()
	fails(t, 1, "node2: umount", "lab", "down", "--dir", dir)
	_, err = f.WriteString("goes on")
	require.NoError(t, err)
	ok(t, "lab", "up", "--dir", dir)
	require.NoError(t, f.Close())
	ok(t, "lab", "down", "--dir", dir)
	for _, n := range labNow(t, dir).Nodes {
		require.Equal(t, "down", n.State)
	}
}

// TestLabFails: a node that cannot start ends lab up with the end of its log.
func TestLabFails(t *testing.T) {
	dir := newLabDir(t)
	fails(t, 1, "there is no lab", "lab", "status", "--dir", dir)
	fails(t, 1, "there is no lab", "lab", "down", "--dir", dir)
	fails(t, 1, "--nodes", "lab", "up", "--dir", dir, "--nodes", "0")
	fails(t, 1, "too small", "lab", "up", "--dir", dir, "--size", "1M")
	_, err := os.Stat(filepath.Join(dir, "lun.img"))
	require.ErrorIs(t, err, os.ErrNotExist, "no half-made volume is left")

	ok(t, "lab", "up", "--dir", dir, "--size", "512M", "--nodes", "1")
	ok(t, "lab", "down", "--dir", dir)
	image := filepath.Join(dir, "lun.img")
	require.NoError(t, os.Rename(image, image+".kept"))
	require.NoError(t, os.WriteFile(image, make([]byte, 1<<20), 0o644))
	r := fails(t, 1, "node1 ended before it was mounted", "lab", "up", "--dir", dir, "--nodes", "1")
	require.Contains(t, r.err, "not a covol volume")
	require.NoError(t, os.Rename(image+".kept", image))
	ok(t, "lab", "up", "--dir", dir, "--nodes", "1")
}
