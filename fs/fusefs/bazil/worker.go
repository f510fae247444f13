package bazil

import (
	"errors"
	"io"
	"runtime"
	"sync"
	"syscall"

	"bazil.org/fuse"
)

// workers are the goroutines that read and serve requests.
type workers struct {
	m    *Mount
	max  int // as many at most
	keep int // idle ones beyond this end

	mu sync.Mutex
	// GUARDED_BY(mu)
	idle int // reading, or about to
	// GUARDED_BY(mu)
	total int
	// GUARDED_BY(mu)
	peak int
	// GUARDED_BY(mu)
	ended bool // the connection is gone, nobody starts any more
	gone  chan struct{}
}

func newWorkers(m *Mount, limit int) *workers {
	return &workers{m: m, max: limit, keep: min(4, max(2, runtime.GOMAXPROCS(0))), gone: make(chan struct{})}
}

func (w *workers) start() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.idle < 2 {
		w.spawn()
	}
}

// spawn adds an idle worker. The caller holds mu.
func (w *workers) spawn() {
	w.idle++
	w.total++
	w.peak = max(w.peak, w.total)
	go w.run()
}

// busy is called by a worker that has a request; it leaves another one reading.
func (w *workers) busy() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.idle--
	if w.idle == 0 && w.total < w.max && !w.ended {
		w.spawn()
	}
}

// again reports whether a worker that is done shall read on. It is counted either way.
func (w *workers) again() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.idle >= w.keep {
		w.leave()
		return false
	}
	w.idle++
	return true
}

// end counts out an idle worker that has met the end of the connection.
func (w *workers) end() {
	w.mu.Lock()
	w.idle--
	first := !w.ended
	w.ended = true
	w.leave()
	w.mu.Unlock()
	if first {
		// Whoever waits for a lock on behalf of a process that is no longer waiting may stop.
		w.m.server.End()
	}
}

// leave counts a worker out. The caller holds mu.
func (w *workers) leave() {
	w.total--
	if w.total == 0 {
		close(w.gone)
	}
}

func (w *workers) count() (now, peak int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.total, w.peak
}

func (w *workers) run() {
	for {
		req, err := w.m.conn.ReadRequest()
		if err != nil {
			if w.m.goOn(err) {
				continue
			}
			w.end()
			return
		}
		w.busy()
		w.m.serve(req)
		if !w.again() {
			return
		}
	}
}

// goOn reports whether reading may be tried again after err.
func (m *Mount) goOn(err error) bool {
	var errno syscall.Errno
	switch {
	case err == io.EOF: // ENODEV: unmounted or aborted
		m.ended.Store(true)
		return false
	case !errors.As(err, &errno):
		// A request the library cannot parse. Its process will wait until the mount ends: better than ending it.
		m.log.Error("fuse: request not understood", "error", err)
		return true
	case errno == syscall.EINTR || errno == syscall.EAGAIN || errno == syscall.ENOENT:
		return true
	}
	m.log.Error("fuse: connection lost", "mount", m.dir, "error", err)
	return false
}

// serve answers one request.
func (m *Mount) serve(req fuse.Request) {
	if m.probing.Load() && m.serveProbe(req) {
		return
	}
	q, ok := translate(req)
	if !ok {
		// ENOSYS makes the kernel stop asking for most of them: xattrs, ACCESS, FLUSH, POLL, LSEEK, IOCTL, STATX ...
		req.RespondError(syscall.ENOSYS)
		return
	}
	r := &reply{hdr: req.Hdr()}
	m.server.Handle(&q, r)
	r.free()
}
