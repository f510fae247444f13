package blockdev

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// OpKind says what an Op does.
type OpKind uint8

// The kinds of an Op.
const (
	OpRead  OpKind = iota // fill Buf from Off
	OpWrite               // write Buf at Off, stable when done if FUA
	OpFlush               // Device.Flush; Buf, Off and FUA mean nothing
)

func (k OpKind) String() string {
	switch k {
	case OpRead:
		return "read"
	case OpWrite:
		return "write"
	case OpFlush:
		return "flush"
	}
	return fmt.Sprintf("OpKind(%d)", uint8(k))
}

// Op is one asynchronous operation. Buf belongs to the device until Done is called.
type Op struct {
	Kind OpKind
	Buf  []byte
	Off  int64
	FUA  bool
	// Begin is asked right before the operation goes to the medium, each time that it does: at first, and again when
	// the rest of a short transfer or a refused one is tried in another way. Where it says no nothing more is done, and
	// Done gets ErrNotBegun. It must not wait. Nil admits always.
	//
	// A lease needs it: what waits in a queue of the device must not begin after the lease has ended.
	Begin func() bool
	// Done is called once, with the error ReadAt, WriteAt or Flush would have returned. It runs on any goroutine
	// but never inside Submit, so the caller of Submit may hold a lock that Done takes. It must be quick and must
	// not wait for another Op: the goroutine that calls it may be the one that completes the others. It may Submit.
	Done func(error)
}

// ErrNotBegun says that Begin refused: nothing of the operation is under way, and it was not done to the end.
var ErrNotBegun = errors.New("operation was not admitted any more when its turn came")

// MayBegin asks Begin, if there is one. Every Submitter calls it right before it gives the operation to what it cannot
// take it back from.
func (op *Op) MayBegin() bool { return op.Begin == nil || op.Begin() }

// Submitter takes many operations at once.
//
// The operations of one Submit run and complete in any order. An OpFlush makes stable the writes whose Done was
// called before it was submitted, and no others.
type Submitter interface {
	// Submit starts the operations and returns without waiting for them. The slice is the caller's again on
	// return, the buffers are not. It may be called concurrently, and must not be called after Close.
	Submit(ops []Op)
}

// DefaultWorkers is how many operations a wrapped Device is given at once.
const DefaultWorkers = 32

// NewSubmitter returns dev itself when it is a Submitter; else it runs operations on at most DefaultWorkers
// goroutines, which end when there is nothing left to do.
func NewSubmitter(dev Device) Submitter {
	if s, ok := dev.(Submitter); ok {
		return s
	}
	return NewPool(dev, DefaultWorkers, nil)
}

// Pool is a Submitter over the blocking methods of a Device.
type Pool struct {
	dev     Device
	workers int
	spawn   func(name string, fn func())

	mu sync.Mutex
	// GUARDED_BY(mu)
	queue []Op
	// GUARDED_BY(mu)
	running int
}

// NewPool runs operations on dev by at most workers procedures at a time. spawn starts a procedure, as the method
// Go of a scheduler does; nil means goroutines.
func NewPool(dev Device, workers int, spawn func(name string, fn func())) *Pool {
	if spawn == nil {
		spawn = func(_ string, fn func()) { go fn() }
	}
	return &Pool{dev: dev, workers: max(workers, 1), spawn: spawn}
}

// Submit queues the operations.
func (p *Pool) Submit(ops []Op) {
	p.mu.Lock()
	p.queue = append(p.queue, ops...)
	start := min(p.workers-p.running, len(ops))
	p.running += start
	p.mu.Unlock()
	for range start {
		p.spawn("blockdev worker", p.work)
	}
}

func (p *Pool) work() {
	for {
		p.mu.Lock()
		if len(p.queue) == 0 {
			p.running--
			p.queue = nil
			p.mu.Unlock()
			return
		}
		op := p.queue[0]
		p.queue[0] = Op{}
		p.queue = p.queue[1:]
		p.mu.Unlock()
		op.Done(Do(context.Background(), p.dev, op))
	}
}

// Do runs one operation on dev by its blocking methods, if it may begin, and returns its error; it does not call
// op.Done.
func Do(ctx context.Context, dev Device, op Op) error {
	if !op.MayBegin() {
		return ErrNotBegun
	}
	switch op.Kind {
	case OpRead:
		return dev.ReadAt(ctx, op.Buf, op.Off)
	case OpWrite:
		return dev.WriteAt(ctx, op.Buf, op.Off, op.FUA)
	case OpFlush:
		return dev.Flush(ctx)
	}
	return fmt.Errorf("%v: %w", op.Kind, ErrRange)
}
