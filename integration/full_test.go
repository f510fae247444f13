package integration

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestFull fills a small volume with one kind of thing after the other. What does not fit says ENOSPC and changes
// nothing; what fitted is whole; all of it can be removed, also from another node, and then the space is back.
func TestFull(t *testing.T) {
	l := newLab(t, labOptions{nodes: 2, size: "256M"})
	n1, n2 := l.nodes[0], l.nodes[1]
	free := space(t, n1.dir)
	fillers := []struct {
		name string
		make func(dir string, k int) error
		// meta: mostly metadata, whose chunks stay chunks while the volume is mounted (F3). The same can be made again.
		meta bool
	}{
		{"large files", func(dir string, k int) error { return writeOnce(filepath.Join(dir, fmt.Sprint(k)), 3<<20+k) }, false},
		{"appends", func(dir string, k int) error { return appendTo(filepath.Join(dir, fmt.Sprint(k%7)), 40_000) }, false},
		{"small files", func(dir string, k int) error { return writeOnce(filepath.Join(dir, fmt.Sprint(k)), 100+k%9000) }, true},
		{"directories", func(dir string, k int) error { return os.Mkdir(filepath.Join(dir, fmt.Sprint(k)), 0o755) }, true},
		{"symlinks", func(dir string, k int) error {
			return os.Symlink(fmt.Sprintf("%0*d", 3000, k), filepath.Join(dir, fmt.Sprint(k)))
		}, true},
	}
	for i, f := range fillers {
		t.Run(f.name, func(t *testing.T) {
			filler, judge := n1, n2
			if i%2 == 1 {
				filler, judge = n2, n1
			}
			if f.meta { // a ballast leaves room for a thousand and more
				l.eventually("the last ballast is gone", func() bool { return space(t, judge.dir) > free/2 })
				require.NoError(t, writeOnce(judge.path("ballast"), int(space(t, judge.dir)-10<<20)))
				defer func() { require.NoError(t, os.Remove(judge.path("ballast"))) }()
			}
			dir := fmt.Sprintf("full-%d", i)
			require.NoError(t, os.Mkdir(filler.path(dir), 0o755))
			made := 0
			var err error
			for ; err == nil && made < 500_000; made++ {
				err = f.make(filler.path(dir), made)
			}
			made--
			require.ErrorIs(t, err, syscall.ENOSPC, "after %d", made)
			t.Logf("%d %s fit", made, f.name)
			full(t, filler, dir)
			list := names(t, judge.path(dir))
			for _, name := range list {
				_, err := os.Lstat(judge.path(dir, name))
				require.NoError(t, err)
			}
			// A full volume can be emptied, by the other node.
			require.NoError(t, os.RemoveAll(judge.path(dir)))
			if f.meta {
				refill(t, judge.path("more-"+dir), made*8/10, f.make)
				return
			}
			l.eventually("the space is back", func() bool { return space(t, filler.dir) >= free-free/50 })
			// And be filled again.
			require.NoError(t, writeOnce(judge.path("again"), int(free/2)))
			require.NoError(t, os.Remove(judge.path("again")))
			l.eventually("the space is back again", func() bool { return space(t, judge.dir) >= free-free/50 })
		})
	}
	l.down()
	l.fsck()
	n1.mount()
	assert.Empty(t, names(t, n1.dir))
}

// refill makes so many again, as soon as there is space, and removes them.
func refill(t *testing.T, dir string, count int, make func(dir string, k int) error) {
	t.Helper()
	require.NoError(t, os.Mkdir(dir, 0o755))
	for k := range count {
		require.Eventually(t, func() bool {
			err := make(dir, k)
			if err != nil {
				require.ErrorIs(t, err, syscall.ENOSPC)
				_ = os.Remove(filepath.Join(dir, fmt.Sprint(k)))
			}
			return err == nil
		}, time.Minute, 10*time.Millisecond, "%d of %d", k, count)
	}
	require.NoError(t, os.RemoveAll(dir))
}

// full tries everything that needs space in a volume that has next to none: it succeeds or it is ENOSPC.
func full(t *testing.T, n *node, dir string) {
	t.Helper()
	for k := range 300 {
		base := n.path(dir, fmt.Sprintf("more-%d", k))
		for what, err := range map[string]error{
			"mkdir":     os.Mkdir(base+"d", 0o755),
			"create":    os.WriteFile(base+"f", nil, 0o644),
			"symlink":   os.Symlink("somewhere", base+"l"),
			"write":     appendTo(base+"f", 5000),
			"extend":    os.Truncate(base+"f", 1<<30),
			"rename":    os.Rename(base+"f", base+"g"),
			"fallocate": allocate(base+"a", 8<<20),
		} {
			if err != nil && !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, os.ErrNotExist) {
				require.NoError(t, err, "%s in a full volume", what)
			}
		}
	}
	// What is there can be overwritten without any space.
	for _, e := range names(t, n.path(dir)) {
		path := n.path(dir, e)
		st, err := os.Lstat(path)
		require.NoError(t, err)
		if !st.Mode().IsRegular() || st.Size() < 4096 || st.Size() >= 1<<30 {
			continue
		}
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		require.NoError(t, err)
		_, err = f.WriteAt(make([]byte, 4096), 0)
		require.NoError(t, err, "overwrite in a full volume")
		require.NoError(t, f.Close())
		break
	}
}

// writeOnce makes a file; one that does not fit is an error of write, fsync or close, and is then removed.
func writeOnce(path string, size int) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, size))
	return errors.Join(err, f.Close())
}

func appendTo(path string, size int) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, size))
	return errors.Join(err, f.Close())
}

func allocate(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	return errors.Join(syscall.Fallocate(int(f.Fd()), 0, 0, size), f.Close())
}

// space is what df shows as available, bytes.
func space(t testing.TB, dir string) int64 {
	t.Helper()
	var st syscall.Statfs_t
	require.NoError(t, syscall.Statfs(dir, &st))
	return int64(st.Bavail) * st.Frsize
}
