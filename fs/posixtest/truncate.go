package posixtest

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func testTruncateDown(t testing.TB, dir string) {
	path := filepath.Join(dir, "f")
	b := fill(300000, 9)
	write(t, path, b)
	for _, n := range []int{299999, 65537, 65536, 4097, 4096, 100, 0} {
		require.NoError(t, os.Truncate(path, int64(n)))
		require.EqualValues(t, n, stat(t, path).Size)
		holds(t, path, b[:n])
	}
	require.Zero(t, stat(t, path).Blocks)
}

func testTruncateUp(t testing.TB, dir string) {
	path := filepath.Join(dir, "f")
	b := fill(5000, 9)
	write(t, path, b)
	for _, n := range []int{5001, 8192, 8193, 200000} {
		require.NoError(t, os.Truncate(path, int64(n)))
		holds(t, path, append(b[:5000:5000], make([]byte, n-5000)...))
	}
}

// testTruncateZeroTail: what was cut off never comes back, whoever grows the file again and however it is read.
func testTruncateZeroTail(t testing.TB, dir string) {
	path := filepath.Join(dir, "f")
	for _, cut := range []int64{1, 100, 4095, 4096, 4097, 70000} {
		write(t, path, fill(100000, 0x55))
		ro := open(t, path, os.O_RDONLY)
		readAt(t, ro, 100000, 0) // into the page cache
		rw := open(t, path, os.O_RDWR)
		require.NoError(t, rw.Truncate(cut))
		if cut%2 == 0 {
			require.NoError(t, rw.Truncate(100000))
		} else {
			writeAt(t, rw, []byte{0}, 99999)
		}
		want := append(fill(int(cut), 0x55), make([]byte, 100000-cut)...)
		same(t, want, readAt(t, ro, 200000, 0))
		same(t, want, readAt(t, rw, 200000, 0))
		holds(t, path, want)
	}
}

// testTruncateUnlinked: ftruncate works through a descriptor whose name is gone.
func testTruncateUnlinked(t testing.TB, dir string) {
	path := filepath.Join(dir, "f")
	write(t, path, fill(10000, 1))
	f := open(t, path, os.O_RDWR)
	require.NoError(t, os.Remove(path))
	require.NoError(t, f.Truncate(5000))
	require.EqualValues(t, 5000, fstat(t, f).Size)
	same(t, fill(5000, 1), readAt(t, f, 10000, 0))
	require.NoError(t, f.Chmod(0o600))
	require.EqualValues(t, syscall.S_IFREG|0o600, fstat(t, f).Mode)
	require.EqualValues(t, 0, fstat(t, f).Nlink)
}

func testTruncateErrors(t testing.TB, dir string) {
	require.ErrorIs(t, os.Truncate(dir, 0), syscall.EISDIR)
	require.ErrorIs(t, os.Truncate(filepath.Join(dir, "none"), 0), syscall.ENOENT)
	write(t, filepath.Join(dir, "f"), nil)
	require.ErrorIs(t, os.Truncate(filepath.Join(dir, "f"), -1), syscall.EINVAL)
}
