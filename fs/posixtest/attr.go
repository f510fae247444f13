package posixtest

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var attrTests = tests{
	"Chmod":        testChmod,
	"Chown":        testChown,
	"Utimens":      testUtimens,
	"UtimensNow":   testUtimensNow,
	"DirTimes":     testDirTimes,
	"CtimeChanges": testCtimeChanges,
	"Statfs":       testStatfs,
	"StableInode":  testStableInode,
}

func testChmod(t testing.TB, dir string) {
	f, d := filepath.Join(dir, "f"), filepath.Join(dir, "d")
	write(t, f, nil)
	require.NoError(t, os.Mkdir(d, 0o755))
	for _, mode := range []uint32{0, 0o400, 0o644, 0o777, 0o4755, 0o2755, 0o6711, 0o1777} {
		require.NoError(t, syscall.Chmod(f, mode))
		require.EqualValues(t, syscall.S_IFREG|mode, stat(t, f).Mode)
		require.NoError(t, syscall.Chmod(d, mode))
		require.EqualValues(t, syscall.S_IFDIR|mode, stat(t, d).Mode)
	}
	require.ErrorIs(t, syscall.Chmod(filepath.Join(dir, "none"), 0o644), syscall.ENOENT)
}

func testChown(t testing.TB, dir string) {
	needRoot(t)
	f, l := filepath.Join(dir, "f"), filepath.Join(dir, "l")
	write(t, f, nil)
	require.NoError(t, os.Symlink("f", l))
	require.NoError(t, os.Chown(f, 11, 22))
	require.NoError(t, os.Chown(f, -1, 33))
	st := stat(t, f)
	assert.EqualValues(t, 11, st.Uid)
	assert.EqualValues(t, 33, st.Gid)
	require.NoError(t, os.Lchown(l, 44, 55))
	assert.EqualValues(t, 44, stat(t, l).Uid)
	assert.EqualValues(t, 11, stat(t, f).Uid, "lchown does not follow")
	const big = 1<<32 - 2
	require.NoError(t, syscall.Chown(f, big, big))
	assert.EqualValues(t, uint32(big), stat(t, f).Uid)
}

func testUtimens(t testing.TB, dir string) {
	f := filepath.Join(dir, "f")
	write(t, f, nil)
	for _, at := range []time.Time{
		time.Unix(1, 1), time.Unix(1234567890, 123456789), time.Unix(1<<31+5, 999999999), time.Unix(0, 0),
		time.Unix(5e9, 7),
	} {
		mt := at.Add(time.Second + time.Nanosecond)
		require.NoError(t, syscall.UtimesNano(f, []syscall.Timespec{
			{Sec: at.Unix(), Nsec: int64(at.Nanosecond())}, {Sec: mt.Unix(), Nsec: int64(mt.Nanosecond())}}))
		st := stat(t, f)
		require.Equal(t, at.UnixNano(), st.Atim.Nano())
		require.Equal(t, mt.UnixNano(), st.Mtim.Nano())
	}
}

func testUtimensNow(t testing.TB, dir string) {
	const utimeNow, utimeOmit = 1<<30 - 1, 1<<30 - 2
	f := filepath.Join(dir, "f")
	write(t, f, nil)
	old := syscall.Timespec{Sec: 1000, Nsec: 5}
	require.NoError(t, syscall.UtimesNano(f, []syscall.Timespec{old, old}))
	require.NoError(t, syscall.UtimesNano(f, []syscall.Timespec{{Nsec: utimeOmit}, {Nsec: utimeNow}}))
	st := stat(t, f)
	assert.Equal(t, old, st.Atim)
	assert.Less(t, time.Since(time.Unix(0, st.Mtim.Nano())), time.Hour)
	require.NoError(t, syscall.UtimesNano(f, []syscall.Timespec{{Nsec: utimeNow}, {Nsec: utimeOmit}}))
	assert.Equal(t, st.Mtim, stat(t, f).Mtim)
	assert.NotEqual(t, old, stat(t, f).Atim)
}

// back sets a file's times back, so that a change shows whatever the clock's grain.
func back(t testing.TB, path string) {
	t.Helper()
	old := syscall.Timespec{Sec: 1000}
	require.NoError(t, syscall.UtimesNano(path, []syscall.Timespec{old, old}))
	require.Equal(t, old, stat(t, path).Mtim)
}

func testDirTimes(t testing.TB, dir string) {
	d := filepath.Join(dir, "d")
	require.NoError(t, os.Mkdir(d, 0o755))
	f, g := filepath.Join(d, "f"), filepath.Join(d, "g")
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"create", func() error { return os.WriteFile(f, nil, 0o644) }},
		{"link", func() error { return os.Link(f, g) }},
		{"unlink", func() error { return os.Remove(g) }},
		{"rename", func() error { return os.Rename(f, g) }},
		{"mkdir", func() error { return os.Mkdir(f, 0o755) }},
		{"rmdir", func() error { return os.Remove(f) }},
		{"symlink", func() error { return os.Symlink("x", f) }},
	} {
		back(t, d)
		require.NoError(t, step.do(), step.what)
		require.Greater(t, stat(t, d).Mtim.Sec, int64(1000), "%s changes the directory's mtime", step.what)
	}
}

func testCtimeChanges(t testing.TB, dir string) {
	f := filepath.Join(dir, "f")
	write(t, f, nil)
	before := stat(t, f).Ctim.Nano()
	for what, do := range map[string]func() error{
		"chmod":    func() error { return os.Chmod(f, 0o600) },
		"link":     func() error { return os.Link(f, f+"2") },
		"truncate": func() error { return os.Truncate(f, 10) },
		"utimens":  func() error { return os.Chtimes(f, time.Unix(1, 0), time.Unix(1, 0)) },
	} {
		require.NoError(t, do(), what)
		now := stat(t, f).Ctim.Nano()
		require.GreaterOrEqual(t, now, before, what)
		before = now
	}
	require.Less(t, time.Since(time.Unix(0, before)), time.Hour)
}

func testStatfs(t testing.TB, dir string) {
	var st syscall.Statfs_t
	require.NoError(t, syscall.Statfs(dir, &st))
	assert.Positive(t, st.Blocks)
	assert.LessOrEqual(t, st.Bfree, st.Blocks)
	assert.LessOrEqual(t, st.Bavail, st.Bfree)
	assert.Positive(t, st.Bsize)
	assert.EqualValues(t, 255, st.Namelen)
	require.NoError(t, syscall.Statfs(filepath.Join(dir, "."), &st))
	require.ErrorIs(t, syscall.Statfs(filepath.Join(dir, "none"), &st), syscall.ENOENT)
}

// testStableInode: a file's number does not change, and is what readdir says.
func testStableInode(t testing.TB, dir string) {
	f := filepath.Join(dir, "f")
	write(t, f, nil)
	ino := stat(t, f).Ino
	require.Equal(t, ino, stat(t, f).Ino)
	require.NoError(t, os.Rename(f, f+"2"))
	require.Equal(t, ino, stat(t, f+"2").Ino)
	for _, e := range list(t, open(t, dir, os.O_RDONLY), 4096) {
		if e.name == "f2" {
			require.Equal(t, ino, e.ino)
			return
		}
	}
	require.Fail(t, "f2 is not listed")
}
