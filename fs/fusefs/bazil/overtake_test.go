package bazil

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/covol/covol/fs"
	"github.com/covol/covol/fs/fusefs"
	"github.com/covol/covol/fs/fusefs/memfs"
)

// overtaker is a node on which the lock is lost the moment a reply has been written: another node changes the inode's
// mode, and the invalidation races with the process that has been answered.
type overtaker struct {
	*memfs.Node
	other *memfs.Node

	mu sync.Mutex
	// GUARDED_BY(mu)
	op string // the operation after which it happens
	// GUARDED_BY(mu)
	mode uint32
}

var _ fusefs.Filesystem = (*overtaker)(nil)

func (o *overtaker) arm(op string) {
	o.mu.Lock()
	o.op = op
	o.mu.Unlock()
}

// now is the mode that must be seen from now on.
func (o *overtaker) now() uint32 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.mode
}

// after runs an operation and loses the lock. mu is held until then, so that now waits for it.
func (o *overtaker) after(op string, emit func(fs.Attr), run func(emit func(fs.Attr)) error) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.op != op {
		return run(emit)
	}
	o.op = ""
	var ino fs.Ino
	err := run(func(a fs.Attr) { ino = a.Ino; emit(a) })
	if err == nil {
		o.mode = (o.mode + 1) % 0o777
		mode := o.mode
		return o.other.Setattr(context.Background(), fs.Caller{}, ino, fs.SetAttr{Mode: &mode}, func(fs.Attr) {})
	}
	return err
}

func (o *overtaker) Lookup(ctx context.Context, c fs.Caller, p fs.Ino, name string, emit func(fs.Attr)) error {
	return o.after("lookup", emit, func(e func(fs.Attr)) error { return o.Node.Lookup(ctx, c, p, name, e) })
}

func (o *overtaker) Getattr(ctx context.Context, ino fs.Ino, emit func(fs.Attr)) error {
	return o.after("getattr", emit, func(e func(fs.Attr)) error { return o.Node.Getattr(ctx, ino, e) })
}

func (o *overtaker) Setattr(ctx context.Context, c fs.Caller, ino fs.Ino, s fs.SetAttr, emit func(fs.Attr)) error {
	return o.after("setattr", emit, func(e func(fs.Attr)) error { return o.Node.Setattr(ctx, c, ino, s, e) })
}

func (o *overtaker) Link(ctx context.Context, c fs.Caller, ino, p fs.Ino, name string, emit func(fs.Attr)) error {
	return o.after("link", emit, func(e func(fs.Attr)) error { return o.Node.Link(ctx, c, ino, p, name, e) })
}

func (o *overtaker) Create(ctx context.Context, c fs.Caller, p fs.Ino, name string, mode, flags uint32,
	emit func(fs.Attr, fs.File)) error {
	var f fs.File
	return o.after("create", func(a fs.Attr) { emit(a, f) }, func(e func(fs.Attr)) error {
		return o.Node.Create(ctx, c, p, name, mode, flags, func(a fs.Attr, file fs.File) { f = file; e(a) })
	})
}

// TestOvertaken (traps 3 and 4): whichever reply an invalidation follows on the heels, what the reply said is not
// believed after it. Only an open file shows it, since a path is looked up anew.
func TestOvertaken(t *testing.T) {
	const rounds = 300
	for _, op := range []string{"lookup", "getattr", "setattr", "link", "create"} {
		t.Run(op, func(t *testing.T) {
			s := memfs.NewStore()
			o := &overtaker{Node: s.NewNode(), other: s.NewNode()}
			m := mountFS(t, o)
			for i := range rounds {
				name := fmt.Sprint(i)
				fd := overtake(t, o, op, m.Dir(), name)
				want := o.now()
				var st unix.Stat_t
				require.NoError(t, unix.Fstat(fd, &st))
				require.Equal(t, want, st.Mode&0o777, "round %d", i)
				require.NoError(t, unix.Close(fd))
			}
		})
	}
}

// overtake runs one operation that is overtaken and returns the file open.
func overtake(t *testing.T, o *overtaker, op, dir, name string) int {
	path := filepath.Join(dir, name)
	if op != "create" {
		// Made by the other node, so that this kernel has never seen it.
		require.NoError(t, o.other.Mknod(context.Background(), fs.Caller{}, o.Root(), name, unix.S_IFREG|0o644, 0,
			func(a fs.Attr) { o.other.Forget(a.Ino, 0) }))
	}
	if op == "lookup" || op == "create" {
		o.arm(op)
	}
	fd, err := unix.Open(path, unix.O_CREAT|unix.O_RDONLY, 0o644)
	require.NoError(t, err)
	switch op {
	case "getattr":
		require.NoError(t, unix.Fchmod(fd, 0o600))
		o.arm(op)
		require.NoError(t, unix.Fstat(fd, &unix.Stat_t{}))
	case "setattr":
		o.arm(op)
		require.NoError(t, unix.Fchmod(fd, 0o600))
	case "link":
		o.arm(op)
		require.NoError(t, os.Link(path, path+"x"))
	}
	return fd
}
