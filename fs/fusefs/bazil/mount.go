package bazil

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"time"

	"bazil.org/fuse"
	"golang.org/x/sys/unix"

	"github.com/covol/covol/fs/fusefs"
)

// Defaults of Options. Both bounds are high because of trap 5: a page that the kernel wants read must get through
// to the server however many direct requests are waiting for the demotion that waits for that page.
const (
	DefaultMaxBackground = 4096
	DefaultMaxWorkers    = 16384
	DefaultReadAhead     = 1 << 20
)

// Options say how to mount.
type Options struct {
	Dir           string // an existing directory
	Device        string // what /proc/mounts shows as the source
	ReadOnly      bool
	OnlyUser      bool   // refuse processes of other users than the one that mounts
	AllowDev      bool   // let device files work
	AllowSUID     bool   // let set-user-ID programs work
	MaxBackground uint16 // asynchronous requests the kernel sends at a time; 0: DefaultMaxBackground
	MaxWorkers    int    // requests served at a time; 0: DefaultMaxWorkers
	ReadAhead     int    // bytes; 0: DefaultReadAhead
}

// Mount is a mounted filesystem.
type Mount struct {
	dir     string
	conn    *fuse.Conn
	server  *fusefs.Server
	log     *slog.Logger
	workers *workers
	probing atomic.Bool
	ended   atomic.Bool // a reader has seen the end of the connection
	device  string      // major:minor of the mount, names it under /sys
	done    chan struct{}
}

// kernel sends notifications.
type kernel struct{ conn *fuse.Conn }

// InvalidateNode implements fusefs.Kernel.
func (k kernel) InvalidateNode(node uint64, off, size int64) error {
	err := k.conn.InvalidateNode(fuse.NodeID(node), off, size)
	if errors.Is(err, fuse.ErrNotCached) {
		return fusefs.ErrNotCached
	}
	return err
}

// New mounts cfg.FS and serves it until it is unmounted, by Unmount, Close or anybody else. A mount that a dead
// process has left at the same place is cleared first.
func New(cfg fusefs.Config, o Options) (*Mount, error) {
	dir, err := mountPoint(o.Dir)
	if err != nil {
		return nil, err
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	conn, err := fuse.Mount(dir, mountOptions(o)...)
	if err != nil {
		return nil, mountError(dir, err)
	}
	m := &Mount{dir: dir, conn: conn, server: fusefs.New(cfg), log: cfg.Log, done: make(chan struct{})}
	m.workers = newWorkers(m, or(o.MaxWorkers, DefaultMaxWorkers))
	m.server.Connect(kernel{conn})
	m.workers.start()
	go m.finish()
	mi, err := findMount(dir)
	if err != nil || mi == nil {
		return nil, errors.Join(fmt.Errorf("mount %s: not in the list of mounts", dir), err, unmount(dir, unix.MNT_DETACH))
	}
	m.device = mi.device
	m.setReadAhead(or(o.ReadAhead, DefaultReadAhead))
	if err := m.probe(); err != nil {
		return nil, errors.Join(fmt.Errorf("mount %s: first request: %w", dir, err), m.Close())
	}
	return m, nil
}

func mountOptions(o Options) []fuse.MountOption {
	opts := []fuse.MountOption{
		fuse.FSName(o.Device), fuse.Subtype(subtype), fuse.DefaultPermissions(), fuse.AsyncRead(),
		fuse.MaxReadahead(uint32(or(o.ReadAhead, DefaultReadAhead))),
		fuse.MaxBackground(or(o.MaxBackground, DefaultMaxBackground)),
	}
	for _, f := range []struct {
		on  bool
		opt fuse.MountOption
	}{
		{o.ReadOnly, fuse.ReadOnly()}, {!o.OnlyUser, fuse.AllowOther()},
		{o.AllowDev, fuse.AllowDev()}, {o.AllowSUID, fuse.AllowSUID()},
	} {
		if f.on {
			opts = append(opts, f.opt)
		}
	}
	return opts
}

func or[T comparable](v, standard T) T {
	var zero T
	if v == zero {
		return standard
	}
	return v
}

// mountPoint checks the place and returns it as /proc/self/mountinfo will show it.
func mountPoint(dir string) (string, error) {
	if err := CleanStale(dir); err != nil {
		return "", err
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("mount point: %w", err)
	}
	abs, err = filepath.EvalSymlinks(abs)
	if err != nil {
		return "", fmt.Errorf("mount point: %w", err)
	}
	fi, err := os.Stat(abs)
	if err != nil {
		return "", fmt.Errorf("mount point: %w", err)
	}
	if !fi.IsDir() {
		return "", fmt.Errorf("mount point %s: not a directory", dir)
	}
	return abs, nil
}

// mountError says what to do about an error of the mount helper, which the library reports as an exit status.
func mountError(dir string, err error) error {
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return fmt.Errorf("mount %s: fusermount3 is missing, install the package fuse3: %w", dir, err)
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("mount %s: %w", dir, err)
	}
	if _, e := os.Stat("/dev/fuse"); e != nil {
		return fmt.Errorf("mount %s: no FUSE in this kernel (modprobe fuse): %w", dir, e)
	}
	return fmt.Errorf("mount %s: %w", dir, err)
}

// Dir is the mount point.
func (m *Mount) Dir() string { return m.dir }

// Protocol is the version of FUSE in use, such as "7.33".
func (m *Mount) Protocol() string { return m.conn.Protocol().String() }

// Workers is how many goroutines serve requests now, and how many did so at most.
func (m *Mount) Workers() (now, peak int) { return m.workers.count() }

// Withdraw makes the kernel forget all that it caches of a filesystem that answers with errors from now on, so that
// programs see them. It reports false if requests that were in flight are not answered within grace.
func (m *Mount) Withdraw(grace time.Duration) bool { return m.server.Withdraw(grace) }

// Done is closed once the mount has ended, whoever ended it, and all files are closed.
func (m *Mount) Done() <-chan struct{} { return m.done }

// finish clears up when the last worker has met the end of the connection.
func (m *Mount) finish() {
	<-m.workers.gone
	m.conn.Close()
	m.server.Close()
	close(m.done)
}
