package posixtest

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

var mappingTests = tests{
	"MmapRead":         testMmapRead,
	"MmapSeesWrites":   testMmapSeesWrites,
	"MmapPrivateWrite": testMmapPrivateWrite,
	"WriteFromMmap":    testWriteFromMmap,
}

func mapFile(t testing.TB, f *os.File, n, prot, flags int) []byte {
	t.Helper()
	b, err := syscall.Mmap(int(f.Fd()), 0, n, prot, flags)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, syscall.Munmap(b)) })
	return b
}

func testMmapRead(t testing.TB, dir string) {
	path := filepath.Join(dir, "f")
	want := fill(300000, 6)
	write(t, path, want)
	for _, flags := range []int{syscall.MAP_SHARED, syscall.MAP_PRIVATE} {
		m := mapFile(t, open(t, path, os.O_RDONLY), len(want), syscall.PROT_READ, flags)
		same(t, want, m)
	}
	// The tail of the last page is zeros.
	whole := (len(want) + pageSize - 1) &^ (pageSize - 1)
	m := mapFile(t, open(t, path, os.O_RDONLY), whole, syscall.PROT_READ, syscall.MAP_SHARED)
	same(t, make([]byte, whole-len(want)), m[len(want):])
}

func testMmapSeesWrites(t testing.TB, dir string) {
	path := filepath.Join(dir, "f")
	write(t, path, fill(8*pageSize, 1))
	mmapFollows(t, path, path)
}

// mmapFollows checks that a mapping of reader shows what is written through writer.
func mmapFollows(t testing.TB, writer, reader string) {
	t.Helper()
	m := mapFile(t, open(t, reader, os.O_RDONLY), 8*pageSize, syscall.PROT_READ, syscall.MAP_SHARED)
	w := open(t, writer, os.O_RDWR)
	for i := range 24 {
		off := i % 8 * pageSize
		_ = m[off] // keep it mapped
		b := fill(pageSize, byte(i+100))
		writeAt(t, w, b, int64(off))
		same(t, b, m[off:off+pageSize])
	}
}

// testMmapPrivateWrite: a private mapping of a file open for writing may be had, and keeps its changes to itself.
func testMmapPrivateWrite(t testing.TB, dir string) {
	path := filepath.Join(dir, "f")
	want := fill(3*pageSize, 1)
	write(t, path, want)
	m := mapFile(t, open(t, path, os.O_RDWR), len(want), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE)
	same(t, want, m)
	m[10] = ^m[10]
	holds(t, path, want)
}

// testWriteFromMmap: the data of a write may be a mapping of the file itself.
func testWriteFromMmap(t testing.TB, dir string) {
	path := filepath.Join(dir, "f")
	b := fill(4*pageSize, 1)
	write(t, path, b)
	m := mapFile(t, open(t, path, os.O_RDONLY), len(b), syscall.PROT_READ, syscall.MAP_SHARED)
	w := open(t, path, os.O_RDWR)
	writeAt(t, w, m[:2*pageSize], 2*pageSize)
	copy(b[2*pageSize:], b[:2*pageSize])
	holds(t, path, b)
	same(t, b, m)
}
