package main

import (
	"context"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/covol/covol/cluster"
	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev/filedev"
	"github.com/covol/covol/ondisk/sched"
)

// inode is the number of a file, as stat(2) has it.
func inode(t *testing.T, path string) uint64 {
	t.Helper()
	st, err := os.Stat(path)
	require.NoError(t, err)
	return st.Sys().(*syscall.Stat_t).Ino
}

// peek reads a block of an image.
func peek(t *testing.T, path string, blk uint64) []byte {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	b := make([]byte, ondisk.BlockSize)
	_, err = f.ReadAt(b, int64(blk)*ondisk.BlockSize)
	require.NoError(t, err)
	return b
}

// TestRepairedVolumeIsMounted: a volume with damage of many kinds is repaired, and what is left of it can be used.
func TestRepairedVolumeIsMounted(t *testing.T) {
	needMount(t)
	dev := newVolume(t)
	m := mount(t, dev, "a")
	for _, d := range []string{"kept", "gone", "gone/below", "other"} {
		require.NoError(t, os.Mkdir(m.path(d), 0o755))
	}
	for _, f := range []string{"kept/f", "gone/f", "gone/below/f", "other/f", "top"} {
		writeSynced(t, m.path(f), strings.Repeat(f+" ", 5000))
	}
	gone, below, kept := inode(t, m.path("gone")), inode(t, m.path("gone/below")), inode(t, m.path("kept"))
	lost := inode(t, m.path("other/f"))
	fails(t, fsckFailed, "mounted by a", "fsck", "-y", dev)
	ok(t, "umount", m.dir)
	require.Zero(t, m.wait())

	s := superOf(t, dev)
	poke(t, dev, gone, make([]byte, ondisk.BlockSize)) // a directory and its record
	b := peek(t, dev, kept)                            // one flipped bit
	b[300] ^= 4
	poke(t, dev, kept, b)
	poke(t, dev, s.MetaBitmapBlock(0, 0), make([]byte, ondisk.BlockSize))
	b = peek(t, dev, lost) // a file that remembers a name which is not there
	rec, err := ondisk.DecodeInode(b)
	require.NoError(t, err)
	rec.Nlink, rec.Names = 7, []ondisk.KeptName{{Parent: 5, Name: "elsewhere"}}
	b = ondisk.EncodeInode(s.UUID, rec)
	ondisk.Stamp(b, 1<<20, 1, 0, 1)
	ondisk.Seal(b)
	poke(t, dev, lost, b)

	require.Equal(t, fsckErrors, covol(t, "fsck", "-n", dev).code)
	r := covol(t, "fsck", "-y", dev)
	require.Equal(t, fsckRepaired, r.code, r.out+r.err)
	require.Contains(t, ok(t, "fsck", "-n", dev), "clean")

	m = mount(t, dev, "a")
	for _, f := range []string{"kept/f", "gone/f", "gone/below/f", "other/f", "top"} {
		text, err := os.ReadFile(m.path(f))
		require.NoError(t, err, "%s\n%s", f, r.out)
		require.Equal(t, strings.Repeat(f+" ", 5000), string(text))
	}
	require.Equal(t, below, inode(t, m.path("gone/below")))
	require.NoError(t, os.RemoveAll(m.path("gone")))
	writeSynced(t, m.path("new"), "new")
	ok(t, "umount", m.dir)
	require.Zero(t, m.wait())
	require.Contains(t, ok(t, "fsck", "-n", dev), "clean")
}

// TestLostFound: what has no place any more is found under its old name, and may be used.
func TestLostFound(t *testing.T) {
	needMount(t)
	dev := newVolume(t)
	m := mount(t, dev, "a")
	require.NoError(t, os.Mkdir(m.path("d"), 0o755))
	writeSynced(t, m.path("d/f"), "precious")
	dir, file := inode(t, m.path("d")), inode(t, m.path("d/f"))
	ok(t, "umount", m.dir)
	require.Zero(t, m.wait())
	// The directory is emptied behind the back of the filesystem, and the file remembers another one.
	s := superOf(t, dev)
	rewrite := func(ino uint64, change func(in *ondisk.Inode)) {
		in, err := ondisk.DecodeInode(peek(t, dev, ino))
		require.NoError(t, err)
		change(in)
		b := ondisk.EncodeInode(s.UUID, in)
		ondisk.Seal(b)
		poke(t, dev, ino, b)
	}
	rewrite(dir, func(in *ondisk.Inode) { in.Root = ondisk.InitNode(make([]byte, len(in.Root)), 0) })
	rewrite(file, func(in *ondisk.Inode) { in.Names[0].Parent = 12345 })
	require.Equal(t, fsckRepaired, covol(t, "fsck", "-y", dev).code)
	m = mount(t, dev, "a")
	names, err := os.ReadDir(m.path("lost+found"))
	require.NoError(t, err)
	require.Len(t, names, 1)
	require.Equal(t, "f", names[0].Name())
	text, err := os.ReadFile(m.path("lost+found/f"))
	require.NoError(t, err)
	require.Equal(t, "precious", string(text))
	require.NoError(t, os.Rename(m.path("lost+found/f"), m.path("d/f")))
	require.NoError(t, os.Remove(m.path("lost+found")))
	ok(t, "umount", m.dir)
	require.Zero(t, m.wait())
	require.Contains(t, ok(t, "fsck", "-n", dev), "clean")
}

// TestMountDuringRepair: while a tool has the volume nobody mounts it, and the refusal says why.
func TestMountDuringRepair(t *testing.T) {
	dev := newVolume(t)
	d, err := filedev.Open(dev, filedev.Options{})
	require.NoError(t, err)
	defer d.Close()
	machine, err := cluster.LocalMachine()
	require.NoError(t, err)
	hold, err := cluster.Exclusive(context.Background(), cluster.Config{Dev: d, Super: superOf(t, dev), Name: cluster.ToolName("host", os.Getpid()),
		Addr: "-", Host: d, Machine: machine, Sched: sched.Real{}, Log: quietLog()})
	require.NoError(t, err)
	fails(t, 1, "being repaired by fsck@host/", "mount", dev, t.TempDir(), "--node", "b")
	fails(t, fsckFailed, "being repaired by fsck@host/", "fsck", "-y", dev)
	fails(t, fsckFailed, "being repaired by fsck@host/", "fsck", dev)
	require.NoError(t, hold.Release(context.Background(), true))
	require.Contains(t, ok(t, "fsck", "-n", dev), "clean")
}
