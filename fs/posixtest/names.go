package posixtest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var nameTests = tests{
	"Mkdir":              testMkdir,
	"Rmdir":              testRmdir,
	"RmdirBusy":          testRmdirBusy,
	"Unlink":             testUnlink,
	"UnlinkOpen":         testUnlinkOpen,
	"Link":               testLink,
	"LinkErrors":         testLinkErrors,
	"Symlink":            testSymlink,
	"SymlinkLength":      testSymlinkLength,
	"Rename":             testRename,
	"RenameOverFile":     testRenameOverFile,
	"RenameOverOpenFile": testRenameOverOpenFile,
	"RenameOverDir":      testRenameOverDir,
	"RenameSameFile":     testRenameSameFile,
	"RenameErrors":       testRenameErrors,
	"RenameIntoChild":    testRenameIntoChild,
	"RenameDir":          testRenameDir,
	"RenameConcurrent":   testRenameConcurrent,
	"DeepTree":           testDeepTree,
}

func testMkdir(t testing.TB, dir string) {
	d := filepath.Join(dir, "d")
	links := stat(t, dir).Nlink
	require.NoError(t, syscall.Mkdir(d, 0o751))
	st := stat(t, d)
	assert.EqualValues(t, syscall.S_IFDIR|0o751, st.Mode)
	assert.EqualValues(t, 2, st.Nlink)
	assert.Equal(t, links+1, stat(t, dir).Nlink, "a subdirectory's .. counts")
	require.Empty(t, names(t, d))
	require.ErrorIs(t, os.Mkdir(d, 0o755), syscall.EEXIST)
	write(t, filepath.Join(dir, "f"), nil)
	require.ErrorIs(t, os.Mkdir(filepath.Join(dir, "f"), 0o755), syscall.EEXIST)
	require.ErrorIs(t, os.Mkdir(filepath.Join(dir, "f/x"), 0o755), syscall.ENOTDIR)
	require.ErrorIs(t, os.Mkdir(filepath.Join(dir, "none/x"), 0o755), syscall.ENOENT)
}

func testRmdir(t testing.TB, dir string) {
	d := filepath.Join(dir, "d")
	require.NoError(t, os.Mkdir(d, 0o755))
	write(t, filepath.Join(d, "f"), nil)
	require.ErrorIs(t, syscall.Rmdir(d), syscall.ENOTEMPTY)
	require.ErrorIs(t, syscall.Rmdir(filepath.Join(d, "f")), syscall.ENOTDIR)
	require.ErrorIs(t, syscall.Rmdir(filepath.Join(d, "none")), syscall.ENOENT)
	require.ErrorIs(t, syscall.Rmdir(d+"/."), syscall.EINVAL)
	require.ErrorIs(t, syscall.Unlink(d), syscall.EISDIR)
	require.NoError(t, os.Remove(filepath.Join(d, "f")))
	links := stat(t, dir).Nlink
	require.NoError(t, syscall.Rmdir(d))
	require.Equal(t, links-1, stat(t, dir).Nlink)
	require.ErrorIs(t, syscall.Lstat(d, &syscall.Stat_t{}), syscall.ENOENT)
}

// testRmdirBusy: a removed directory that is still open is empty and takes no names.
func testRmdirBusy(t testing.TB, dir string) {
	d := filepath.Join(dir, "d")
	require.NoError(t, os.Mkdir(d, 0o755))
	f := open(t, d, os.O_RDONLY)
	require.NoError(t, syscall.Rmdir(d))
	assert.Zero(t, fstat(t, f).Nlink)
	list, err := f.Readdirnames(-1)
	if err == nil {
		assert.Empty(t, list)
	}
	_, err = syscall.Openat(int(f.Fd()), "x", syscall.O_CREAT|syscall.O_RDWR, 0o644)
	require.ErrorIs(t, err, syscall.ENOENT)
}

func testUnlink(t testing.TB, dir string) {
	path := filepath.Join(dir, "f")
	write(t, path, nil)
	require.NoError(t, syscall.Unlink(path))
	require.ErrorIs(t, syscall.Unlink(path), syscall.ENOENT)
	require.Empty(t, names(t, dir))
	write(t, path, []byte("again"))
	holds(t, path, []byte("again"))
}

func testUnlinkOpen(t testing.TB, dir string) {
	path := filepath.Join(dir, "f")
	f := open(t, path, os.O_CREATE|os.O_RDWR)
	writeAt(t, f, fill(10000, 1), 0)
	ro := open(t, path, os.O_RDONLY)
	require.NoError(t, os.Remove(path))
	require.Empty(t, names(t, dir))
	assert.Zero(t, fstat(t, f).Nlink)
	same(t, fill(10000, 1), readAt(t, ro, 20000, 0))
	writeAt(t, f, []byte("more"), 10000)
	same(t, []byte("more"), readAt(t, ro, 100, 10000))
	write(t, path, []byte("another"))
	same(t, fill(10000, 1), readAt(t, f, 10000, 0))
	holds(t, path, []byte("another"))
}

func testLink(t testing.TB, dir string) {
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	write(t, a, []byte("content"))
	require.NoError(t, os.Link(a, b))
	sa, sb := stat(t, a), stat(t, b)
	assert.Equal(t, sa.Ino, sb.Ino)
	assert.EqualValues(t, 2, sa.Nlink)
	assert.EqualValues(t, 2, sb.Nlink)
	write(t, b, []byte("changed"))
	holds(t, a, []byte("changed"))
	require.NoError(t, os.Remove(a))
	assert.EqualValues(t, 1, stat(t, b).Nlink)
	holds(t, b, []byte("changed"))
	require.NoError(t, os.Symlink("b", filepath.Join(dir, "s")))
	require.NoError(t, os.Link(filepath.Join(dir, "s"), filepath.Join(dir, "s2")), "links a link, not its target")
	require.EqualValues(t, 2, stat(t, filepath.Join(dir, "s2")).Nlink)
	require.EqualValues(t, 1, stat(t, b).Nlink)
}

func testLinkErrors(t testing.TB, dir string) {
	a := filepath.Join(dir, "a")
	write(t, a, nil)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "d"), 0o755))
	require.ErrorIs(t, os.Link(a, a), syscall.EEXIST)
	require.ErrorIs(t, os.Link(a, filepath.Join(dir, "d")), syscall.EEXIST)
	require.ErrorIs(t, os.Link(filepath.Join(dir, "none"), filepath.Join(dir, "x")), syscall.ENOENT)
	require.ErrorIs(t, os.Link(filepath.Join(dir, "d"), filepath.Join(dir, "x")), syscall.EPERM)
	require.EqualValues(t, 1, stat(t, a).Nlink)
}

func testSymlink(t testing.TB, dir string) {
	l := filepath.Join(dir, "l")
	require.NoError(t, os.Symlink("target", l))
	got, err := os.Readlink(l)
	require.NoError(t, err)
	require.Equal(t, "target", got)
	st := stat(t, l)
	assert.EqualValues(t, syscall.S_IFLNK|0o777, st.Mode)
	assert.EqualValues(t, len("target"), st.Size)
	require.ErrorIs(t, os.Symlink("other", l), syscall.EEXIST)
	_, err = os.ReadFile(l)
	require.ErrorIs(t, err, syscall.ENOENT)
	write(t, l, []byte("through the link"))
	holds(t, filepath.Join(dir, "target"), []byte("through the link"))
	require.NoError(t, os.Symlink("loop", filepath.Join(dir, "loop")))
	_, err = os.ReadFile(filepath.Join(dir, "loop"))
	require.ErrorIs(t, err, syscall.ELOOP)
	require.ErrorIs(t, os.Symlink("", filepath.Join(dir, "empty")), syscall.ENOENT)
	_, err = os.Readlink(filepath.Join(dir, "target"))
	require.ErrorIs(t, err, syscall.EINVAL)
}

func testSymlinkLength(t testing.TB, dir string) {
	for _, n := range []int{1, 63, 64, 255, 256, 1023, 2047, 3500, 4095} {
		l, target := filepath.Join(dir, fmt.Sprint(n)), strings.Repeat("t", n)
		require.NoError(t, os.Symlink(target, l), "%d bytes", n)
		got, err := os.Readlink(l)
		require.NoError(t, err)
		require.Equal(t, target, got)
		require.EqualValues(t, n, stat(t, l).Size)
	}
	require.ErrorIs(t, os.Symlink(strings.Repeat("t", 4096), filepath.Join(dir, "x")), syscall.ENAMETOOLONG)
}

func testRename(t testing.TB, dir string) {
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	write(t, a, []byte("a"))
	ino := stat(t, a).Ino
	require.NoError(t, os.Rename(a, b))
	require.Equal(t, []string{"b"}, names(t, dir))
	require.Equal(t, ino, stat(t, b).Ino)
	d := filepath.Join(dir, "d")
	require.NoError(t, os.Mkdir(d, 0o755))
	require.NoError(t, os.Rename(b, filepath.Join(d, "c")))
	require.Equal(t, []string{"d"}, names(t, dir))
	require.Equal(t, []string{"c"}, names(t, d))
	holds(t, filepath.Join(d, "c"), []byte("a"))
}

func testRenameOverFile(t testing.TB, dir string) {
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	write(t, a, []byte("new"))
	write(t, b, []byte("old"))
	require.NoError(t, os.Link(b, filepath.Join(dir, "keep")))
	require.NoError(t, os.Rename(a, b))
	require.ElementsMatch(t, []string{"b", "keep"}, names(t, dir))
	holds(t, b, []byte("new"))
	holds(t, filepath.Join(dir, "keep"), []byte("old"))
	require.EqualValues(t, 1, stat(t, filepath.Join(dir, "keep")).Nlink)
}

func testRenameOverOpenFile(t testing.TB, dir string) {
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	write(t, a, []byte("new"))
	write(t, b, []byte("old"))
	f := open(t, b, os.O_RDWR)
	require.NoError(t, os.Rename(a, b))
	same(t, []byte("old"), readAt(t, f, 10, 0))
	assert.Zero(t, fstat(t, f).Nlink)
	holds(t, b, []byte("new"))
}

func testRenameOverDir(t testing.TB, dir string) {
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	require.NoError(t, os.Mkdir(a, 0o755))
	write(t, filepath.Join(a, "f"), nil)
	require.NoError(t, os.Mkdir(b, 0o755))
	require.NoError(t, syscall.Rename(a, b), "an empty directory is replaced") // os.Rename refuses by itself
	require.Equal(t, []string{"f"}, names(t, b))
	require.NoError(t, os.Mkdir(a, 0o755))
	require.ErrorIs(t, syscall.Rename(a, b), syscall.ENOTEMPTY)
	require.ElementsMatch(t, []string{"a", "b"}, names(t, dir))
	require.Equal(t, []string{"f"}, names(t, b))
}

func testRenameSameFile(t testing.TB, dir string) {
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	write(t, a, []byte("x"))
	require.NoError(t, os.Link(a, b))
	require.NoError(t, os.Rename(a, b), "two names of one file: nothing happens")
	require.ElementsMatch(t, []string{"a", "b"}, names(t, dir))
	require.EqualValues(t, 2, stat(t, a).Nlink)
	require.NoError(t, os.Rename(a, a))
	require.ElementsMatch(t, []string{"a", "b"}, names(t, dir))
}

func testRenameErrors(t testing.TB, dir string) {
	f, d := filepath.Join(dir, "f"), filepath.Join(dir, "d")
	write(t, f, nil)
	require.NoError(t, os.Mkdir(d, 0o755))
	require.ErrorIs(t, syscall.Rename(f, d), syscall.EISDIR)
	require.ErrorIs(t, syscall.Rename(d, f), syscall.ENOTDIR)
	require.ErrorIs(t, syscall.Rename(filepath.Join(dir, "none"), f), syscall.ENOENT)
	require.ErrorIs(t, syscall.Rename(f, filepath.Join(dir, "none/x")), syscall.ENOENT)
	require.ErrorIs(t, syscall.Rename(f, f+"/x"), syscall.ENOTDIR)
	require.ElementsMatch(t, []string{"f", "d"}, names(t, dir))
}

func testRenameIntoChild(t testing.TB, dir string) {
	deep := filepath.Join(dir, "a/b/c")
	require.NoError(t, os.MkdirAll(deep, 0o755))
	require.ErrorIs(t, syscall.Rename(filepath.Join(dir, "a"), filepath.Join(deep, "a")), syscall.EINVAL)
	require.ErrorIs(t, syscall.Rename(filepath.Join(dir, "a"), filepath.Join(dir, "a/x")), syscall.EINVAL)
	require.ErrorIs(t, syscall.Rename(deep, filepath.Join(dir, "a")), syscall.ENOTEMPTY)
}

func testRenameDir(t testing.TB, dir string) {
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	require.NoError(t, os.MkdirAll(filepath.Join(a, "sub"), 0o755))
	require.NoError(t, os.Mkdir(b, 0o755))
	write(t, filepath.Join(a, "sub/f"), []byte("deep"))
	la, lb := stat(t, a).Nlink, stat(t, b).Nlink
	require.NoError(t, syscall.Rename(filepath.Join(a, "sub"), filepath.Join(b, "moved")))
	require.Equal(t, la-1, stat(t, a).Nlink)
	require.Equal(t, lb+1, stat(t, b).Nlink)
	holds(t, filepath.Join(b, "moved/f"), []byte("deep"))
	require.Equal(t, stat(t, b).Ino, stat(t, filepath.Join(b, "moved/..")).Ino)
}

// testRenameConcurrent moves files around between two directories from many sides: none is lost or doubled.
func testRenameConcurrent(t testing.TB, dir string) {
	renameAll(t, dir)
}

func renameAll(t testing.TB, dirs ...string) {
	t.Helper()
	const files, rounds = 8, 60
	require.NoError(t, os.Mkdir(filepath.Join(dirs[0], "x"), 0o755))
	require.NoError(t, os.Mkdir(filepath.Join(dirs[0], "y"), 0o755))
	for i := range files {
		write(t, filepath.Join(dirs[0], "x", fmt.Sprint(i)), []byte{byte(i)})
	}
	var wg sync.WaitGroup
	for w := range 4 {
		dir := dirs[w%len(dirs)]
		wg.Go(func() {
			for r := range rounds {
				name := fmt.Sprint((r + w) % files)
				from, to := "x", "y"
				if (r/files+w)%2 == 0 {
					from, to = to, from
				}
				err := os.Rename(filepath.Join(dir, from, name), filepath.Join(dir, to, name))
				if err != nil {
					assert.ErrorIs(t, err, syscall.ENOENT)
				}
			}
		})
	}
	wg.Wait()
	for _, dir := range dirs {
		var want []string
		for i := range files {
			want = append(want, fmt.Sprint(i))
		}
		require.ElementsMatch(t, want, append(names(t, filepath.Join(dir, "x")), names(t, filepath.Join(dir, "y"))...))
	}
}

func testDeepTree(t testing.TB, dir string) {
	path := dir
	for i := range 40 {
		path = filepath.Join(path, fmt.Sprint("level", i))
		require.NoError(t, os.Mkdir(path, 0o755))
	}
	write(t, filepath.Join(path, "leaf"), []byte("leaf"))
	holds(t, filepath.Join(path, "leaf"), []byte("leaf"))
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "level0")))
	require.Empty(t, names(t, dir))
}
