package integration

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestMkfsOverOthers refuses to overwrite other filesystems, made by their own tools, and leaves them as they were.
func TestMkfsOverOthers(t *testing.T) {
	makers := []struct {
		name, tool, pkg string
		args            []string
		judge           []string
	}{
		{"ext4", "mke2fs", "e2fsprogs", []string{"-q", "-F", "-t", "ext4"}, []string{"e2fsck", "-fn"}},
		{"xfs", "mkfs.xfs", "xfsprogs", []string{"-q"}, []string{"xfs_repair", "-n", "-f"}},
		{"ntfs", "mkfs.ntfs", "ntfs-3g", []string{"-q", "-Q", "-F"}, nil},
	}
	for _, m := range makers {
		t.Run(m.name, func(t *testing.T) {
			dev := filepath.Join(t.TempDir(), "disk.img")
			makeSparse(t, dev, "512M")
			run(t, tool(t, m.tool, m.pkg), append(m.args, dev)...)
			before := digest(t, dev)
			code, out := covolCode(t, "mkfs", dev)
			assert.NotZero(t, code)
			assert.Contains(t, out, "--force", "the error says what to do")
			assert.Contains(t, out, dev)
			assert.Equal(t, before, digest(t, dev), "not a byte may change")
			if m.judge != nil {
				run(t, tool(t, m.judge[0], m.pkg), append(m.judge[1:], dev)...)
			}
			covol(t, "mkfs", "--force", dev)
			covol(t, "fsck", "-n", dev)
		})
	}
}

// TestMkfsMounted refuses a volume that a node has mounted, forced or not.
func TestMkfsMounted(t *testing.T) {
	l := newLab(t, labOptions{nodes: 1})
	require.NoError(t, os.WriteFile(l.nodes[0].path("precious"), []byte("kept"), 0o644))
	for _, args := range [][]string{{"mkfs", l.dev}, {"mkfs", "--force", l.dev}} {
		code, out := covolCode(t, args...)
		assert.NotZero(t, code, "%v", args)
		assert.Contains(t, out, l.dev)
	}
	b, err := os.ReadFile(l.nodes[0].path("precious"))
	require.NoError(t, err)
	assert.Equal(t, "kept", string(b))
}

// refused starts a mount that must fail and returns what it said.
func refused(n *node) string {
	n.lab.t.Helper()
	n.start()
	n.state = false
	<-n.gone
	n.cmd = nil
	b, err := os.ReadFile(n.log)
	require.NoError(n.lab.t, err)
	require.Error(n.lab.t, n.err, "the mount was not refused")
	return string(b)
}

// TestSameName refuses a second node of the same name while the first is there, and lets it in afterwards.
func TestSameName(t *testing.T) {
	l := newLab(t, labOptions{nodes: 1})
	twin := l.add()
	twin.name, twin.keys = l.nodes[0].name, l.nodes[0].keys
	out := refused(twin)
	assert.Contains(t, out, "name", "says what is wrong")
	assert.Contains(t, out, twin.name)
	require.NoError(t, os.WriteFile(l.nodes[0].path("f"), []byte("the first goes on"), 0o644))
	l.nodes[0].down()
	twin.mount()
	b, err := os.ReadFile(twin.path("f"))
	require.NoError(t, err)
	assert.Equal(t, "the first goes on", string(b))
}

// TestNoFreeSlot refuses a node more than the volume has slots for, and lets it in when one has left.
func TestNoFreeSlot(t *testing.T) {
	l := newLab(t, labOptions{nodes: 2, mkfs: []string{"--slots", "2"}})
	late := l.add()
	assert.Contains(t, refused(late), "slot", "says what is wrong")
	l.nodes[0].down()
	late.mount()
	require.NoError(t, os.WriteFile(late.path("f"), []byte("in"), 0o644))
	b, err := os.ReadFile(l.nodes[1].path("f"))
	require.NoError(t, err)
	assert.Equal(t, "in", string(b))
}

// TestNameTooLong gives ENAMETOOLONG beyond 255 bytes for every operation that makes or looks up a name.
func TestNameTooLong(t *testing.T) {
	l := newLab(t, labOptions{nodes: 1})
	n := l.nodes[0]
	fits, long := n.path(strings.Repeat("x", 255)), n.path(strings.Repeat("x", 256))
	require.NoError(t, os.WriteFile(fits, []byte("fits"), 0o644))
	for what, err := range map[string]error{
		"create":  os.WriteFile(long, nil, 0o644),
		"mkdir":   os.Mkdir(long, 0o755),
		"rename":  os.Rename(fits, long),
		"link":    os.Link(fits, long),
		"symlink": os.Symlink("to", long),
		"mknod":   unix.Mknod(long, unix.S_IFIFO|0o644, 0),
		"unlink":  os.Remove(long),
		"target":  os.Symlink(strings.Repeat("t", 4096), n.path("l")),
	} {
		assert.ErrorIs(t, err, syscall.ENAMETOOLONG, what)
	}
	assert.Equal(t, []string{strings.Repeat("x", 255)}, names(t, n.dir))
}

// blockSize is that of metadata.
const blockSize = 4096

// TestCorruptSuperblock mounts by a copy and says so; without any copy it refuses.
func TestCorruptSuperblock(t *testing.T) {
	l := newLab(t, labOptions{nodes: 1, dirty: true})
	n := l.nodes[0]
	require.NoError(t, os.WriteFile(n.path("f"), []byte("content"), 0o644))
	n.down()
	supers := superblocks(t, l.dev)
	require.Greater(t, len(supers), 1, "a volume has copies of its superblock")
	damage(t, l.dev, supers[0])

	n.mount()
	b, err := os.ReadFile(n.path("f"))
	require.NoError(t, err)
	assert.Equal(t, "content", string(b))
	log, err := os.ReadFile(n.log)
	require.NoError(t, err)
	assert.Contains(t, string(log)+n.status().Volume.Note, "superblock", "says that it uses a copy")
	n.down()
	code, out := l.check()
	assert.Equal(t, 4, code, "fsck reports the damage:\n%s", out)

	for _, at := range supers[1:] {
		damage(t, l.dev, at)
	}
	out = refused(n)
	assert.Contains(t, out, l.dev)
	code, _ = l.check()
	assert.Contains(t, []int{4, 8}, code)
}

// superblocks returns the offsets of blocks that begin as the first one of a volume does.
func superblocks(t testing.TB, dev string) (at []int64) {
	t.Helper()
	f, err := os.Open(dev)
	require.NoError(t, err)
	defer f.Close()
	st, err := f.Stat()
	require.NoError(t, err)
	first, b := make([]byte, 8), make([]byte, 8)
	for off := int64(0); off < st.Size(); off += blockSize {
		// Holes have no superblocks.
		data, err := unix.Seek(int(f.Fd()), off, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break
		}
		require.NoError(t, err)
		off = max(off, data&^(blockSize-1))
		_, err = f.ReadAt(b, off)
		require.NoError(t, err)
		if len(at) == 0 && string(b) != string(make([]byte, 8)) {
			copy(first, b)
		}
		if string(b) == string(first) && string(b) != string(make([]byte, 8)) {
			at = append(at, off)
		}
	}
	return at
}

// damage changes some bytes in the middle of a block.
func damage(t testing.TB, dev string, off int64) {
	t.Helper()
	f, err := os.OpenFile(dev, os.O_RDWR, 0)
	require.NoError(t, err)
	defer f.Close()
	b := make([]byte, 16)
	_, err = f.ReadAt(b, off+64)
	require.NoError(t, err)
	for i := range b {
		b[i] ^= 0x5a
	}
	_, err = f.WriteAt(b, off+64)
	require.NoError(t, err)
	require.NoError(t, f.Sync())
}

// TestTruncatedDevice refuses a device that is shorter than its volume.
func TestTruncatedDevice(t *testing.T) {
	l := newLab(t, labOptions{nodes: 1})
	n := l.nodes[0]
	require.NoError(t, os.WriteFile(n.path("f"), []byte("content"), 0o644))
	n.down()
	whole := l.dev
	for _, size := range []int64{1<<30 - 1<<20, 300 << 20, 1 << 20, 100} {
		l.dev = filepath.Join(l.dir, fmt.Sprintf("short-%d.img", size))
		run(t, "cp", "--sparse=always", whole, l.dev)
		require.NoError(t, os.Truncate(l.dev, size))
		before := digest(t, l.dev)
		assert.Contains(t, refused(n), l.dev, "%d bytes", size)
		code, out := l.check()
		assert.Contains(t, []int{4, 8}, code, "fsck of %d bytes:\n%s", size, out)
		assert.Equal(t, before, digest(t, l.dev), "nothing is written to %d bytes", size)
	}
	l.dev = whole
	n.mount()
	b, err := os.ReadFile(n.path("f"))
	require.NoError(t, err)
	assert.Equal(t, "content", string(b))
}

// TestNotCovol refuses what is no volume at all, and places where nothing can be mounted.
func TestNotCovol(t *testing.T) {
	l := newLab(t, labOptions{nodes: 1})
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty.img")
	makeSparse(t, empty, "1G")
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	place := filepath.Join(dir, "place")
	require.NoError(t, os.Mkdir(place, 0o755))
	for what, args := range map[string][]string{
		"zeros":               {empty, place},
		"no such device":      {filepath.Join(dir, "nothing.img"), place},
		"no such directory":   {l.dev, filepath.Join(dir, "nowhere")},
		"not a directory":     {l.dev, file},
		"mount point in use":  {l.dev, l.nodes[0].dir},
		"a directory as disk": {dir, place},
	} {
		code, out := covolCode(t, append(append([]string{"mount"}, args...), "--node", "other", "--bind", "127.0.0.1:0")...)
		assert.NotZero(t, code, what)
		assert.True(t, strings.HasPrefix(lastError(out), "covol: "), "%s: %s", what, out)
		assert.NotContains(t, out, "panic", what)
		assert.NotContains(t, out, "goroutine", what)
	}
	assert.Equal(t, "active", l.nodes[0].status().State, "the node that is mounted does not notice")
}

// lastError is the line that a command ends with when it fails, hints aside.
func lastError(out string) string {
	last := ""
	for line := range strings.Lines(out) {
		if !strings.HasPrefix(line, " ") && strings.TrimSpace(line) != "" && !strings.HasPrefix(line, "time=") {
			last = line
		}
	}
	return last
}

// TestTooSmall refuses devices that cannot hold a volume, and odd sizes lose only their odd end.
func TestTooSmall(t *testing.T) {
	dir := t.TempDir()
	for _, size := range []int64{0, 1, 4096, 1 << 20, 64<<20 - 4096} {
		dev := filepath.Join(dir, fmt.Sprintf("%d.img", size))
		require.NoError(t, os.WriteFile(dev, nil, 0o644))
		require.NoError(t, os.Truncate(dev, size))
		code, out := covolCode(t, "mkfs", dev)
		assert.NotZero(t, code, "%d bytes", size)
		assert.Contains(t, out, dev, "%d bytes", size)
	}
	odd := filepath.Join(dir, "odd.img")
	require.NoError(t, os.WriteFile(odd, nil, 0o644))
	require.NoError(t, os.Truncate(odd, 300<<20+12345*512))
	covol(t, "mkfs", odd)
	covol(t, "fsck", "-n", odd)
}
