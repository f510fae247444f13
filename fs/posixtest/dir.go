package posixtest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var dirTests = tests{
	"Readdir":           testReaddir,
	"ReaddirTypes":      testReaddirTypes,
	"ReaddirSmall":      testReaddirSmall,
	"ReaddirSeek":       testReaddirSeek,
	"ReaddirRemoving":   testReaddirRemoving,
	"ReaddirSeekRemove": testReaddirSeekRemove,
	"ReaddirRewind":     testReaddirRewind,
}

// entry is one name as getdents64(2) tells it.
type entry struct {
	ino  uint64
	next int64 // where reading goes on behind it: telldir
	kind uint8
	name string
}

// getdents reads entries at the position of f; none at the end.
func getdents(t testing.TB, f *os.File, size int) []entry {
	t.Helper()
	b := make([]byte, size)
	n, err := syscall.ReadDirent(int(f.Fd()), b)
	require.NoError(t, err)
	var out []entry
	for b = b[:n]; len(b) > 0; {
		l := binary.NativeEndian.Uint16(b[16:])
		name := b[19:l]
		out = append(out, entry{
			ino: binary.NativeEndian.Uint64(b), next: int64(binary.NativeEndian.Uint64(b[8:])),
			kind: b[18], name: string(name[:bytes.IndexByte(name, 0)]),
		})
		b = b[l:]
	}
	return out
}

// list reads on to the end.
func list(t testing.TB, f *os.File, size int) []entry {
	t.Helper()
	var all []entry
	for {
		e := getdents(t, f, size)
		if len(e) == 0 {
			return all
		}
		all = append(all, e...)
	}
}

func seekdir(t testing.TB, f *os.File, pos int64) {
	t.Helper()
	got, err := syscall.Seek(int(f.Fd()), pos, 0)
	require.NoError(t, err)
	require.Equal(t, pos, got)
}

func many(t testing.TB, dir string, n int) []string {
	t.Helper()
	var all []string
	for i := range n {
		name := fmt.Sprintf("entry-%04d-%s", i, string(bytes.Repeat([]byte{'x'}, i%60)))
		write(t, filepath.Join(dir, name), nil)
		all = append(all, name)
	}
	return all
}

func withDots(names []string) []string { return append([]string{".", ".."}, names...) }

func nameOf(entries []entry) []string {
	var out []string
	for _, e := range entries {
		out = append(out, e.name)
	}
	return out
}

func testReaddir(t testing.TB, dir string) {
	want := many(t, dir, 1500)
	require.ElementsMatch(t, withDots(want), nameOf(list(t, open(t, dir, os.O_RDONLY), 32<<10)))
	require.ElementsMatch(t, want, names(t, dir))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "empty"), 0o755))
	require.ElementsMatch(t, withDots(nil), nameOf(list(t, open(t, filepath.Join(dir, "empty"), os.O_RDONLY), 4096)))
}

func testReaddirTypes(t testing.TB, dir string) {
	write(t, filepath.Join(dir, "f"), nil)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "d"), 0o755))
	require.NoError(t, os.Symlink("f", filepath.Join(dir, "l")))
	require.NoError(t, syscall.Mknod(filepath.Join(dir, "p"), syscall.S_IFIFO|0o644, 0))
	want := map[string]uint8{"f": syscall.DT_REG, "d": syscall.DT_DIR, "l": syscall.DT_LNK, "p": syscall.DT_FIFO,
		".": syscall.DT_DIR, "..": syscall.DT_DIR}
	for _, e := range list(t, open(t, dir, os.O_RDONLY), 4096) {
		assert.Equal(t, want[e.name], e.kind, e.name)
		if e.name != ".." {
			assert.Equal(t, stat(t, filepath.Join(dir, e.name)).Ino, e.ino, e.name)
		}
	}
}

// testReaddirSmall: however small the buffer, each name comes once.
func testReaddirSmall(t testing.TB, dir string) {
	want := withDots(many(t, dir, 200))
	for _, size := range []int{120, 300, 1000, 4096} {
		require.ElementsMatch(t, want, nameOf(list(t, open(t, dir, os.O_RDONLY), size)), "buffer of %d", size)
	}
	_, err := syscall.ReadDirent(int(open(t, dir, os.O_RDONLY).Fd()), make([]byte, 8))
	require.ErrorIs(t, err, syscall.EINVAL)
}

// testReaddirSeek: telldir behind any entry and seekdir there gives exactly the rest.
func testReaddirSeek(t testing.TB, dir string) {
	many(t, dir, 300)
	f := open(t, dir, os.O_RDONLY)
	all := list(t, f, 4096)
	for i := len(all) - 1; i >= 0; i -= 23 {
		seekdir(t, f, all[i].next)
		require.Equal(t, nameOf(all[i+1:]), nameOf(list(t, f, 1000)), "behind entry %d", i)
	}
}

// testReaddirRemoving is rm -r: everything listed is removed while listing goes on, and nothing is passed over.
func testReaddirRemoving(t testing.TB, dir string) {
	want := many(t, dir, 700)
	f := open(t, dir, os.O_RDONLY)
	var got []string
	for {
		batch := getdents(t, f, 1000)
		if len(batch) == 0 {
			break
		}
		for _, e := range batch {
			if e.name == "." || e.name == ".." {
				continue
			}
			got = append(got, e.name)
			require.NoError(t, os.Remove(filepath.Join(dir, e.name)))
		}
	}
	require.ElementsMatch(t, want, got)
	require.Empty(t, names(t, dir))
}

// testReaddirSeekRemove: positions outlive the entries they were taken from, and entries before them.
func testReaddirSeekRemove(t testing.TB, dir string) {
	many(t, dir, 400)
	f := open(t, dir, os.O_RDONLY)
	all := list(t, f, 4096)
	const at = 200
	removed := map[string]bool{}
	for i, e := range all {
		if e.name != "." && e.name != ".." && (i <= at && i > at-50 || i > at && i%3 == 0) {
			require.NoError(t, os.Remove(filepath.Join(dir, e.name)))
			removed[e.name] = true
		}
	}
	var rest []string
	for _, e := range all[at+1:] {
		if !removed[e.name] {
			rest = append(rest, e.name)
		}
	}
	g := open(t, dir, os.O_RDONLY)
	for _, d := range []*os.File{f, g} {
		seekdir(t, d, all[at].next)
		require.ElementsMatch(t, rest, nameOf(list(t, d, 1000)))
	}
}

func testReaddirRewind(t testing.TB, dir string) {
	f := open(t, dir, os.O_RDONLY)
	require.Len(t, list(t, f, 4096), 2)
	write(t, filepath.Join(dir, "new"), nil)
	seekdir(t, f, 0)
	require.ElementsMatch(t, []string{".", "..", "new"}, nameOf(list(t, f, 4096)))
	require.NoError(t, os.Remove(filepath.Join(dir, "new")))
	seekdir(t, f, 0)
	require.Len(t, list(t, f, 4096), 2)
}
