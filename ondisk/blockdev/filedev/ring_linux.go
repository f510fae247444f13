package filedev

import (
	"runtime"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/covol/covol/ondisk/blockdev"
)

// wakeTag marks the completion of the poll on the wake-up descriptor; others carry their slot's index.
const wakeTag = ^uint64(0)

// ring submits by io_uring.
//
// One goroutine, locked to its thread, owns the kernel's ring and all slots. Submit only puts operations into the
// mailbox and wakes the thread if it sleeps: operations belong to the thread that submits them and would be
// cancelled with it, and the threads of callers come and go.
type ring struct {
	d       *Device
	threads *threads // takes what the ring does not: buffers that must bounce, bad operations

	mu sync.Mutex
	// GUARDED_BY(mu)
	mail []blockdev.Op
	// GUARDED_BY(mu); the thread is in, or about to go into, a wait and must be woken
	asleep bool
	// GUARDED_BY(mu)
	closing bool

	wakeFD int
	done   chan struct{} // closed when the thread has ended

	// The rest belongs to the thread.
	u       *uring
	slots   []slot
	free    []int
	backlog []blockdev.Op
	polling bool
}

// slot is one operation the kernel has.
type slot struct {
	op   blockdev.Op
	pos  int // bytes of op.Buf that went through
	pin  pinned
	busy bool
}

// startRing returns once the ring works, or says why there is none.
func startRing(d *Device, t *threads) (*ring, error) {
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, err
	}
	r := &ring{d: d, threads: t, wakeFD: wake, done: make(chan struct{})}
	ready := make(chan error)
	go r.run(ready)
	if err := <-ready; err != nil {
		_ = unix.Close(wake)
		return nil, err
	}
	return r, nil
}

func (r *ring) name() string { return "io_uring" }

// Submit sorts out what the ring cannot do and mails the rest.
func (r *ring) Submit(ops []blockdev.Op) {
	var others []blockdev.Op
	r.mu.Lock()
	for _, op := range ops {
		if r.suits(op) {
			r.mail = append(r.mail, op)
		} else {
			others = append(others, op)
		}
	}
	wake := r.asleep && len(r.mail) > 0
	if wake {
		r.asleep = false
	}
	r.mu.Unlock()
	if wake {
		r.wake()
	}
	if len(others) > 0 {
		r.threads.Submit(others)
	}
}

// suits reports whether the kernel can take op as it is. Flushes and fua writes that need more than one call, or
// are refused because a fdatasync failed before, are left to the blocking calls.
func (r *ring) suits(op blockdev.Op) bool {
	switch op.Kind {
	case blockdev.OpFlush:
		return r.d.direct && r.d.syncFailed() == nil
	case blockdev.OpRead, blockdev.OpWrite:
		if op.FUA && (!r.d.writesThrough() || r.d.syncFailed() != nil) {
			return false
		}
		return len(op.Buf) > 0 && !r.d.mustBounce(op.Buf) &&
			blockdev.CheckRange(r.d.geo, op.Off, int64(len(op.Buf))) == nil
	}
	return false
}

func (r *ring) wake() {
	one := [8]byte{1}
	for {
		if _, err := unix.Write(r.wakeFD, one[:]); err != unix.EINTR {
			return // EAGAIN: the counter is full, so a wake-up is under way
		}
	}
}

func (r *ring) close() {
	r.mu.Lock()
	r.closing = true
	r.asleep = false
	r.mu.Unlock()
	r.wake()
	<-r.done
	r.threads.close()
	_ = unix.Close(r.wakeFD)
}

func (r *ring) run(ready chan<- error) {
	defer close(r.done)
	runtime.LockOSThread()                              // never unlocked: the thread ends with the goroutine and takes the kernel's state along
	u, err := newUring(uint32(r.d.opts.QueueDepth) + 1) // one is for the poll
	if err != nil {
		ready <- err
		return
	}
	defer u.close()
	r.u = u
	r.slots = make([]slot, r.d.opts.QueueDepth)
	for i := range r.slots {
		r.free = append(r.free, i)
	}
	ready <- nil
	for r.collect() {
		r.start()
		wait := uint32(0)
		if r.mayWait() {
			wait = 1
		}
		if err := u.enter(wait); err != nil {
			// Writes may be in flight in buffers nobody owns any more. The kernel only does this to a program that
			// misuses the ring, and such a node must not go on.
			panic("filedev: " + err.Error())
		}
		u.reap(r.complete)
	}
}

// collect empties the mailbox. It reports false when the ring is closed and nothing is left to do.
func (r *ring) collect() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asleep = false
	if len(r.backlog) == 0 {
		r.backlog, r.mail = r.mail, r.backlog[:0]
	} else {
		r.backlog = append(r.backlog, r.mail...)
		clear(r.mail)
		r.mail = r.mail[:0]
	}
	return !r.closing || len(r.backlog) > 0 || len(r.free) < len(r.slots)
}

// mayWait decides, together with Submit, whether the thread may sleep: only with an empty mailbox, and marked so
// that the next Submit wakes it.
func (r *ring) mayWait() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.mail) > 0 || (r.closing && len(r.free) == len(r.slots)) {
		return false
	}
	r.asleep = true
	return true
}

// start turns the backlog into submissions as far as slots are free.
func (r *ring) start() {
	if !r.polling && r.u.room() > 0 {
		r.polling = true
		r.u.push(sqe{opcode: opPollAdd, fd: int32(r.wakeFD), opFlags: unix.POLLIN, userData: wakeTag})
	}
	n := 0
	for ; n < len(r.backlog) && len(r.free) > 0 && r.u.room() > 0; n++ {
		op := r.backlog[n]
		r.backlog[n] = blockdev.Op{}
		if !op.MayBegin() {
			op.Done(blockdev.ErrNotBegun)
			continue
		}
		i := r.free[len(r.free)-1]
		r.free = r.free[:len(r.free)-1]
		r.slots[i] = slot{op: op, busy: true}
		r.push(i)
	}
	r.backlog = r.backlog[n:]
}

// push submits what is left of slot i.
func (r *ring) push(i int) {
	s := &r.slots[i]
	e := sqe{fd: int32(r.d.fd), userData: uint64(i)}
	switch s.op.Kind {
	case blockdev.OpFlush:
		e.opcode, e.opFlags = opFsync, fsyncDatasync
	case blockdev.OpRead:
		e.opcode = opRead
	default:
		e.opcode = opWrite
		if s.op.FUA {
			e.opFlags = unix.RWF_DSYNC
		}
	}
	if s.op.Kind != blockdev.OpFlush {
		rest := s.op.Buf[s.pos:]
		e.off = uint64(s.op.Off + int64(s.pos))
		e.addr = s.pin.address(rest)
		e.length = uint32(min(len(rest), maxTransfer))
	}
	r.u.push(e)
}

func (r *ring) complete(c cqe) {
	if c.userData == wakeTag {
		var n [8]byte
		_, _ = unix.Read(r.wakeFD, n[:]) // EAGAIN: nothing to clear
		r.polling = false
		return
	}
	i := int(c.userData)
	s := &r.slots[i]
	s.pin.Unpin()
	if c.res < 0 {
		r.failed(i, unix.Errno(-c.res))
		return
	}
	if s.op.Kind == blockdev.OpFlush {
		r.finish(i, nil)
		return
	}
	n := r.d.progress(int(c.res), len(s.op.Buf)-s.pos)
	s.pos += n
	switch {
	case n == 0:
		r.finish(i, errShrunk)
	case s.pos == len(s.op.Buf):
		r.finish(i, nil)
	default:
		r.again(i)
	}
}

// again goes on with a short transfer, if it still may. Threads do it where the submission queue has no room, which
// only happens when the kernel did not take earlier submissions.
func (r *ring) again(i int) {
	if !r.slots[i].op.MayBegin() {
		op := r.release(i)
		op.Done(blockdev.ErrNotBegun)
		return
	}
	if r.u.room() > 1 { // one is for the poll
		r.push(i)
		return
	}
	r.toThreads(i)
}

func (r *ring) failed(i int, errno unix.Errno) {
	s := &r.slots[i]
	switch errno {
	case unix.EINTR:
		r.again(i)
	case unix.EAGAIN, unix.ECANCELED, unix.EOPNOTSUPP, unix.EINVAL, unix.ENOMEM:
		// The kernel could not or would not do it this way: the blocking call decides.
		r.toThreads(i)
	default:
		if s.op.Kind == blockdev.OpFlush {
			r.d.poison(errno)
		}
		r.finish(i, errno)
	}
}

func (r *ring) release(i int) blockdev.Op {
	op := r.slots[i].op
	r.slots[i] = slot{}
	r.free = append(r.free, i)
	return op
}

func (r *ring) toThreads(i int) { r.threads.Submit([]blockdev.Op{r.release(i)}) }

func (r *ring) finish(i int, cause error) {
	op := r.release(i)
	if cause == nil {
		op.Done(nil)
		return
	}
	length := int64(len(op.Buf))
	if op.Kind == blockdev.OpFlush {
		op.Off, length = 0, 0
	}
	op.Done(opError(op.Kind.String(), op.Off, length, cause))
}
