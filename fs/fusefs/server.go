package fusefs

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// DefaultAttrValid is how long the kernel may keep attributes it was told under a lock.
const DefaultAttrValid = time.Hour

// Config says what a Server serves.
type Config struct {
	FS Filesystem
	// Errno is the one table from errors to errnos, fs.Errno.
	Errno func(error) syscall.Errno
	// Now is the time of utimensat's UTIME_NOW; nil: time.Now.
	Now func() time.Time
	Log *slog.Logger // nil: slog.Default()
	// AttrValid bounds the life of attributes in the kernel; 0: DefaultAttrValid.
	AttrValid time.Duration
	// Killed reports whether a thread is being killed, so that its request may be given up; nil: asks /proc.
	Killed func(tid uint32) bool
}

// Server maps the requests of one kernel connection to a Filesystem. It knows nothing of the transport.
type Server struct {
	cfg     Config
	kernel  atomic.Pointer[Kernel]
	nodes   nodes
	handles handles
	calls   calls
	running sync.WaitGroup
	ended   atomic.Bool // the connection is gone
}

// New makes a Server. Connect must be called before the first request is handled.
func New(cfg Config) *Server {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Killed == nil {
		cfg.Killed = killed
	}
	if cfg.AttrValid == 0 {
		cfg.AttrValid = DefaultAttrValid
	}
	s := &Server{cfg: cfg}
	s.nodes.init(cfg.FS.Root())
	s.calls.init()
	return s
}

// Connect tells the filesystem where its notifications go from now on.
func (s *Server) Connect(k Kernel) {
	s.kernel.Store(&k)
	s.cfg.FS.SetNotifier(s)
}

// Close ends the service. The transport calls it once, after the kernel has closed or aborted the connection: it
// cancels what is running, waits for it, closes the files that are still open and gives all references back. No
// Handle may begin afterwards.
func (s *Server) Close() {
	s.End()
	s.running.Wait()
	for _, h := range s.handles.drain() {
		s.release(context.Background(), h)
	}
	s.nodes.drain(s.cfg.FS.Forget)
}

// End says that the connection is gone: nobody waits any more for the requests in flight, which are cancelled, and the
// kernel has nothing left to invalidate. A transport calls it as soon as it knows, and Close when all Handles are back.
func (s *Server) End() {
	s.ended.Store(true)
	s.calls.cancelAll()
}

// Handle serves one request and answers it through reply, before it returns. It may block as long as the operation
// does; the transport must go on reading requests meanwhile (trap 1).
func (s *Server) Handle(req *Request, reply Reply) {
	s.running.Add(1)
	defer s.running.Done()
	switch req.Op {
	case OpForget, OpBatchForget:
		s.forget(req)
		reply.None()
		return
	case OpInterrupt:
		s.interruptOp(req, reply)
		return
	case OpDestroy:
		reply.Error(0)
		return
	}
	c := &call{s: s, req: req, reply: reply}
	s.calls.add(c)
	err := c.run()
	s.calls.remove(req.ID)
	switch {
	case !c.answered.Load():
		if err == nil {
			err = errNoAnswer
			s.cfg.Log.Error("fuse: operation ended without an answer", "op", req.Op, "node", req.Node)
		}
		c.answered.Store(true)
		reply.Error(s.errno(c, err))
	case err != nil:
		s.cfg.Log.Error("fuse: operation answered and then failed", "op", req.Op, "node", req.Node, "error", err)
	}
}

var (
	errNoAnswer = errors.New("operation ended without an answer")
	errPanic    = errors.New("operation panicked")
)

// run executes the operation; a panic costs the caller an EIO, not the mount.
func (c *call) run() (err error) {
	defer func() {
		if p := recover(); p != nil {
			c.s.cfg.Log.Error("fuse: panic in operation", "op", c.req.Op, "node", c.req.Node, "panic", p,
				"stack", string(debug.Stack()))
			err = errPanic
		}
	}()
	if int(c.req.Op) >= len(operations) || operations[c.req.Op] == nil {
		return syscall.ENOSYS
	}
	return operations[c.req.Op](c)
}

// operations answer the request themselves if they return nil.
var operations = [...]func(*call) error{
	OpLookup:     (*call).lookup,
	OpGetattr:    (*call).getattr,
	OpSetattr:    (*call).setattr,
	OpReadlink:   (*call).readlink,
	OpSymlink:    (*call).symlink,
	OpMknod:      (*call).mknod,
	OpMkdir:      (*call).mkdir,
	OpUnlink:     (*call).unlink,
	OpRmdir:      (*call).rmdir,
	OpRename:     (*call).rename,
	OpRename2:    (*call).rename,
	OpLink:       (*call).link,
	OpOpen:       (*call).open,
	OpCreate:     (*call).create,
	OpRead:       (*call).read,
	OpWrite:      (*call).write,
	OpFsync:      (*call).fsync,
	OpFallocate:  (*call).fallocate,
	OpRelease:    (*call).release,
	OpOpendir:    (*call).opendir,
	OpReaddir:    (*call).readdir,
	OpFsyncdir:   (*call).fsyncdir,
	OpReleasedir: (*call).release,
	OpStatfs:     (*call).statfs,
}

// errno is what the kernel is told. It refuses numbers outside 1..511, and the waiting process would hang.
func (s *Server) errno(c *call, err error) syscall.Errno {
	if errors.Is(err, context.Canceled) && c.Err() != nil {
		return syscall.EINTR
	}
	e, ok := err.(syscall.Errno)
	if !ok && err != errPanic && err != errNoAnswer {
		e = s.cfg.Errno(err)
	}
	if e == 0 || e > 511 {
		return syscall.EIO
	}
	return e
}

func (s *Server) forget(req *Request) {
	for _, f := range req.Forget {
		ino := s.ino(f.Node)
		if n := s.nodes.forget(ino, f.N); n > 0 {
			s.cfg.FS.Forget(ino, n)
		}
	}
}

// release closes what a handle stands for. Nobody learns of an error: the process that closed has gone on.
func (s *Server) release(ctx context.Context, h *handle) {
	if h.dir != nil {
		h.dir.Release()
		return
	}
	if h.cached {
		s.nodes.addReader(h.ino, -1)
	}
	if err := h.file.Release(ctx); err != nil {
		s.cfg.Log.Error("fuse: close of a file", "node", h.ino, "error", err)
	}
}
