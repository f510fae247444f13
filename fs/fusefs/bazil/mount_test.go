package bazil

import (
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/fs/fusefs"
	"github.com/covol/covol/fs/fusefs/memfs"
	"github.com/covol/covol/fs/posixtest"
)

// testErrno stands for fs.Errno: memfs speaks errnos.
func testErrno(err error) syscall.Errno {
	if e, ok := err.(syscall.Errno); ok {
		return e
	}
	return syscall.EIO
}

// logWatch fails the test for every line of level error that it does not expect.
type logWatch struct {
	t  testing.TB
	mu sync.Mutex
	// GUARDED_BY(mu)
	lines []string
}

func (w *logWatch) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines = append(w.lines, string(p))
	return len(p), nil
}

func (w *logWatch) taken() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	l := w.lines
	w.lines = nil
	return l
}

func (w *logWatch) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelError}))
}

// mountNode mounts a node of the store and unmounts it at the end of the test, which must leave nothing behind.
func mountNode(t testing.TB, n *memfs.Node, o Options) (*Mount, *logWatch) {
	t.Helper()
	if _, err := os.Stat("/dev/fuse"); err != nil || os.Geteuid() != 0 {
		t.Skip("needs root and /dev/fuse")
	}
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	o.Device = "memfs"
	w := &logWatch{t: t}
	m, err := New(fusefs.Config{FS: n, Errno: testErrno, Log: w.logger()}, o)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, m.Close())
		assert.Empty(t, w.taken(), "errors logged")
	})
	return m, w
}

// mountFS mounts any filesystem.
func mountFS(t testing.TB, f fusefs.Filesystem) *Mount {
	t.Helper()
	if _, err := os.Stat("/dev/fuse"); err != nil || os.Geteuid() != 0 {
		t.Skip("needs root and /dev/fuse")
	}
	w := &logWatch{t: t}
	m, err := New(fusefs.Config{FS: f, Errno: testErrno, Log: w.logger()}, Options{Dir: t.TempDir(), Device: "memfs"})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, m.Close())
		assert.Empty(t, w.taken(), "errors logged")
	})
	return m
}

// mountStore mounts a new store as many times as wanted and checks in the end that all was given back.
func mountStore(t testing.TB, n int) (*memfs.Store, []string) {
	t.Helper()
	s := memfs.NewStore()
	t.Cleanup(func() {
		refs, opens, orphans := s.Idle()
		assert.Zero(t, refs, "references not taken back")
		assert.Zero(t, opens, "files not closed")
		assert.Zero(t, orphans, "unlinked inodes left")
	})
	var dirs []string
	for range n {
		m, _ := mountNode(t, s.NewNode(), Options{AllowDev: true, AllowSUID: true})
		dirs = append(dirs, m.Dir())
	}
	return s, dirs
}

// client runs a test function of this binary in a process of its own on the given directories. A process that maps
// files of its own mount can stop its own server: a page fault keeps the runtime's processor.
func client(t *testing.T, test string, dirs ...string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^"+test+"$", "-test.timeout=100s")
	cmd.Env = append(os.Environ(), dirsEnv+"="+strings.Join(dirs, ":"))
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
}

const dirsEnv = "COVOL_TEST_DIRS"

// clientDirs are the mounts that client was given; the test is skipped when it was not run by client.
func clientDirs(t *testing.T) []string {
	t.Helper()
	dirs := os.Getenv(dirsEnv)
	if dirs == "" {
		t.Skip("runs as the client of another test")
	}
	return strings.Split(dirs, ":")
}

func TestPosix(t *testing.T) {
	_, dirs := mountStore(t, 1)
	client(t, "TestClientPosix", dirs...)
}

func TestClientPosix(t *testing.T) {
	dirs := clientDirs(t)
	for name, fn := range posixtest.All {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(dirs[0], name)
			require.NoError(t, os.Mkdir(dir, 0o755))
			fn(t, dir)
		})
	}
}

func TestPosixPair(t *testing.T) {
	_, dirs := mountStore(t, 2)
	client(t, "TestClientPosixPair", dirs...)
}

func TestClientPosixPair(t *testing.T) {
	dirs := clientDirs(t)
	for name, fn := range posixtest.AllPair {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, os.Mkdir(filepath.Join(dirs[0], name), 0o755))
			fn(t, filepath.Join(dirs[0], name), filepath.Join(dirs[1], name))
		})
	}
}
