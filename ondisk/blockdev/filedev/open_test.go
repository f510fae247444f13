package filedev_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/blockdev/devtest"
	"github.com/covol/covol/ondisk/blockdev/filedev"
)

var ctx = context.Background()

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	require.NoError(t, unix.Mkfifo(fifo, 0o600))
	for path, want := range map[string]error{
		filepath.Join(dir, "missing"): os.ErrNotExist,
		dir:                           nil,
		fifo:                          nil,
		"/dev/null":                   nil,
	} {
		d, err := filedev.Open(path, filedev.Options{})
		require.Error(t, err, path)
		assert.Nil(t, d)
		assert.Contains(t, err.Error(), path)
		if want != nil {
			assert.ErrorIs(t, err, want)
		} else {
			assert.ErrorContains(t, err, "neither a regular file nor a block device")
		}
	}
}

func TestOddSizesAreRoundedDown(t *testing.T) {
	for _, raw := range []int64{0, 1, 511, 512, 4096, 4097, 1<<20 + 513, 5<<20 - 1} {
		for _, direct := range []bool{true, false} {
			d := open(t, newFile(t, t.TempDir(), raw), filedev.Options{NoDirect: !direct})
			g := d.Geometry()
			assert.Equal(t, raw, d.RawSize())
			assert.Equal(t, raw-raw%int64(g.SectorSize), g.Size)
			if g.Size > 0 {
				p := blockdev.Alloc(g.SectorSize)
				assert.NoError(t, d.WriteAt(ctx, p, g.Size-int64(g.SectorSize), true))
				assert.ErrorIs(t, d.WriteAt(ctx, p, g.Size, true), blockdev.ErrRange)
			}
		}
	}
}

func TestLargeSparseFile(t *testing.T) {
	const size = 8 << 40
	path := filepath.Join(t.TempDir(), "lun.img")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	if err := os.Truncate(path, size); err != nil {
		t.Skipf("SKIP: this filesystem has no files of %d bytes: %v", int64(size), err)
	}
	d := open(t, path, filedev.Options{})
	p, q := bytes.Repeat([]byte{7}, 4096), make([]byte, 4096)
	require.NoError(t, d.WriteAt(ctx, p, size-4096, true))
	require.NoError(t, d.ReadAt(ctx, q, size-4096))
	assert.Equal(t, p, q)
	require.NoError(t, d.Discard(ctx, size-4096, 4096))
	require.NoError(t, d.ReadAt(ctx, q, size-4096))
	assert.Equal(t, make([]byte, 4096), q, "a hole was punched")
	var st unix.Stat_t
	require.NoError(t, unix.Stat(path, &st))
	assert.EqualValues(t, size, st.Size)
	assert.Less(t, st.Blocks, int64(100))
}

func TestReadOnly(t *testing.T) {
	d := open(t, newFile(t, t.TempDir(), devtest.Size), filedev.Options{ReadOnly: true})
	p := blockdev.Alloc(4096)
	assert.NoError(t, d.ReadAt(ctx, p, 0))
	assert.ErrorIs(t, d.WriteAt(ctx, p, 0, false), unix.EBADF)
	assert.ErrorIs(t, d.WriteAt(ctx, p, 0, true), unix.EBADF)
	assert.Error(t, d.Discard(ctx, 0, 4096))
	_, err := d.CompareAndWrite(ctx, 0, p, p)
	assert.ErrorIs(t, err, unix.EBADF)
	assert.Error(t, d.LockByte(1, false))
	locked, err := d.ByteLocked(1)
	assert.NoError(t, err)
	assert.False(t, locked)
}

func TestShrunkFileIsAMediumError(t *testing.T) {
	for _, o := range []filedev.Options{{}, {NoDirect: true}, {NoUring: true}} {
		path := newFile(t, t.TempDir(), devtest.Size)
		d := open(t, path, o)
		require.NoError(t, os.Truncate(path, 8192))
		p := blockdev.Alloc(8192)
		for off, bad := range map[int64]bool{0: false, 4096: true, 8192: true, 65536: true} {
			errs := []error{d.ReadAt(ctx, p, off), submitOne(d, blockdev.Op{Kind: blockdev.OpRead, Buf: p, Off: off})}
			for _, err := range errs {
				if !bad {
					assert.NoError(t, err)
					continue
				}
				require.ErrorIs(t, err, blockdev.ErrMedium)
				var op *blockdev.OpError
				require.ErrorAs(t, err, &op)
				assert.Equal(t, "read", op.Op)
				assert.Equal(t, off, op.Off)
				assert.EqualValues(t, 8192, op.Len)
			}
		}
	}
}

func submitOne(s blockdev.Submitter, op blockdev.Op) error {
	done := make(chan error)
	op.Done = func(err error) { go func() { done <- err }() }
	s.Submit([]blockdev.Op{op})
	return <-done
}

func TestSubmitsBy(t *testing.T) {
	path := newFile(t, t.TempDir(), devtest.Size)
	assert.Equal(t, "threads", open(t, path, filedev.Options{NoUring: true}).SubmitsBy())
	if by := open(t, path, filedev.Options{}).SubmitsBy(); by != "io_uring" {
		t.Skipf("SKIP: the kernel refuses io_uring; all of Submit was tested by %s only", by)
	}
}

// TestCloseWaitsForSubmitted closes right behind a batch, again and again: every Done must have been called.
func TestCloseWaitsForSubmitted(t *testing.T) {
	path := newFile(t, t.TempDir(), devtest.Size)
	for _, o := range []filedev.Options{{}, {QueueDepth: 1}, {NoUring: true}} {
		for round := range 20 {
			d, err := filedev.Open(path, o)
			require.NoError(t, err)
			var mu sync.Mutex
			done := 0
			var ops []blockdev.Op
			for i := range 10 * round {
				ops = append(ops, blockdev.Op{Kind: blockdev.OpKind(i % 3), Buf: blockdev.Alloc(512), Off: int64(i) * 512,
					FUA: i%7 == 0, Done: func(err error) {
						mu.Lock()
						defer mu.Unlock()
						done++
						assert.NoError(t, err)
					}})
			}
			d.Submit(ops)
			require.NoError(t, d.Close())
			assert.Equal(t, len(ops), done)
		}
	}
}

// TestSubmitFromDyingThreads submits on goroutines whose thread ends with them: the operations must not.
func TestSubmitFromDyingThreads(t *testing.T) {
	d := open(t, newFile(t, t.TempDir(), devtest.Size), filedev.Options{})
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Add(8)
		go dyingThread(func() {
			var ops []blockdev.Op
			for j := range 8 {
				ops = append(ops, blockdev.Op{Kind: blockdev.OpWrite, Buf: blockdev.Alloc(4096), Off: int64(i*8+j) % 256 * 4096,
					FUA: true, Done: func(err error) {
						assert.NoError(t, err)
						wg.Done()
					}})
			}
			d.Submit(ops)
		})
	}
	wg.Wait()
}

func TestTmpfs(t *testing.T) {
	dir, err := os.MkdirTemp("/dev/shm", "filedev")
	if err != nil {
		t.Skipf("SKIP: no tmpfs: %v", err)
	}
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	n := 0
	devtest.Run(t, func(t *testing.T) blockdev.Device {
		n++
		sub := filepath.Join(dir, string(rune('a'+n)))
		require.NoError(t, os.Mkdir(sub, 0o700))
		return open(t, newFile(t, sub, devtest.Size), filedev.Options{})
	})
}

func TestSyncFailureSticks(t *testing.T) {
	d := open(t, newFile(t, t.TempDir(), devtest.Size), filedev.Options{})
	require.NoError(t, d.Flush(ctx))
	d.Poison(unix.EIO)
	p := blockdev.Alloc(512)
	for _, err := range []error{
		d.Flush(ctx), d.WriteAt(ctx, p, 0, true),
		submitOne(d, blockdev.Op{Kind: blockdev.OpFlush}),
		submitOne(d, blockdev.Op{Kind: blockdev.OpWrite, Buf: p, FUA: true}),
	} {
		assert.ErrorIs(t, err, blockdev.ErrMedium)
		assert.ErrorIs(t, err, unix.EIO)
	}
	swapped, err := d.CompareAndWrite(ctx, 0, p, p)
	assert.ErrorIs(t, err, blockdev.ErrMedium)
	assert.False(t, swapped)
	assert.NoError(t, d.ReadAt(ctx, p, 0))
	assert.NoError(t, d.WriteAt(ctx, p, 0, false))
}

func TestClassify(t *testing.T) {
	for err, want := range map[error]error{
		unix.EIO: blockdev.ErrMedium, unix.ENODATA: blockdev.ErrMedium, unix.EILSEQ: blockdev.ErrMedium,
		unix.ENOSPC: blockdev.ErrMedium, unix.EBADE: blockdev.ErrFenced, unix.EBADF: nil, unix.EINVAL: nil,
		errors.New("other"): nil,
	} {
		assert.Equal(t, want, filedev.Classify(err), "%v", err)
	}
}
