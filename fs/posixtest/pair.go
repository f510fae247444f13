package posixtest

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var pairTests = map[string]func(t testing.TB, a, b string){
	"Create":         pairCreate,
	"Unlink":         pairUnlink,
	"UnlinkOpen":     pairUnlinkOpen,
	"Rename":         pairRename,
	"RenameDir":      pairRenameDir,
	"ReplaceName":    pairReplaceName,
	"Write":          pairWrite,
	"WriteCached":    pairWriteCached,
	"WriteDirect":    pairWriteDirect,
	"Truncate":       pairTruncate,
	"TruncateTail":   pairTruncateTail,
	"Grow":           pairGrow,
	"Attributes":     pairAttributes,
	"Links":          pairLinks,
	"DirLinks":       pairDirLinks,
	"Readdir":        pairReaddir,
	"ReaddirGoesOn":  pairReaddirGoesOn,
	"Mmap":           pairMmap,
	"Append":         func(t testing.TB, a, b string) { appendAll(t, a+"/f", b+"/f") },
	"RenameAtOnce":   func(t testing.TB, a, b string) { renameAll(t, a, b) },
	"Chase":          pairChase,
	"CreateAtOnce":   pairCreateAtOnce,
	"WorkingDir":     pairWorkingDir,
	"InodeNumbers":   pairInodeNumbers,
	"PingPong":       pairPingPong,
	"SymlinkReplace": pairSymlinkReplace,
}

// gone checks that a name is not there, by all the ways of asking.
func gone(t testing.TB, path string) {
	t.Helper()
	require.ErrorIs(t, syscall.Lstat(path, &syscall.Stat_t{}), syscall.ENOENT)
	_, err := os.Open(path)
	require.ErrorIs(t, err, syscall.ENOENT)
	require.NotContains(t, names(t, filepath.Dir(path)), filepath.Base(path))
}

func pairCreate(t testing.TB, a, b string) {
	for i := range 20 {
		name := fmt.Sprint(i)
		gone(t, filepath.Join(b, name)) // nothing may be remembered of that
		write(t, filepath.Join(a, name), []byte(name))
		holds(t, filepath.Join(b, name), []byte(name))
		require.Contains(t, names(t, b), name)
		a, b = b, a
	}
}

func pairUnlink(t testing.TB, a, b string) {
	for range 10 {
		write(t, filepath.Join(a, "f"), []byte("x"))
		holds(t, filepath.Join(b, "f"), []byte("x"))
		require.NoError(t, os.Remove(filepath.Join(a, "f")))
		gone(t, filepath.Join(b, "f"))
		require.NoError(t, os.Mkdir(filepath.Join(b, "f"), 0o755))
		stat(t, filepath.Join(a, "f"))
		require.NoError(t, os.Remove(filepath.Join(b, "f")))
		gone(t, filepath.Join(a, "f"))
		a, b = b, a
	}
}

// pairUnlinkOpen: a file that the other side removes stays whole for whom has it open.
func pairUnlinkOpen(t testing.TB, a, b string) {
	write(t, filepath.Join(a, "f"), fill(50000, 1))
	f := open(t, filepath.Join(b, "f"), os.O_RDWR)
	require.NoError(t, os.Remove(filepath.Join(a, "f")))
	assert.Zero(t, fstat(t, f).Nlink)
	same(t, fill(50000, 1), readAt(t, f, 60000, 0))
	writeAt(t, f, []byte("tail"), 50000)
	same(t, []byte("tail"), readAt(t, f, 10, 50000))
	write(t, filepath.Join(a, "f"), []byte("another"))
	holds(t, filepath.Join(b, "f"), []byte("another"))
	same(t, fill(50000, 1), readAt(t, f, 50000, 0))
}

func pairRename(t testing.TB, a, b string) {
	require.NoError(t, os.Mkdir(filepath.Join(a, "d"), 0o755))
	write(t, filepath.Join(a, "1"), []byte("x"))
	for range 5 {
		holds(t, filepath.Join(b, "1"), []byte("x"))
		require.NoError(t, os.Rename(filepath.Join(a, "1"), filepath.Join(a, "2")))
		gone(t, filepath.Join(b, "1"))
		holds(t, filepath.Join(b, "2"), []byte("x"))
		require.NoError(t, os.Rename(filepath.Join(b, "2"), filepath.Join(b, "d/3")))
		gone(t, filepath.Join(a, "2"))
		require.NoError(t, os.Rename(filepath.Join(a, "d/3"), filepath.Join(a, "1")))
		gone(t, filepath.Join(b, "d/3"))
		a, b = b, a
	}
}

func pairRenameDir(t testing.TB, a, b string) {
	require.NoError(t, os.MkdirAll(filepath.Join(a, "x/sub"), 0o755))
	require.NoError(t, os.Mkdir(filepath.Join(a, "y"), 0o755))
	write(t, filepath.Join(a, "x/sub/f"), []byte("deep"))
	f := open(t, filepath.Join(b, "x/sub/f"), os.O_RDONLY)
	require.NoError(t, os.Rename(filepath.Join(a, "x/sub"), filepath.Join(a, "y/moved")))
	holds(t, filepath.Join(b, "y/moved/f"), []byte("deep"))
	gone(t, filepath.Join(b, "x/sub"))
	require.Equal(t, stat(t, filepath.Join(b, "y")).Ino, stat(t, filepath.Join(b, "y/moved/..")).Ino)
	same(t, []byte("deep"), readAt(t, f, 10, 0))
	require.Error(t, os.Rename(filepath.Join(b, "y"), filepath.Join(b, "y/moved/y")))
}

// pairReplaceName: a name that comes to mean another file does so at once, also for whom knew the old one.
func pairReplaceName(t testing.TB, a, b string) {
	for i := range 20 {
		tmp, name := filepath.Join(a, "tmp"), filepath.Join(a, "config")
		write(t, tmp, fmt.Append(nil, "version ", i))
		require.NoError(t, os.Rename(tmp, name))
		holds(t, filepath.Join(b, "config"), fmt.Append(nil, "version ", i))
		require.Equal(t, stat(t, name).Ino, stat(t, filepath.Join(b, "config")).Ino)
		a, b = b, a
	}
}

func pairWrite(t testing.TB, a, b string) {
	for i, n := range []int{1, 4096, 100, 300000, 0, 70000} {
		write(t, filepath.Join(a, "f"), fill(n, byte(i)))
		require.EqualValues(t, n, stat(t, filepath.Join(b, "f")).Size)
		holds(t, filepath.Join(b, "f"), fill(n, byte(i)))
		a, b = b, a
	}
}

// pairWriteCached: pages read before the other side wrote are not shown afterwards, through descriptors old and new.
func pairWriteCached(t testing.TB, a, b string) {
	const size = 64 * pageSize
	write(t, filepath.Join(a, "f"), fill(size, 0))
	wa, wb := open(t, filepath.Join(a, "f"), os.O_RDWR), open(t, filepath.Join(b, "f"), os.O_RDWR)
	ra, rb := open(t, filepath.Join(a, "f"), os.O_RDONLY), open(t, filepath.Join(b, "f"), os.O_RDONLY)
	want := fill(size, 0)
	for i := range 20 {
		for _, f := range []*os.File{ra, rb, wa, wb} {
			same(t, want, readAt(t, f, size, 0))
		}
		holds(t, filepath.Join(b, "f"), want)
		off := i * 3 % 64 * pageSize
		b := fill(1000, byte(i+50))
		copy(want[off+500:], b)
		if i%2 == 0 {
			writeAt(t, wa, b, int64(off+500))
		} else {
			writeAt(t, wb, b, int64(off+500))
		}
	}
}

func pairWriteDirect(t testing.TB, a, b string) {
	write(t, filepath.Join(a, "f"), make([]byte, 16*pageSize))
	da := open(t, filepath.Join(a, "f"), os.O_RDWR|syscall.O_DIRECT)
	db := open(t, filepath.Join(b, "f"), os.O_RDWR|syscall.O_DIRECT)
	ca := open(t, filepath.Join(a, "f"), os.O_RDONLY)
	buf := aligned(t, pageSize)
	for i := range 32 {
		off := int64(i%16) * pageSize
		readAt(t, ca, 16*pageSize, 0)
		copy(buf, fill(pageSize, byte(i)))
		writeAt(t, db, buf, off)
		clear(buf)
		_, err := da.ReadAt(buf, off)
		require.NoError(t, err)
		same(t, fill(pageSize, byte(i)), buf)
		same(t, fill(pageSize, byte(i)), readAt(t, ca, pageSize, off))
	}
}

func pairTruncate(t testing.TB, a, b string) {
	write(t, filepath.Join(a, "f"), fill(100000, 1))
	rb := open(t, filepath.Join(b, "f"), os.O_RDONLY)
	for _, n := range []int{99999, 4096, 1, 0} {
		same(t, fill(100000, 1)[:len(readAt(t, rb, 200000, 0))], readAt(t, rb, 200000, 0))
		require.NoError(t, os.Truncate(filepath.Join(a, "f"), int64(n)))
		require.EqualValues(t, n, stat(t, filepath.Join(b, "f")).Size)
		require.EqualValues(t, n, fstat(t, rb).Size)
		same(t, fill(100000, 1)[:n], readAt(t, rb, 200000, 0))
		end, err := rb.Seek(0, io.SeekEnd)
		require.NoError(t, err)
		require.EqualValues(t, n, end)
	}
}

// pairTruncateTail: what one side cut off does not come back when the other grows the file.
func pairTruncateTail(t testing.TB, a, b string) {
	write(t, filepath.Join(a, "f"), fill(20000, 1))
	holds(t, filepath.Join(b, "f"), fill(20000, 1))
	require.NoError(t, os.Truncate(filepath.Join(a, "f"), 5000))
	require.NoError(t, os.Truncate(filepath.Join(b, "f"), 20000))
	want := append(fill(5000, 1), make([]byte, 15000)...)
	holds(t, filepath.Join(a, "f"), want)
	holds(t, filepath.Join(b, "f"), want)
}

// pairGrow: a reader at the end of a growing file (tail -f) gets what is added.
func pairGrow(t testing.TB, a, b string) {
	w := open(t, filepath.Join(a, "f"), os.O_CREATE|os.O_RDWR)
	r := open(t, filepath.Join(b, "f"), os.O_RDONLY)
	d := open(t, filepath.Join(b, "f"), os.O_RDWR)
	size := 0
	for i := range 30 {
		assert.Empty(t, readAt(t, r, 10, int64(size)))
		add := fill(1+i*331, byte(i))
		writeAt(t, w, add, int64(size))
		same(t, add, readAt(t, r, 100000, int64(size)))
		same(t, add, readAt(t, d, 100000, int64(size)))
		size += len(add)
		require.EqualValues(t, size, fstat(t, r).Size)
	}
}

func pairAttributes(t testing.TB, a, b string) {
	fa, fb := filepath.Join(a, "f"), filepath.Join(b, "f")
	write(t, fa, nil)
	f := open(t, fb, os.O_RDONLY)
	for i := range 20 {
		mode := uint32(0o600 + i)
		require.NoError(t, syscall.Chmod(fa, mode))
		require.EqualValues(t, syscall.S_IFREG|mode, stat(t, fb).Mode)
		require.EqualValues(t, syscall.S_IFREG|mode, fstat(t, f).Mode)
		ts := syscall.Timespec{Sec: int64(1000 + i), Nsec: int64(i)}
		require.NoError(t, syscall.UtimesNano(fb, []syscall.Timespec{ts, ts}))
		require.Equal(t, ts, stat(t, fa).Mtim)
		if os.Geteuid() == 0 {
			require.NoError(t, os.Chown(fa, i, i+1))
			require.EqualValues(t, i, stat(t, fb).Uid)
			require.EqualValues(t, i+1, fstat(t, f).Gid)
		}
	}
}

func pairLinks(t testing.TB, a, b string) {
	write(t, filepath.Join(a, "f"), nil)
	for i := range 10 {
		require.EqualValues(t, 1+i, stat(t, filepath.Join(b, "f")).Nlink)
		require.NoError(t, os.Link(filepath.Join(a, "f"), filepath.Join(a, fmt.Sprint("l", i))))
	}
	for i := range 10 {
		require.EqualValues(t, 11-i, stat(t, filepath.Join(a, "f")).Nlink)
		require.NoError(t, os.Remove(filepath.Join(b, fmt.Sprint("l", i))))
	}
	require.EqualValues(t, 1, stat(t, filepath.Join(a, "f")).Nlink)
}

func pairDirLinks(t testing.TB, a, b string) {
	base := stat(t, b).Nlink
	for i := range 5 {
		require.NoError(t, os.Mkdir(filepath.Join(a, fmt.Sprint(i)), 0o755))
		require.Equal(t, int(base)+i+1, int(stat(t, b).Nlink))
	}
	back(t, a)
	require.Equal(t, int64(1000), stat(t, b).Mtim.Sec)
	require.NoError(t, os.Remove(filepath.Join(b, "0")))
	require.Greater(t, stat(t, a).Mtim.Sec, int64(1000))
	require.Equal(t, int(base)+4, int(stat(t, a).Nlink))
}

func pairReaddir(t testing.TB, a, b string) {
	want := many(t, a, 200)
	require.ElementsMatch(t, want, names(t, b))
	for i, n := range want {
		if i%2 == 0 {
			require.NoError(t, os.Remove(filepath.Join(b, n)))
		}
	}
	require.Len(t, names(t, a), 100)
	require.Equal(t, names(t, a), names(t, b))
}

// pairReaddirGoesOn: positions in a directory hold while the other side removes entries, and on both sides.
func pairReaddirGoesOn(t testing.TB, a, b string) {
	many(t, a, 300)
	da, db := open(t, a, os.O_RDONLY), open(t, b, os.O_RDONLY)
	all := list(t, da, 4096)
	require.Equal(t, nameOf(all), nameOf(list(t, db, 1000)))
	for _, e := range all[50:150] {
		require.NoError(t, os.Remove(filepath.Join(a, e.name)))
	}
	seekdir(t, db, all[100].next)
	require.Equal(t, nameOf(all[150:]), nameOf(list(t, db, 1000)))
}

func pairMmap(t testing.TB, a, b string) {
	write(t, filepath.Join(a, "f"), fill(8*pageSize, 1))
	mmapFollows(t, filepath.Join(a, "f"), filepath.Join(b, "f"))
	mmapFollows(t, filepath.Join(b, "f"), filepath.Join(a, "f"))
}

func pairChase(t testing.TB, a, b string) {
	write(t, filepath.Join(a, "f"), make([]byte, 4*pageSize))
	chase(t, filepath.Join(a, "f"), filepath.Join(b, "f"))
}

// pairCreateAtOnce: of two sides that make the same name exactly one succeeds.
func pairCreateAtOnce(t testing.TB, a, b string) {
	const files = 100
	errs := [2]chan error{make(chan error, files), make(chan error, files)}
	for side, dir := range []string{a, b} {
		go func() {
			for i := range files {
				f, err := os.OpenFile(filepath.Join(dir, fmt.Sprint(i)), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o644)
				if err == nil {
					f.Close()
				}
				errs[side] <- err
			}
		}()
	}
	for i := range files {
		ea, eb := <-errs[0], <-errs[1]
		require.True(t, (ea == nil) != (eb == nil), "file %d: %v, %v", i, ea, eb)
	}
	require.Len(t, names(t, a), files)
}

// pairWorkingDir: a directory that one holds open keeps working when the other side moves it.
func pairWorkingDir(t testing.TB, a, b string) {
	require.NoError(t, os.Mkdir(filepath.Join(a, "d"), 0o755))
	d := open(t, filepath.Join(b, "d"), os.O_RDONLY)
	require.NoError(t, os.Rename(filepath.Join(a, "d"), filepath.Join(a, "e")))
	fd, err := syscall.Openat(int(d.Fd()), "f", syscall.O_CREAT|syscall.O_RDWR, 0o644)
	require.NoError(t, err)
	require.NoError(t, syscall.Close(fd))
	require.Equal(t, []string{"f"}, names(t, filepath.Join(a, "e")))
}

func pairInodeNumbers(t testing.TB, a, b string) {
	require.Equal(t, stat(t, a).Ino, stat(t, b).Ino)
	for i := range 10 {
		name := fmt.Sprint(i)
		write(t, filepath.Join(a, name), nil)
		require.Equal(t, stat(t, filepath.Join(a, name)).Ino, stat(t, filepath.Join(b, name)).Ino)
	}
}

// pairPingPong: a number in a file is raised by turns.
func pairPingPong(t testing.TB, a, b string) {
	write(t, filepath.Join(a, "f"), []byte("00000000"))
	fs := []*os.File{open(t, filepath.Join(a, "f"), os.O_RDWR), open(t, filepath.Join(b, "f"), os.O_RDWR)}
	for i := range 100 {
		f := fs[i%2]
		require.Equal(t, fmt.Sprintf("%08d", i), string(readAt(t, f, 8, 0)))
		writeAt(t, f, fmt.Appendf(nil, "%08d", i+1), 0)
	}
}

func pairSymlinkReplace(t testing.TB, a, b string) {
	for i := range 10 {
		target := fmt.Sprint("target", i)
		require.NoError(t, os.Symlink(target, filepath.Join(a, "new")))
		require.NoError(t, os.Rename(filepath.Join(a, "new"), filepath.Join(a, "l")))
		got, err := os.Readlink(filepath.Join(b, "l"))
		require.NoError(t, err)
		require.Equal(t, target, got)
		a, b = b, a
	}
}
