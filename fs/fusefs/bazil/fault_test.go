package bazil

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/covol/covol/fs"
	"github.com/covol/covol/fs/fusefs"
	"github.com/covol/covol/fs/fusefs/memfs"
)

// in is how long a test waits for what must happen.
const in = 30 * time.Second

func within(t testing.TB, what string, fn func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); fn() }()
	select {
	case <-done:
	case <-time.After(in):
		require.Fail(t, "does not happen: "+what)
	}
}

// gate stops operations of one kind.
type gate struct {
	op      string
	arrived chan struct{} // one value for each operation stopped
	open    chan struct{} // closed: go on
}

func newGate(op string) *gate {
	return &gate{op: op, arrived: make(chan struct{}, 10000), open: make(chan struct{})}
}

func (g *gate) hook(ctx context.Context, op string, _ fs.Ino) error {
	if op != g.op {
		return nil
	}
	g.arrived <- struct{}{}
	select {
	case <-g.open:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// TestInterrupt: a signal ends a process that waits for the server, by way of the operation's context.
func TestInterrupt(t *testing.T) {
	n, g := memfs.NewStore().NewNode(), newGate("read")
	page := newGate("readpage")
	n.Hook = func(ctx context.Context, op string, ino fs.Ino) error {
		return errors.Join(g.hook(ctx, op, ino), page.hook(ctx, op, ino))
	}
	m, _ := mountNode(t, n, Options{})
	path := filepath.Join(m.Dir(), "f")
	require.NoError(t, os.WriteFile(path, []byte("x"), 0o644))
	for _, c := range []struct {
		flags string
		g     *gate
	}{{"iflag=direct", g}, {"iflag=nonblock", page}} {
		cmd := exec.Command("dd", "if="+path, "of=/dev/null", "bs=4096", "count=1", c.flags)
		require.NoError(t, cmd.Start())
		<-c.g.arrived
		require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
		within(t, "end of the process", func() { require.Error(t, cmd.Wait()) })
	}
	close(g.open)
	close(page.open)
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "x", string(b))
}

// TestWorkers: requests that wait get workers of their own, other requests pass them, and the workers go away again.
func TestWorkers(t *testing.T) {
	const blocked = 200
	n, g := memfs.NewStore().NewNode(), newGate("sync")
	n.Hook = g.hook
	m, _ := mountNode(t, n, Options{})
	var wg sync.WaitGroup
	for i := range blocked {
		f, err := os.Create(filepath.Join(m.Dir(), "f"+strings.Repeat("x", i)))
		require.NoError(t, err)
		wg.Go(func() {
			assert.NoError(t, f.Sync())
			assert.NoError(t, f.Close())
		})
	}
	for range blocked {
		<-g.arrived
	}
	within(t, "a request that need not wait", func() {
		_, err := os.ReadDir(m.Dir())
		assert.NoError(t, err)
	})
	now, peak := m.Workers()
	require.Greater(t, now, blocked)
	require.GreaterOrEqual(t, peak, now)
	close(g.open)
	wg.Wait()
	require.Eventually(t, func() bool {
		_, err := os.Stat(m.Dir())
		now, _ := m.Workers()
		return err == nil && now <= 8
	}, in, time.Millisecond)
}

// TestWorkersBound: at the bound requests wait for their turn and none is lost.
func TestWorkersBound(t *testing.T) {
	m, _ := mountNode(t, memfs.NewStore().NewNode(), Options{MaxWorkers: 2})
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			path := filepath.Join(m.Dir(), strings.Repeat("x", i+1))
			assert.NoError(t, os.WriteFile(path, []byte(path), 0o644))
			b, err := os.ReadFile(path)
			assert.NoError(t, err)
			assert.Equal(t, path, string(b))
		})
	}
	wg.Wait()
	_, peak := m.Workers()
	require.Equal(t, 2, peak)
}

// TestPanic: one request fails, the mount lives.
func TestPanic(t *testing.T) {
	n := memfs.NewStore().NewNode()
	n.Hook = func(_ context.Context, op string, _ fs.Ino) error {
		if op == "sync" {
			panic("deliberate")
		}
		return nil
	}
	m, w := mountNode(t, n, Options{})
	f, err := os.Create(filepath.Join(m.Dir(), "f"))
	require.NoError(t, err)
	require.ErrorIs(t, f.Sync(), syscall.EIO)
	require.ErrorIs(t, f.Sync(), syscall.EIO)
	require.NoError(t, f.Close())
	lines := w.taken()
	require.Len(t, lines, 2)
	require.Contains(t, lines[0], "deliberate")
}

func TestErrors(t *testing.T) {
	n := memfs.NewStore().NewNode()
	fail := errors.New("uncertain")
	n.Hook = func(_ context.Context, op string, _ fs.Ino) error {
		if op == "sync" {
			return fail
		}
		return nil
	}
	m, _ := mountNode(t, n, Options{})
	path := filepath.Join(m.Dir(), "f")
	f, err := os.Create(path)
	require.NoError(t, err)
	defer f.Close()
	require.ErrorIs(t, f.Sync(), syscall.EIO)

	for range 2 { // the second time the kernel answers by itself
		_, err = unix.Getxattr(path, "user.x", make([]byte, 10))
		require.ErrorIs(t, err, unix.EOPNOTSUPP)
		_, err = unix.Listxattr(path, make([]byte, 10))
		require.ErrorIs(t, err, unix.EOPNOTSUPP)
		require.ErrorIs(t, unix.Setxattr(path, "user.x", []byte("v"), 0), unix.EOPNOTSUPP)
		require.ErrorIs(t, unix.Removexattr(path, "user.x"), unix.EOPNOTSUPP)
		require.ErrorIs(t, unix.Renameat2(unix.AT_FDCWD, path, unix.AT_FDCWD, path+"2", unix.RENAME_NOREPLACE), unix.EINVAL)
		_, err = unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS)
		require.ErrorIs(t, err, unix.ENOTTY)
		_, err = unix.Open(m.Dir(), unix.O_TMPFILE|unix.O_RDWR, 0o600)
		require.ErrorIs(t, err, unix.EOPNOTSUPP)
		require.NoError(t, unix.Access(path, unix.R_OK))
		off, err := unix.Seek(int(f.Fd()), 0, unix.SEEK_END)
		require.NoError(t, err)
		require.Zero(t, off)
		_, err = unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ, unix.MAP_SHARED)
		require.ErrorIs(t, err, unix.ENODEV)
	}
	// Locks are the kernel's.
	require.NoError(t, unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB))
	lk := unix.Flock_t{Type: unix.F_WRLCK}
	require.NoError(t, unix.FcntlFlock(f.Fd(), unix.F_SETLK, &lk))
}

func TestUnmountBusy(t *testing.T) {
	m, _ := mountNode(t, memfs.NewStore().NewNode(), Options{})
	f, err := os.Create(filepath.Join(m.Dir(), "f"))
	require.NoError(t, err)
	require.ErrorIs(t, m.Unmount(), ErrBusy)
	_, err = f.Write([]byte("still there"))
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.NoError(t, m.Unmount())
	require.NoError(t, m.Unmount(), "again")
	require.NoError(t, m.Close())
	entries, err := os.ReadDir(m.Dir())
	require.NoError(t, err)
	require.Empty(t, entries)
}

// TestClose: who still uses the mount is cut off, also out of an operation that waits, and everything is given back.
func TestClose(t *testing.T) {
	for _, detach := range []bool{false, true} {
		s := memfs.NewStore()
		n, g := s.NewNode(), newGate("sync")
		n.Hook = g.hook
		m, _ := mountNode(t, n, Options{})
		f, err := os.Create(filepath.Join(m.Dir(), "f"))
		require.NoError(t, err)
		held, err := os.Create(filepath.Join(m.Dir(), "held"))
		require.NoError(t, err)
		waiting := make(chan error)
		go func() { waiting <- held.Sync() }()
		<-g.arrived
		if detach {
			require.NoError(t, m.Detach())
			_, err = f.Write([]byte("served all the same"))
			require.NoError(t, err)
		}
		within(t, "close", func() { require.NoError(t, m.Close()) })
		within(t, "end of the request", func() { require.Error(t, <-waiting) })
		_, err = f.Write([]byte("x"))
		require.ErrorIs(t, err, syscall.ENOTCONN)
		f.Close()
		held.Close()
		refs, opens, _ := s.Idle()
		require.Zero(t, refs)
		require.Zero(t, opens)
	}
}

// TestUnmountElsewhere: umount(8) by somebody else ends the service just so.
func TestUnmountElsewhere(t *testing.T) {
	s := memfs.NewStore()
	m, _ := mountNode(t, s.NewNode(), Options{})
	require.NoError(t, os.WriteFile(filepath.Join(m.Dir(), "f"), nil, 0o644))
	require.NoError(t, unix.Unmount(m.Dir(), 0))
	within(t, "end of the service", func() { <-m.Done() })
	refs, opens, _ := s.Idle()
	require.Zero(t, refs)
	require.Zero(t, opens)
}

// TestAbortOfAnother: the kernel gives the number of a mount that has ended to another one, which a late abort of the first
// must not hit.
func TestAbortOfAnother(t *testing.T) {
	for seen := range 2 {
		first, _ := mountNode(t, memfs.NewStore().NewNode(), Options{})
		require.NoError(t, unix.Unmount(first.Dir(), 0))
		within(t, "end of the service", func() { <-first.Done() })
		second, _ := mountNode(t, memfs.NewStore().NewNode(), Options{})
		first.device = second.device // the kernel is likely to have done so
		first.ended.Store(seen == 1)
		require.NoError(t, first.Abort())
		require.NoError(t, os.WriteFile(filepath.Join(second.Dir(), "f"), nil, 0o644))
		require.NoError(t, second.Close())
	}
}

// TestServerKilled: the mount of a dead server answers ENOTCONN, is cleared by the next mount, and only then.
func TestServerKilled(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root and /dev/fuse")
	}
	dir := t.TempDir()
	for range 2 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestClientServer$")
		cmd.Env = append(os.Environ(), dirsEnv+"="+dir)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		_, err = out.Read(make([]byte, 1)) // it is mounted
		require.NoError(t, err)
		f, err := os.Create(filepath.Join(dir, "f"))
		require.NoError(t, err)
		require.ErrorIs(t, CleanStale(dir), ErrMounted)
		_, err = New(fusefs.Config{FS: memfs.NewStore().NewNode(), Errno: testErrno}, Options{Dir: dir})
		require.ErrorIs(t, err, ErrMounted)
		require.NoError(t, cmd.Process.Kill())
		require.Error(t, cmd.Wait())
		_, err = f.Write([]byte("x"))
		require.ErrorIs(t, err, syscall.ENOTCONN)
		_, err = os.Stat(dir)
		require.ErrorIs(t, err, syscall.ENOTCONN)
		f.Close()
	}
	m, _ := mountNode(t, memfs.NewStore().NewNode(), Options{Dir: dir})
	require.NoError(t, os.WriteFile(filepath.Join(dir, "f"), nil, 0o644))
	require.NoError(t, m.Unmount())
	require.NoError(t, CleanStale(dir))
	mi, err := findMount(dir)
	require.NoError(t, err)
	require.Nil(t, mi)
}

// TestClientServer is the server of TestServerKilled.
func TestClientServer(t *testing.T) {
	dirs := clientDirs(t)
	_, err := New(fusefs.Config{FS: memfs.NewStore().NewNode(), Errno: testErrno}, Options{Dir: dirs[0], Device: "memfs"})
	require.NoError(t, err)
	os.Stdout.WriteString("!")
	select {}
}

func TestMountPoint(t *testing.T) {
	dir := t.TempDir()
	mount := func(d string) error {
		_, err := New(fusefs.Config{FS: memfs.NewStore().NewNode(), Errno: testErrno}, Options{Dir: d})
		return err
	}
	require.ErrorIs(t, mount(filepath.Join(dir, "none")), os.ErrNotExist)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "f"), nil, 0o644))
	require.ErrorContains(t, mount(filepath.Join(dir, "f")), "not a directory")

	odd := filepath.Join(dir, "a b\\c\tü,x")
	require.NoError(t, os.Mkdir(odd, 0o755))
	require.NoError(t, os.Symlink(odd, filepath.Join(dir, "link")))
	m, _ := mountNode(t, memfs.NewStore().NewNode(), Options{Dir: filepath.Join(dir, "link")})
	require.Equal(t, odd, m.Dir())
	require.ErrorIs(t, mount(odd), ErrMounted)
	b, err := os.ReadFile(filepath.Join("/sys/class/bdi", m.device, "read_ahead_kb"))
	require.NoError(t, err)
	require.Equal(t, "1024", strings.TrimSpace(string(b)))
}
