package bazil

import (
	"bytes"
	"context"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/covol/covol/fs"
	"github.com/covol/covol/fs/fusefs/memfs"
	"github.com/covol/covol/ondisk/blockdev"
)

// counts counts operations.
type counts struct {
	mu sync.Mutex
	// GUARDED_BY(mu)
	n map[string]int
}

func (c *counts) hook(_ context.Context, op string, _ fs.Ino) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n = map[string]int{}
	}
	c.n[op]++
	return nil
}

func (c *counts) take() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.n
	c.n = nil
	return n
}

// TestCaching: what is told under a lock is not asked for again; names are.
func TestCaching(t *testing.T) {
	n, c := memfs.NewStore().NewNode(), &counts{}
	n.Hook = c.hook
	m, _ := mountNode(t, n, Options{})
	path := filepath.Join(m.Dir(), "f")
	require.NoError(t, os.WriteFile(path, bytes.Repeat([]byte("x"), 100000), 0o644))
	read := func() {
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Len(t, b, 100000)
	}
	read()
	c.take()
	for range 10 {
		read()
	}
	got := c.take()
	assert.Zero(t, got["readpage"]+got["read"], "pages stay over close and open")
	assert.Zero(t, got["getattr"], "attributes stay")
	assert.Equal(t, 10, got["lookup"], "names are looked up each time")

	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	c.take()
	for range 10 {
		_, err = f.Stat()
		require.NoError(t, err)
	}
	assert.LessOrEqual(t, c.take()["getattr"], 1)
}

// TestPageFlag: the transport tells reads of the page cache from all others, whatever the file was opened with.
func TestPageFlag(t *testing.T) {
	n, c := memfs.NewStore().NewNode(), &counts{}
	n.Hook = c.hook
	m, _ := mountNode(t, n, Options{})
	path := filepath.Join(m.Dir(), "f")
	require.NoError(t, os.WriteFile(path, make([]byte, 4096), 0o644))
	buf := blockdev.Alloc(4096)
	for _, tc := range []struct {
		flags int
		want  string
	}{
		{unix.O_RDONLY, "readpage"}, {unix.O_RDWR, "read"}, {unix.O_RDONLY | unix.O_DIRECT, "read"},
		{unix.O_RDWR | unix.O_DIRECT, "read"},
	} {
		fd, err := unix.Open(path, tc.flags, 0)
		require.NoError(t, err)
		c.take()
		_, err = unix.Pread(fd, buf, 0)
		require.NoError(t, err)
		require.Equal(t, map[string]int{tc.want: 1}, c.take(), "flags %#x", tc.flags)
		require.NoError(t, unix.Close(fd))
	}
	client(t, "TestClientMapPrivate", m.Dir())
	require.Equal(t, 1, c.take()["readpage"], "through a private mapping of a file opened for writing")
}

func TestClientMapPrivate(t *testing.T) {
	f, err := os.OpenFile(filepath.Join(clientDirs(t)[0], "f"), os.O_RDWR, 0)
	require.NoError(t, err)
	b, err := unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE)
	require.NoError(t, err)
	require.Zero(t, b[100])
}

// TestInvalidateUnderReaders: emptying the page cache ends, again and again, however hard the file is read.
func TestInvalidateUnderReaders(t *testing.T) {
	n := memfs.NewStore().NewNode()
	m, _ := mountNode(t, n, Options{})
	path := filepath.Join(m.Dir(), "f")
	want := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	require.NoError(t, os.WriteFile(path, want, 0o644))
	st, err := os.Stat(path)
	require.NoError(t, err)
	ino := st.Sys().(*syscall.Stat_t).Ino

	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 8 {
		f, err := os.Open(path)
		require.NoError(t, err)
		wg.Go(func() {
			defer f.Close()
			b := make([]byte, len(want))
			for {
				select {
				case <-stop:
					return
				default:
				}
				_, err := f.ReadAt(b, 0)
				assert.NoError(t, err)
				assert.True(t, bytes.Equal(want, b))
			}
		})
	}
	for range 300 {
		within(t, "invalidation", func() { assert.NoError(t, m.server.InvalidateData(ino)) })
		assert.NoError(t, m.server.InvalidateAttr(ino))
	}
	close(stop)
	wg.Wait()
}

// TestDirectCannotStarvePages is trap 5: while a demotion holds up more asynchronous direct requests than the kernel
// sends at a time by default, reads of pages, which the demotion waits for, still get through.
func TestDirectCannotStarvePages(t *testing.T) {
	const depth = 600
	n, g := memfs.NewStore().NewNode(), newGate("read")
	n.Hook = g.hook
	m, _ := mountNode(t, n, Options{})
	path := filepath.Join(m.Dir(), "f")
	require.NoError(t, os.WriteFile(path, make([]byte, 1<<20), 0o644))
	var st unix.Stat_t
	require.NoError(t, unix.Stat(path, &st))

	fd, err := unix.Open(path, unix.O_RDWR|unix.O_DIRECT, 0)
	require.NoError(t, err)
	defer unix.Close(fd)
	wait := aioRead(t, fd, depth)
	for range depth {
		<-g.arrived
	}
	// Readers with read-ahead, which is asynchronous, too; and the demotion's part.
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			b, err := os.ReadFile(path)
			assert.NoError(t, err)
			assert.Len(t, b, 1<<20)
		})
	}
	within(t, "invalidation", func() {
		for range 50 {
			assert.NoError(t, m.server.InvalidateData(st.Ino))
		}
	})
	within(t, "reads of pages", wg.Wait)
	close(g.open)
	within(t, "direct reads", wait)
}

// TestAttributeRaces: two nodes change and look, with many inodes going in and out of the kernel's memory; nobody ever
// sees attributes older than what had been finished when it asked (traps 3 and 4).
func TestAttributeRaces(t *testing.T) {
	_, dirs := mountStore(t, 2)
	const files, rounds = 6, 400
	var mu sync.Mutex
	var mode [files]uint32
	for i := range files {
		require.NoError(t, os.WriteFile(filepath.Join(dirs[0], fmt.Sprint(i)), nil, 0o600))
	}
	stop := make(chan struct{})
	var lookers, changers sync.WaitGroup
	for w := range 4 {
		dir := dirs[w%2]
		lookers.Go(func() {
			rnd := rand.New(rand.NewSource(int64(w)))
			for {
				select {
				case <-stop:
					return
				default:
				}
				i := rnd.Intn(files)
				mu.Lock()
				least := mode[i]
				mu.Unlock()
				var st unix.Stat_t
				if !assert.NoError(t, unix.Stat(filepath.Join(dir, fmt.Sprint(i)), &st)) {
					return
				}
				if !assert.GreaterOrEqual(t, st.Mode&0o777, least, "file %d is stale", i) {
					return
				}
			}
		})
	}
	for w := range 2 {
		changers.Go(func() {
			rnd := rand.New(rand.NewSource(int64(100 + w)))
			for r := range rounds {
				i := w + 2*rnd.Intn(files/2) // one changer a file
				path := filepath.Join(dirs[rnd.Intn(2)], fmt.Sprint(i))
				next := uint32(r * 0o777 / rounds)
				if rnd.Intn(4) == 0 {
					assert.NoError(t, os.Link(path, path+"x"))
					assert.NoError(t, os.Remove(path+"x"))
				}
				assert.NoError(t, unix.Chmod(path, next))
				mu.Lock()
				mode[i] = next
				mu.Unlock()
			}
		})
	}
	changers.Wait()
	close(stop)
	lookers.Wait()
}

// TestManyClients runs 64 processes' worth of work at once on two mounts of one store.
func TestManyClients(t *testing.T) {
	_, dirs := mountStore(t, 2)
	start := time.Now()
	var wg sync.WaitGroup
	for w := range 64 {
		wg.Go(func() { work(t, dirs, w) })
	}
	wg.Wait()
	t.Logf("64 clients took %v", time.Since(start))
	for _, d := range dirs {
		entries, err := os.ReadDir(d)
		require.NoError(t, err)
		require.Len(t, entries, 1, "only the shared file is left")
	}
}

func work(t *testing.T, dirs []string, w int) {
	rnd := rand.New(rand.NewSource(int64(w)))
	shared, err := os.OpenFile(filepath.Join(dirs[w%2], "shared"), os.O_CREATE|os.O_RDWR, 0o666)
	if !assert.NoError(t, err) {
		return
	}
	defer shared.Close()
	own := fmt.Sprintf("own-%d", w)
	assert.NoError(t, os.Mkdir(filepath.Join(dirs[0], own), 0o755))
	for r := range 10 {
		dir := filepath.Join(dirs[rnd.Intn(2)], own)
		name, data := filepath.Join(dir, fmt.Sprint(r)), bytes.Repeat([]byte{byte(w), byte(r)}, 1+rnd.Intn(3000))
		assert.NoError(t, os.WriteFile(name, data, 0o644))
		other := filepath.Join(dirs[rnd.Intn(2)], own)
		assert.NoError(t, os.Rename(filepath.Join(other, fmt.Sprint(r)), filepath.Join(other, "moved")))
		b, err := os.ReadFile(filepath.Join(dir, "moved"))
		assert.NoError(t, err)
		assert.True(t, bytes.Equal(data, b))
		_, err = shared.WriteAt(data, int64(w)*8192)
		assert.NoError(t, err)
		_, err = shared.ReadAt(b, int64(w)*8192)
		assert.NoError(t, err)
		assert.True(t, bytes.Equal(data, b))
		assert.NoError(t, os.Remove(filepath.Join(dir, "moved")))
	}
	assert.NoError(t, os.Remove(filepath.Join(dirs[1], own)))
}
