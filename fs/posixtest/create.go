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

var createTests = tests{
	"Create":             testCreate,
	"CreateExclusive":    testCreateExclusive,
	"CreateTruncate":     testCreateTruncate,
	"CreateReadOnlyMode": testCreateReadOnlyMode,
	"CreateUmask":        testCreateUmask,
	"CreateConcurrent":   testCreateConcurrent,
	"OpenErrors":         testOpenErrors,
	"OpenAccessMode":     testOpenAccessMode,
	"NameLength":         testNameLength,
	"NameBytes":          testNameBytes,
	"Mknod":              testMknod,
	"MknodDevice":        testMknodDevice,
	"CreateSetgidDir":    testCreateSetgidDir,
}

func testCreate(t testing.TB, dir string) {
	path := filepath.Join(dir, "f")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o640)
	require.NoError(t, err)
	defer f.Close()
	st := stat(t, path)
	assert.EqualValues(t, syscall.S_IFREG|0o640, st.Mode)
	assert.EqualValues(t, 1, st.Nlink)
	assert.Zero(t, st.Size)
	assert.EqualValues(t, os.Getuid(), st.Uid)
	assert.Equal(t, st.Ino, fstat(t, f).Ino)
	require.Equal(t, []string{"f"}, names(t, dir))
}

func testCreateExclusive(t testing.TB, dir string) {
	path := filepath.Join(dir, "f")
	write(t, path, []byte("here"))
	_, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o644)
	require.ErrorIs(t, err, syscall.EEXIST)
	require.NoError(t, os.Symlink("nowhere", filepath.Join(dir, "l")))
	_, err = os.OpenFile(filepath.Join(dir, "l"), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o644)
	require.ErrorIs(t, err, syscall.EEXIST, "O_EXCL does not follow links")
	holds(t, path, []byte("here"))
	f := open(t, path, os.O_CREATE|os.O_RDWR)
	same(t, []byte("here"), readAt(t, f, 10, 0))
}

func testCreateTruncate(t testing.TB, dir string) {
	path := filepath.Join(dir, "f")
	write(t, path, fill(3*pageSize+5, 1))
	f := open(t, path, os.O_CREATE|os.O_TRUNC|os.O_RDWR)
	assert.Zero(t, fstat(t, f).Size)
	assert.Empty(t, readAt(t, f, 10, 0))
	writeAt(t, f, []byte("x"), 2*pageSize)
	holds(t, path, append(make([]byte, 2*pageSize), 'x'))
}

// testCreateReadOnlyMode: the mode of a new file does not bind the descriptor that made it.
func testCreateReadOnlyMode(t testing.TB, dir string) {
	path := filepath.Join(dir, "f")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o400)
	require.NoError(t, err)
	defer f.Close()
	writeAt(t, f, []byte("hello"), 0)
	holds(t, path, []byte("hello"))
	assert.EqualValues(t, syscall.S_IFREG|0o400, stat(t, path).Mode)
}

func testCreateUmask(t testing.TB, dir string) {
	old := syscall.Umask(0o027)
	defer syscall.Umask(old)
	f, err := os.OpenFile(filepath.Join(dir, "f"), os.O_CREATE|os.O_RDWR, 0o666)
	require.NoError(t, err)
	f.Close()
	require.NoError(t, syscall.Mkdir(filepath.Join(dir, "d"), 0o777))
	assert.EqualValues(t, syscall.S_IFREG|0o640, stat(t, filepath.Join(dir, "f")).Mode)
	assert.EqualValues(t, syscall.S_IFDIR|0o750, stat(t, filepath.Join(dir, "d")).Mode)
}

// testCreateConcurrent: many at once in one directory, and for each name exactly one winner of O_EXCL.
func testCreateConcurrent(t testing.TB, dir string) {
	const workers, files = 8, 50
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := map[string]int{}
	for w := range workers {
		wg.Go(func() {
			for i := range files {
				own := filepath.Join(dir, fmt.Sprintf("own-%d-%d", w, i))
				assert.NoError(t, os.WriteFile(own, []byte(own), 0o644))
				name := fmt.Sprintf("shared-%d", i)
				f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
				if err != nil {
					assert.ErrorIs(t, err, syscall.EEXIST)
					continue
				}
				f.Close()
				mu.Lock()
				won[name]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	require.Len(t, won, files)
	for name, n := range won {
		assert.Equal(t, 1, n, name)
	}
	seen := map[string]bool{}
	for _, n := range names(t, dir) {
		require.False(t, seen[n], "%s listed twice", n)
		seen[n] = true
	}
	require.Len(t, seen, (workers+1)*files)
	for w := range workers {
		own := filepath.Join(dir, fmt.Sprintf("own-%d-%d", w, files-1))
		holds(t, own, []byte(own))
	}
}

func testOpenErrors(t testing.TB, dir string) {
	file := filepath.Join(dir, "f")
	write(t, file, nil)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "d"), 0o755))
	for _, c := range []struct {
		path  string
		flags int
		want  error
	}{
		{"none", os.O_RDONLY, syscall.ENOENT},
		{"none/f", os.O_RDONLY | os.O_CREATE, syscall.ENOENT},
		{"f/x", os.O_RDONLY, syscall.ENOTDIR},
		{"f/x", os.O_RDWR | os.O_CREATE, syscall.ENOTDIR},
		{"f", syscall.O_DIRECTORY, syscall.ENOTDIR},
		{"d", os.O_RDWR, syscall.EISDIR},
		{"d", os.O_WRONLY | os.O_TRUNC, syscall.EISDIR},
		{"d", os.O_RDWR | os.O_CREATE, syscall.EISDIR},
	} {
		fd, err := syscall.Open(filepath.Join(dir, c.path), c.flags, 0o644)
		if !assert.ErrorIs(t, err, c.want, "open %s flags %#x", c.path, c.flags) && err == nil {
			syscall.Close(fd)
		}
	}
}

func testOpenAccessMode(t testing.TB, dir string) {
	path := filepath.Join(dir, "f")
	write(t, path, []byte("content"))
	r := open(t, path, os.O_RDONLY)
	_, err := r.Write([]byte("x"))
	require.ErrorIs(t, err, syscall.EBADF)
	require.Error(t, r.Truncate(0))
	w := open(t, path, os.O_WRONLY)
	_, err = w.Read(make([]byte, 1))
	require.ErrorIs(t, err, syscall.EBADF)
	writeAt(t, w, []byte("C"), 0)
	holds(t, path, []byte("Content"))
}

func testNameLength(t testing.TB, dir string) {
	longest, tooLong := strings.Repeat("n", 255), strings.Repeat("n", 256)
	write(t, filepath.Join(dir, longest), []byte("long"))
	holds(t, filepath.Join(dir, longest), []byte("long"))
	require.Equal(t, []string{longest}, names(t, dir))
	other := strings.Repeat("ü", 127) + "x" // 255 bytes
	require.NoError(t, os.Rename(filepath.Join(dir, longest), filepath.Join(dir, other)))
	require.Equal(t, []string{other}, names(t, dir))

	bad, good := filepath.Join(dir, tooLong), filepath.Join(dir, other)
	for what, err := range map[string]error{
		"create":  os.WriteFile(bad, nil, 0o644),
		"mkdir":   os.Mkdir(bad, 0o755),
		"symlink": os.Symlink("x", bad),
		"link":    os.Link(good, bad),
		"rename":  os.Rename(good, bad),
		"stat":    syscall.Lstat(bad, &syscall.Stat_t{}),
		"unlink":  syscall.Unlink(bad),
		"rmdir":   syscall.Rmdir(bad),
		"mknod":   syscall.Mknod(bad, syscall.S_IFIFO|0o644, 0),
	} {
		assert.ErrorIs(t, err, syscall.ENAMETOOLONG, what)
	}
	require.Equal(t, []string{other}, names(t, dir))
}

// testNameBytes: names are bytes, not text.
func testNameBytes(t testing.TB, dir string) {
	want := []string{"\x01\x02", " ", "*?", "A", "a", "back\\slash", "new\nline", "\xff\xfe", "…"}
	for _, n := range want {
		write(t, filepath.Join(dir, n), []byte(n))
	}
	require.ElementsMatch(t, want, names(t, dir))
	for _, n := range want {
		holds(t, filepath.Join(dir, n), []byte(n))
		require.NoError(t, os.Remove(filepath.Join(dir, n)))
	}
	require.Empty(t, names(t, dir))
}

func testMknod(t testing.TB, dir string) {
	for _, c := range []struct {
		name string
		mode uint32
	}{{"fifo", syscall.S_IFIFO}, {"sock", syscall.S_IFSOCK}, {"reg", syscall.S_IFREG}} {
		path := filepath.Join(dir, c.name)
		require.NoError(t, syscall.Mknod(path, c.mode|0o600, 0), c.name)
		require.EqualValues(t, c.mode|0o600, stat(t, path).Mode, c.name)
		require.ErrorIs(t, syscall.Mknod(path, c.mode|0o600, 0), syscall.EEXIST, c.name)
	}
	// What goes through a fifo never reaches the filesystem.
	fd, err := syscall.Open(filepath.Join(dir, "fifo"), syscall.O_RDWR|syscall.O_NONBLOCK, 0)
	require.NoError(t, err)
	defer syscall.Close(fd)
	_, err = syscall.Write(fd, []byte("through"))
	require.NoError(t, err)
	b := make([]byte, 16)
	n, err := syscall.Read(fd, b)
	require.NoError(t, err)
	require.Equal(t, "through", string(b[:n]))
	for _, name := range []string{"fifo", "sock", "reg"} {
		require.NoError(t, os.Remove(filepath.Join(dir, name)))
	}
}

func testMknodDevice(t testing.TB, dir string) {
	needRoot(t)
	const dev = 5<<8 | 300&0xff | (300&^0xff)<<12 // 5:300, as makedev(3) has it
	for _, c := range []struct {
		name string
		mode uint32
	}{{"char", syscall.S_IFCHR}, {"block", syscall.S_IFBLK}} {
		path := filepath.Join(dir, c.name)
		require.NoError(t, syscall.Mknod(path, c.mode|0o640, dev))
		st := stat(t, path)
		assert.EqualValues(t, c.mode|0o640, st.Mode)
		assert.EqualValues(t, dev, st.Rdev)
	}
}

func testCreateSetgidDir(t testing.TB, dir string) {
	needRoot(t)
	d := filepath.Join(dir, "d")
	require.NoError(t, os.Mkdir(d, 0o755))
	require.NoError(t, os.Chown(d, 0, 4242))
	require.NoError(t, syscall.Chmod(d, 0o2755))
	write(t, filepath.Join(d, "f"), nil)
	require.NoError(t, os.Mkdir(filepath.Join(d, "sub"), 0o755))
	assert.EqualValues(t, 4242, stat(t, filepath.Join(d, "f")).Gid)
	sub := stat(t, filepath.Join(d, "sub"))
	assert.EqualValues(t, 4242, sub.Gid)
	assert.EqualValues(t, syscall.S_IFDIR|0o2755, sub.Mode)
}
