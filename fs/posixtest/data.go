package posixtest

import (
	"fmt"
	"io"
	"math/rand"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var dataTests = tests{
	"ReadWrite":         testReadWrite,
	"ReadWriteDirect":   testReadWriteDirect,
	"MixedDirect":       testMixedDirect,
	"RandomModel":       testRandomModel,
	"Sparse":            testSparse,
	"SparseFar":         testSparseFar,
	"TruncateDown":      testTruncateDown,
	"TruncateUp":        testTruncateUp,
	"TruncateZeroTail":  testTruncateZeroTail,
	"TruncateUnlinked":  testTruncateUnlinked,
	"TruncateErrors":    testTruncateErrors,
	"Fsync":             testFsync,
	"Append":            testAppend,
	"AppendTwo":         testAppendTwo,
	"ReadersSeeWrites":  testReadersSeeWrites,
	"WriteConcurrent":   testWriteConcurrent,
	"SeekEnd":           testSeekEnd,
	"Fallocate":         testFallocate,
	"WriteKillsSetuid":  testWriteKillsSetuid,
	"WriteChangesTimes": testWriteChangesTimes,
	"CopyFileRange":     testCopyFileRange,
}

func testReadWrite(t testing.TB, dir string) {
	path := filepath.Join(dir, "f")
	for _, n := range []int{0, 1, 511, 4095, 4096, 4097, 128<<10 - 1, 128 << 10, 1<<20 + 13} {
		b := fill(n, byte(n))
		write(t, path, b)
		holds(t, path, b)
		require.EqualValues(t, n, stat(t, path).Size)
	}
	f := open(t, path, os.O_RDWR)
	b := fill(1<<20+13, 13)
	for _, off := range []int{0, 1, 4095, 100000, 1 << 20} {
		n := min(5000, len(b)-off)
		same(t, b[off:off+n], readAt(t, f, n, int64(off)))
	}
	assert.Empty(t, readAt(t, f, 10, int64(len(b))))
	assert.Empty(t, readAt(t, f, 10, int64(len(b))+100000))
}

func testReadWriteDirect(t testing.TB, dir string) {
	path := filepath.Join(dir, "f")
	f := open(t, path, os.O_CREATE|os.O_RDWR|syscall.O_DIRECT)
	buf := aligned(t, 256<<10)
	want := fill(256<<10, 3)
	copy(buf, want)
	writeAt(t, f, buf, 0)
	clear(buf)
	n, err := f.ReadAt(buf, 0)
	require.NoError(t, err)
	require.Equal(t, len(want), n)
	same(t, want, buf)

	// Past the end: what there is, then nothing.
	require.NoError(t, f.Truncate(pageSize+100))
	n, err = f.ReadAt(buf[:2*pageSize], 0)
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, pageSize+100, n)
	same(t, want[:pageSize+100], buf[:n])
	n, _ = f.ReadAt(buf[:pageSize], 4*pageSize)
	require.Zero(t, n)
}

// testMixedDirect: O_DIRECT and the page cache see one content.
func testMixedDirect(t testing.TB, dir string) {
	path := filepath.Join(dir, "f")
	write(t, path, fill(8*pageSize, 1))
	cached, plain := open(t, path, os.O_RDONLY), open(t, path, os.O_RDWR)
	direct, directRead := open(t, path, os.O_RDWR|syscall.O_DIRECT), open(t, path, os.O_RDONLY|syscall.O_DIRECT)
	want, buf := fill(8*pageSize, 1), aligned(t, pageSize)
	for i := range 32 {
		off := int64(i%8) * pageSize
		same(t, want, readAt(t, cached, 8*pageSize, 0))
		fresh := fill(pageSize, byte(i)+7)
		copy(buf, fresh)
		copy(want[off:], fresh)
		if i%2 == 0 {
			writeAt(t, direct, buf, off)
		} else {
			writeAt(t, plain, buf, off)
		}
		same(t, want, readAt(t, cached, 8*pageSize, 0))
		same(t, want, readAt(t, plain, 8*pageSize, 0))
		_, err := directRead.ReadAt(buf, off)
		require.NoError(t, err)
		same(t, fresh, buf)
	}
}

// testRandomModel compares with a slice.
func testRandomModel(t testing.TB, dir string) {
	const seed, limit = 42, 300 << 10
	rnd := rand.New(rand.NewSource(seed))
	path := filepath.Join(dir, "f")
	rw := open(t, path, os.O_CREATE|os.O_RDWR)
	ro := open(t, path, os.O_RDONLY)
	var model []byte
	grow := func(n int) {
		if n > len(model) {
			model = append(model, make([]byte, n-len(model))...)
		}
	}
	for step := range 600 {
		off, n := rnd.Intn(limit), 1+rnd.Intn(20000)
		switch rnd.Intn(5) {
		case 0, 1:
			b := fill(n, byte(step))
			writeAt(t, rw, b, int64(off))
			grow(off + n)
			copy(model[off:], b)
		case 2:
			require.NoError(t, rw.Truncate(int64(off)))
			grow(off)
			model = model[:off:off]
		default:
			f := rw
			if rnd.Intn(2) == 0 {
				f = ro
			}
			lo := min(off, len(model))
			same(t, model[lo:min(off+n, len(model))], readAt(t, f, n, int64(off)))
		}
		require.EqualValues(t, len(model), fstat(t, ro).Size, "seed %d step %d", seed, step)
	}
	holds(t, path, model)
}

func testSparse(t testing.TB, dir string) {
	path := filepath.Join(dir, "f")
	f := open(t, path, os.O_CREATE|os.O_RDWR)
	writeAt(t, f, []byte("end"), 10<<20)
	writeAt(t, f, []byte("mid"), 5<<20+1)
	require.EqualValues(t, 10<<20+3, fstat(t, f).Size)
	want := make([]byte, 10<<20+3)
	copy(want[5<<20+1:], "mid")
	copy(want[10<<20:], "end")
	holds(t, path, want)
	require.Less(t, stat(t, path).Blocks*512, int64(8<<20), "holes take no space")
}

func testSparseFar(t testing.TB, dir string) {
	path := filepath.Join(dir, "f")
	f := open(t, path, os.O_CREATE|os.O_RDWR)
	const far = 3 << 40
	writeAt(t, f, []byte("far"), far)
	require.EqualValues(t, far+3, fstat(t, f).Size)
	same(t, []byte("far"), readAt(t, f, 100, far))
	same(t, make([]byte, 5000), readAt(t, f, 5000, far-5000))
	same(t, make([]byte, 5000), readAt(t, f, 5000, far/2))
	require.NoError(t, f.Truncate(0))
}

func testFsync(t testing.TB, dir string) {
	path := filepath.Join(dir, "f")
	f := open(t, path, os.O_CREATE|os.O_RDWR)
	writeAt(t, f, fill(100000, 1), 0)
	require.NoError(t, f.Sync())
	require.NoError(t, syscall.Fdatasync(int(f.Fd())))
	ro := open(t, path, os.O_RDONLY)
	require.NoError(t, ro.Sync())
	d := open(t, dir, os.O_RDONLY)
	require.NoError(t, d.Sync())
	s := open(t, path, os.O_RDWR|syscall.O_SYNC)
	writeAt(t, s, []byte("sync"), 0)
	same(t, []byte("sync"), readAt(t, ro, 4, 0))
	require.NoError(t, os.Remove(path))
	require.NoError(t, f.Sync(), "of an unlinked file")
}

func testAppend(t testing.TB, dir string) {
	path := filepath.Join(dir, "f")
	write(t, path, []byte("one"))
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	require.NoError(t, err)
	defer f.Close()
	_, err = f.Seek(0, io.SeekStart)
	require.NoError(t, err)
	_, err = f.Write([]byte("two"))
	require.NoError(t, err)
	holds(t, path, []byte("onetwo"))
	pos, err := f.Seek(0, io.SeekCurrent)
	require.NoError(t, err)
	require.EqualValues(t, 6, pos)
	require.NoError(t, f.Truncate(2))
	_, err = f.Write([]byte("x"))
	require.NoError(t, err)
	holds(t, path, []byte("onx"))
}

// testAppendTwo: two descriptors append by turns and at once; nothing is overwritten.
func testAppendTwo(t testing.TB, dir string) {
	appendAll(t, filepath.Join(dir, "f"), filepath.Join(dir, "f"))
}

// appendAll appends lines through both paths at once and checks that every line is there, whole, in order per writer.
func appendAll(t testing.TB, paths ...string) {
	t.Helper()
	const lines = 200
	var wg sync.WaitGroup
	for w, p := range paths {
		f := open(t, p, os.O_CREATE|os.O_WRONLY|os.O_APPEND)
		wg.Go(func() {
			for i := range lines {
				_, err := fmt.Fprintf(f, "writer %d line %05d\n", w, i)
				assert.NoError(t, err)
			}
		})
	}
	wg.Wait()
	for _, p := range paths {
		f := open(t, p, os.O_RDONLY)
		next := make([]int, len(paths))
		for range lines * len(paths) {
			var w, i int
			_, err := fmt.Fscanf(f, "writer %d line %05d\n", &w, &i)
			require.NoError(t, err)
			require.Equal(t, next[w], i, "line of writer %d", w)
			next[w]++
		}
		b, err := io.ReadAll(f)
		require.NoError(t, err)
		require.Empty(t, b)
	}
}

// testReadersSeeWrites: a reader that keeps its pages cached never sees less than what a writer had finished when the
// read began.
func testReadersSeeWrites(t testing.TB, dir string) {
	path := filepath.Join(dir, "f")
	write(t, path, make([]byte, 4*pageSize))
	chase(t, path, path)
}

// chase writes growing numbers through one path while others read them through the other.
func chase(t testing.TB, writer, reader string) {
	t.Helper()
	const rounds, pages = 400, 4
	var mu sync.Mutex
	finished := make([]byte, pages)
	wf := open(t, writer, os.O_RDWR)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 3 {
		rf := open(t, reader, os.O_RDONLY)
		wg.Go(func() {
			b := make([]byte, 1)
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				page := i % pages
				mu.Lock()
				least := finished[page]
				mu.Unlock()
				_, err := rf.ReadAt(b, int64(page)*pageSize+77)
				if !assert.NoError(t, err) || !assert.GreaterOrEqual(t, b[0], least, "page %d is stale", page) {
					return
				}
			}
		})
	}
	for i := range rounds {
		v, page := byte(i*255/rounds), i%pages
		b := make([]byte, pageSize)
		for k := range b {
			b[k] = v
		}
		writeAt(t, wf, b, int64(page)*pageSize)
		mu.Lock()
		finished[page] = v
		mu.Unlock()
	}
	close(stop)
	wg.Wait()
}

func testWriteConcurrent(t testing.TB, dir string) {
	const workers, size = 8, 64 << 10
	path := filepath.Join(dir, "f")
	write(t, path, nil)
	var wg sync.WaitGroup
	for w := range workers {
		f := open(t, path, os.O_RDWR)
		wg.Go(func() {
			b := fill(size, byte(w))
			for at := 0; at < size; at += 5000 {
				_, err := f.WriteAt(b[at:min(at+5000, size)], int64(w*size+at))
				assert.NoError(t, err)
			}
		})
	}
	wg.Wait()
	var want []byte
	for w := range workers {
		want = append(want, fill(size, byte(w))...)
	}
	holds(t, path, want)
}

func testSeekEnd(t testing.TB, dir string) {
	path := filepath.Join(dir, "f")
	write(t, path, fill(1000, 1))
	f := open(t, path, os.O_RDWR)
	pos, err := f.Seek(-10, io.SeekEnd)
	require.NoError(t, err)
	require.EqualValues(t, 990, pos)
	require.NoError(t, os.Truncate(path, 500))
	pos, err = f.Seek(0, io.SeekEnd)
	require.NoError(t, err)
	require.EqualValues(t, 500, pos)
}

func testFallocate(t testing.TB, dir string) {
	const keepSize, punchHole = 1, 2
	path := filepath.Join(dir, "f")
	f := open(t, path, os.O_CREATE|os.O_RDWR)
	fd := int(f.Fd())
	err := syscall.Fallocate(fd, 0, 0, 100000)
	if err == syscall.EOPNOTSUPP {
		t.Skip("no fallocate")
	}
	require.NoError(t, err)
	require.EqualValues(t, 100000, fstat(t, f).Size)
	holds(t, path, make([]byte, 100000))
	require.NoError(t, syscall.Fallocate(fd, keepSize, 0, 200000))
	require.EqualValues(t, 100000, fstat(t, f).Size)
	b := fill(100000, 1)
	writeAt(t, f, b, 0)
	ro := open(t, path, os.O_RDONLY)
	same(t, b, readAt(t, ro, 100000, 0))
	if err = syscall.Fallocate(fd, keepSize|punchHole, 10000, 50000); err != syscall.EOPNOTSUPP {
		require.NoError(t, err)
		clear(b[10000:60000])
	}
	same(t, b, readAt(t, ro, 100000, 0))
	holds(t, path, b)
	require.ErrorIs(t, syscall.Fallocate(fd, 0, -1, 10), syscall.EINVAL)
	require.ErrorIs(t, syscall.Fallocate(fd, 0, 0, 0), syscall.EINVAL)
}

// testWriteKillsSetuid: whoever changes a program does not leave it with its owner's rights. Root may.
func testWriteKillsSetuid(t testing.TB, dir string) {
	needRoot(t)
	path := filepath.Join(dir, "f")
	write(t, path, []byte("program"))
	require.NoError(t, os.Chmod(dir, 0o777))
	require.NoError(t, syscall.Chmod(path, 0o4777))
	require.EqualValues(t, syscall.S_IFREG|0o4777, stat(t, path).Mode)
	require.NoError(t, syscall.Chmod(path, 0o4777))
	require.NoError(t, os.Chown(path, 1234, 1234))
	require.EqualValues(t, syscall.S_IFREG|0o777, stat(t, path).Mode, "chown takes the bits away")
}

func testWriteChangesTimes(t testing.TB, dir string) {
	path := filepath.Join(dir, "f")
	write(t, path, []byte("a"))
	long := syscall.NsecToTimespec(1e18)
	require.NoError(t, syscall.UtimesNano(path, []syscall.Timespec{long, long}))
	before := stat(t, path)
	require.Equal(t, long, before.Mtim)
	f := open(t, path, os.O_RDWR)
	writeAt(t, f, []byte("b"), 0)
	after := stat(t, path)
	assert.Greater(t, after.Mtim.Nano(), before.Mtim.Nano())
	assert.GreaterOrEqual(t, after.Ctim.Nano(), before.Ctim.Nano())
}

func testCopyFileRange(t testing.TB, dir string) {
	b := fill(1<<20+77, 4)
	write(t, filepath.Join(dir, "src"), b)
	src, dst := open(t, filepath.Join(dir, "src"), os.O_RDONLY), open(t, filepath.Join(dir, "dst"), os.O_CREATE|os.O_RDWR)
	n, err := io.Copy(dst, src) // copy_file_range(2) where there is one
	require.NoError(t, err)
	require.EqualValues(t, len(b), n)
	holds(t, filepath.Join(dir, "dst"), b)
}
