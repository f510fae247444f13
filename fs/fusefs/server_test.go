package fusefs_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/fs"
	"github.com/covol/covol/fs/fusefs"
	"github.com/covol/covol/fs/fusefs/memfs"
)

// answer is a Reply that keeps what it is told.
type answer struct {
	mu    sync.Mutex
	n     int
	errno syscall.Errno
	body  []byte
	none  bool
	buf   []byte
}

func (a *answer) got(e syscall.Errno, body []byte, none bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.n++
	a.errno, a.body, a.none = e, append([]byte{}, body...), none
}

func (a *answer) Error(e syscall.Errno) { a.got(e, nil, false) }
func (a *answer) Body(p []byte)         { a.got(0, p, false) }
func (a *answer) Data(n int)            { a.got(0, a.buf[:n], false) }
func (a *answer) None()                 { a.got(0, nil, true) }
func (a *answer) Buffer(n int) []byte {
	a.buf = make([]byte, n)
	return a.buf
}

// kernel is a Kernel that knows nodes as the test says.
type kernel struct {
	mu     sync.Mutex
	calls  []call
	answer func(node uint64, n int) error
}

type call struct {
	node      uint64
	off, size int64
}

func (k *kernel) InvalidateNode(node uint64, off, size int64) error {
	k.mu.Lock()
	k.calls = append(k.calls, call{node, off, size})
	n, answer := len(k.calls), k.answer
	k.mu.Unlock()
	if answer != nil {
		return answer(node, n)
	}
	return nil
}

func (k *kernel) take() []call {
	k.mu.Lock()
	defer k.mu.Unlock()
	c := k.calls
	k.calls = nil
	return c
}

// rig is a server without a kernel.
type rig struct {
	t    *testing.T
	s    *fusefs.Server
	fs   fusefs.Filesystem
	kern *kernel
	id   uint64
}

var errTable = errors.New("in the table")

func newRig(t *testing.T, f fusefs.Filesystem) *rig {
	r := &rig{t: t, fs: f, kern: &kernel{}}
	r.s = fusefs.New(fusefs.Config{FS: f, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Errno: func(err error) syscall.Errno {
			var e syscall.Errno
			switch {
			case errors.As(err, &e):
				return e
			case errors.Is(err, errTable):
				return syscall.ENOSPC
			}
			return 4000
		},
		Killed: func(tid uint32) bool { return tid == killedTID.Load() }})
	r.s.Connect(r.kern)
	return r
}

func (r *rig) do(req fusefs.Request) *answer {
	r.t.Helper()
	r.id += 2
	req.ID = r.id
	a := &answer{}
	r.s.Handle(&req, a)
	require.Equal(r.t, 1, a.n, "answers to op %d", req.Op)
	return a
}

func (r *rig) ok(req fusefs.Request) []byte {
	r.t.Helper()
	a := r.do(req)
	require.Zero(r.t, a.errno)
	require.False(r.t, a.none)
	return a.body
}

func u64(b []byte, at int) uint64 {
	var v uint64
	for i := range 8 {
		v |= uint64(b[at+i]) << (8 * i)
	}
	return v
}

// create makes a file and returns its node and handle.
func (r *rig) create(name string, flags uint32) (node, handle uint64) {
	r.t.Helper()
	b := r.ok(fusefs.Request{Op: fusefs.OpCreate, Node: fusefs.RootNode, Name: name, Mode: 0o644, Flags: flags})
	require.Len(r.t, b, 128+16)
	return u64(b, 0), u64(b, 128)
}

func TestReplySizes(t *testing.T) {
	r := newRig(t, memfs.NewStore().NewNode())
	node, handle := r.create("f", syscall.O_RDWR)
	for want, req := range map[int]fusefs.Request{
		128: {Op: fusefs.OpLookup, Node: fusefs.RootNode, Name: "f"},
		104: {Op: fusefs.OpGetattr, Node: node},
		16:  {Op: fusefs.OpOpen, Node: node},
		80:  {Op: fusefs.OpStatfs, Node: fusefs.RootNode},
		8:   {Op: fusefs.OpWrite, Node: node, Handle: handle, Data: []byte("data")},
		0:   {Op: fusefs.OpFsync, Node: node, Handle: handle},
	} {
		require.Len(t, r.ok(req), want, "op %d", req.Op)
	}
	require.Equal(t, "ata", string(r.ok(fusefs.Request{Op: fusefs.OpRead, Node: node, Handle: handle, Offset: 1, Length: 50})))
	b := r.ok(fusefs.Request{Op: fusefs.OpOpendir, Node: fusefs.RootNode})
	b = r.ok(fusefs.Request{Op: fusefs.OpReaddir, Node: fusefs.RootNode, Handle: u64(b, 0), Length: 4096})
	require.Len(t, b, 3*32)
	require.EqualValues(t, 2, u64(b, 32+8), "the cookie of ..")
	require.Equal(t, "f\x00", string(b[64+24:64+26]))
}

// TestAttrWire checks the fields of fuse_attr one by one.
func TestAttrWire(t *testing.T) {
	n := memfs.NewStore().NewNode()
	r := newRig(t, n)
	node, _ := r.create("f", 0)
	at, mt := time.Unix(-5, 7), time.Unix(1<<33, 999999999)
	b := r.ok(fusefs.Request{Op: fusefs.OpSetattr, Node: node, Mode: 0o101755, UID: 11, GID: 22, Size: 12345, Atime: at, Mtime: mt,
		Valid: fusefs.SetMode | fusefs.SetUID | fusefs.SetGID | fusefs.SetSize | fusefs.SetAtime | fusefs.SetMtime})
	require.Zero(t, u64(b, 0), "SETATTR's attributes are not to be kept")
	b = r.ok(fusefs.Request{Op: fusefs.OpGetattr, Node: node})
	require.EqualValues(t, 3600, u64(b, 0))
	a := b[16:]
	require.Equal(t, node, u64(a, 0))
	require.EqualValues(t, 12345, u64(a, 8))
	require.Equal(t, int64(-5), int64(u64(a, 24)))
	require.EqualValues(t, 1<<33, u64(a, 32))
	require.EqualValues(t, 7|999999999<<32, u64(a, 48))
	require.EqualValues(t, syscall.S_IFREG|0o1755, uint32(u64(a, 60)), "the sticky bit, too")
	require.EqualValues(t, 11|22<<32, u64(a, 68))
}

func TestValidity(t *testing.T) {
	r := newRig(t, memfs.NewStore().NewNode())
	root := fusefs.RootNode
	node, _ := r.create("f", 0)
	for _, req := range []fusefs.Request{
		{Op: fusefs.OpCreate, Node: root, Name: "c"}, {Op: fusefs.OpMknod, Node: root, Name: "n", Mode: syscall.S_IFIFO},
		{Op: fusefs.OpMkdir, Node: root, Name: "d"}, {Op: fusefs.OpSymlink, Node: root, Name: "s", Target: "x"},
		{Op: fusefs.OpLink, Node: root, Name: "l", NewNode: node},
	} {
		b := r.ok(req)
		require.Zero(t, u64(b, 16), "op %d: the name", req.Op)
		require.Zero(t, u64(b, 24), "op %d: the attributes", req.Op)
	}
	b := r.ok(fusefs.Request{Op: fusefs.OpLookup, Node: root, Name: "f"})
	require.Zero(t, u64(b, 16))
	require.EqualValues(t, 3600, u64(b, 24))
}

// TestRootNumber: the kernel's 1 is the root, and an inode that is really 1 is not mistaken for it.
func TestRootNumber(t *testing.T) {
	n := memfs.NewStore().NewNode()
	r := newRig(t, n)
	a := r.ok(fusefs.Request{Op: fusefs.OpGetattr, Node: fusefs.RootNode})
	require.EqualValues(t, n.Root(), u64(a, 16))
	require.Equal(t, syscall.ESTALE, r.do(fusefs.Request{Op: fusefs.OpGetattr, Node: n.Root()}).errno)
}

func TestHandles(t *testing.T) {
	r := newRig(t, memfs.NewStore().NewNode())
	node, h := r.create("f", syscall.O_RDWR)
	read := fusefs.Request{Op: fusefs.OpRead, Node: node, Handle: h, Length: 10}
	r.ok(read)
	r.ok(fusefs.Request{Op: fusefs.OpRelease, Handle: h})
	require.Equal(t, syscall.EBADF, r.do(read).errno)
	require.Equal(t, syscall.EBADF, r.do(fusefs.Request{Op: fusefs.OpRelease, Handle: h}).errno)
	seen := map[uint64]bool{h: true}
	for range 100 {
		h2 := u64(r.ok(fusefs.Request{Op: fusefs.OpOpen, Node: node}), 0)
		require.False(t, seen[h2], "a number is given once")
		require.EqualValues(t, uint32(h), uint32(h2), "the table stays dense")
		seen[h2] = true
		require.Equal(t, syscall.EBADF, r.do(read).errno)
		r.ok(fusefs.Request{Op: fusefs.OpRelease, Handle: h2})
	}
	d := u64(r.ok(fusefs.Request{Op: fusefs.OpOpendir, Node: fusefs.RootNode}), 0)
	require.Equal(t, syscall.EBADF, r.do(fusefs.Request{Op: fusefs.OpRead, Handle: d, Length: 1}).errno, "a directory's")
	f := u64(r.ok(fusefs.Request{Op: fusefs.OpOpen, Node: node}), 0)
	require.Equal(t, syscall.EBADF, r.do(fusefs.Request{Op: fusefs.OpReaddir, Handle: f, Length: 4096}).errno, "a file's")
	for _, wild := range []uint64{0, 1 << 63, 1<<64 - 1, f + 1<<32} {
		require.Equal(t, syscall.EBADF, r.do(fusefs.Request{Op: fusefs.OpWrite, Handle: wild}).errno)
	}
}

func TestBadArguments(t *testing.T) {
	r := newRig(t, memfs.NewStore().NewNode())
	node, h := r.create("f", syscall.O_RDWR)
	d := u64(r.ok(fusefs.Request{Op: fusefs.OpOpendir, Node: fusefs.RootNode}), 0)
	for _, req := range []fusefs.Request{
		{Op: fusefs.OpRead, Handle: h, Length: -1}, {Op: fusefs.OpRead, Handle: h, Length: 1 << 40},
		{Op: fusefs.OpRead, Handle: h, Offset: -1}, {Op: fusefs.OpWrite, Handle: h, Offset: -1},
		{Op: fusefs.OpFallocate, Handle: h}, {Op: fusefs.OpFallocate, Handle: h, Offset: -1, Length: 1},
		{Op: fusefs.OpReaddir, Handle: d, Length: -1}, {Op: fusefs.OpReaddir, Handle: d, Length: 20},
	} {
		req.Node = node
		assert.Equal(t, syscall.EINVAL, r.do(req).errno, "op %d", req.Op)
	}
	for _, op := range []fusefs.Op{0, 7, 22, 46, 4096, 1<<32 - 1} {
		assert.Equal(t, syscall.ENOSYS, r.do(fusefs.Request{Op: op}).errno, "op %d", op)
	}
}

func TestErrnos(t *testing.T) {
	n := memfs.NewStore().NewNode()
	var fail error
	n.Hook = func(context.Context, string, fs.Ino) error { return fail }
	r := newRig(t, n)
	for _, c := range []struct {
		err  error
		want syscall.Errno
	}{
		{syscall.EDQUOT, syscall.EDQUOT}, {errTable, syscall.ENOSPC}, {errors.New("else"), syscall.EIO},
		{syscall.Errno(0), syscall.EIO}, {syscall.Errno(512), syscall.EIO}, {syscall.Errno(511), 511},
		{context.Canceled, syscall.EIO}, // nobody interrupted
	} {
		fail = c.err
		require.Equal(t, c.want, r.do(fusefs.Request{Op: fusefs.OpGetattr, Node: 1}).errno, "%v", c.err)
	}
}

// TestForget: references are counted and given back once, whatever the kernel claims.
func TestForget(t *testing.T) {
	s := memfs.NewStore()
	r := newRig(t, s.NewNode())
	node, h := r.create("f", 0)
	for range 4 {
		r.ok(fusefs.Request{Op: fusefs.OpLookup, Node: fusefs.RootNode, Name: "f"})
	}
	refs := func() uint64 {
		n, _, _ := s.Idle()
		return n
	}
	require.EqualValues(t, 5, refs())
	forget := func(f ...fusefs.Forget) {
		require.True(t, r.do(fusefs.Request{Op: fusefs.OpBatchForget, Forget: f}).none)
	}
	forget(fusefs.Forget{Node: node, N: 2}, fusefs.Forget{Node: 99999, N: 7}, fusefs.Forget{Node: fusefs.RootNode, N: 1})
	require.EqualValues(t, 3, refs())
	forget(fusefs.Forget{Node: node, N: 100})
	require.Zero(t, refs())
	forget(fusefs.Forget{Node: node, N: 1})

	r.ok(fusefs.Request{Op: fusefs.OpLookup, Node: fusefs.RootNode, Name: "f"})
	r.ok(fusefs.Request{Op: fusefs.OpUnlink, Node: fusefs.RootNode, Name: "f"})
	_, opens, orphans := s.Idle()
	require.Equal(t, []int{1, 1}, []int{opens, orphans}, "open and known, so it lives")
	_ = h
	r.s.Close()
	left, opens, orphans := s.Idle()
	require.Zero(t, left)
	require.Zero(t, opens)
	require.Zero(t, orphans)
}

// killedTID is the thread that is being killed.
var killedTID atomic.Uint32

// TestInterruptOfTheLiving: a signal that does not end the process changes nothing, until one comes that does.
func TestInterruptOfTheLiving(t *testing.T) {
	n := memfs.NewStore().NewNode()
	arrived, open := make(chan struct{}), make(chan struct{})
	n.Hook = func(ctx context.Context, op string, _ fs.Ino) error {
		if op != "getattr" {
			return nil
		}
		arrived <- struct{}{}
		select {
		case <-open:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	r := newRig(t, n)
	get := func() (*answer, chan struct{}) {
		a, done := &answer{}, make(chan struct{})
		go func() {
			r.s.Handle(&fusefs.Request{Op: fusefs.OpGetattr, Node: 1, ID: 100, Caller: fs.Caller{PID: 77}}, a)
			close(done)
		}()
		<-arrived
		require.True(t, r.do(fusefs.Request{Op: fusefs.OpInterrupt, Interrupted: 100}).none)
		return a, done
	}
	a, done := get()
	open <- struct{}{}
	<-done
	require.Zero(t, a.errno)
	a, done = get()
	killedTID.Store(77)
	defer killedTID.Store(0)
	<-done
	require.Equal(t, syscall.EINTR, a.errno)
}

func TestInterruptAndEnd(t *testing.T) {
	n := memfs.NewStore().NewNode()
	arrived := make(chan struct{})
	n.Hook = func(ctx context.Context, op string, _ fs.Ino) error {
		if op != "getattr" {
			return nil
		}
		arrived <- struct{}{}
		<-ctx.Done()
		require.ErrorIs(t, ctx.Err(), context.Canceled)
		<-ctx.Done() // for all who ask, before and after
		return ctx.Err()
	}
	r := newRig(t, n)
	require.Equal(t, syscall.EAGAIN, r.do(fusefs.Request{Op: fusefs.OpInterrupt, Interrupted: 100}).errno, "not there yet")
	for _, stop := range []func(){
		func() {
			killedTID.Store(78)
			require.True(t, r.do(fusefs.Request{Op: fusefs.OpInterrupt, Interrupted: 100}).none)
			killedTID.Store(0)
		},
		func() { r.s.End() },
	} {
		a, done := &answer{}, make(chan struct{})
		go func() {
			r.s.Handle(&fusefs.Request{Op: fusefs.OpGetattr, Node: 1, ID: 100, Caller: fs.Caller{PID: 78}}, a)
			close(done)
		}()
		<-arrived
		stop()
		<-done
		require.Equal(t, syscall.EINTR, a.errno)
		require.Equal(t, 1, a.n)
	}
	require.Equal(t, syscall.EAGAIN, r.do(fusefs.Request{Op: fusefs.OpInterrupt, Interrupted: 100}).errno, "finished")
}

// rude breaks the contract of emit.
type rude struct {
	*memfs.Node
	emits int
	err   error
	panic bool
}

func (f *rude) Getattr(_ context.Context, _ fs.Ino, emit func(fs.Attr)) error {
	for range f.emits {
		emit(fs.Attr{Mode: syscall.S_IFREG})
	}
	if f.panic {
		panic("deliberate")
	}
	return f.err
}

func (f *rude) Lookup(ctx context.Context, _ fs.Caller, _ fs.Ino, _ string, emit func(fs.Attr)) error {
	return f.Getattr(ctx, 0, emit)
}

// TestOneAnswer: whatever the filesystem does, the kernel hears exactly once.
func TestOneAnswer(t *testing.T) {
	for _, f := range []*rude{
		{emits: 0}, {emits: 0, panic: true}, {emits: 1}, {emits: 2}, {emits: 1, err: errTable}, {emits: 3, panic: true},
	} {
		f.Node = memfs.NewStore().NewNode()
		r := newRig(t, f)
		for _, op := range []fusefs.Op{fusefs.OpGetattr, fusefs.OpLookup} {
			want := syscall.EIO
			if f.emits > 0 {
				want = 0
			}
			require.Equal(t, want, r.do(fusefs.Request{Op: op, Node: 1}).errno, "%+v", f)
		}
	}
}
