package writelog

import (
	"bytes"
	"context"
	"sync"

	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/blockdev/memdev"
)

// Log is a Device that passes everything on and remembers it. All methods may be called concurrently.
type Log struct {
	inner blockdev.Device
	base  *memdev.Image

	mu sync.Mutex
	// GUARDED_BY(mu)
	events []event
	// GUARDED_BY(mu)
	writes int
}

type kind uint8

const (
	writeBegun kind = iota
	writeDone
	flushDone
	marked
)

// event is one entry of the log. Its number is its index plus one: a crash after event 0 is one before everything.
type event struct {
	kind  kind
	w     *record // writeBegun, writeDone
	begun int     // flushDone: how many events there were when it began
	mark  any
}

// record is one write.
type record struct {
	id   int // counts from 1
	off  int64
	n    int64
	data []byte // nil means zeros
	fua  bool
}

var _ blockdev.Device = (*Log)(nil)

// New starts a log of dev. base is dev's content now, nil if it reads as zeros; the log keeps a fork of it.
func New(dev blockdev.Device, base *memdev.Image) *Log {
	if base == nil {
		base = memdev.NewImage()
	}
	return &Log{inner: dev, base: base.Fork()}
}

// As returns the log as a device that is a CompareAndWriter if the one below is.
func (l *Log) As() blockdev.Device {
	if caw, ok := l.inner.(blockdev.CompareAndWriter); ok {
		return compareLog{l, caw}
	}
	return l
}

// Mark notes something at this point, such as "operation 7 was acknowledged". Crashes delivers with each disk the
// marks that lie before the crash.
func (l *Log) Mark(v any) { l.add(event{kind: marked, mark: v}) }

// Writes is how many writes have begun.
func (l *Log) Writes() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.writes
}

func (l *Log) add(e event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, e)
}

func (l *Log) begin(w *record) *record {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.writes++
	w.id = l.writes
	l.events = append(l.events, event{kind: writeBegun, w: w})
	return w
}

func (l *Log) length() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.events)
}

// Geometry is the inner device's.
func (l *Log) Geometry() blockdev.Geometry { return l.inner.Geometry() }

// Close closes the inner device; the log can still be used for Crashes.
func (l *Log) Close() error { return l.inner.Close() }

// ReadAt is not logged.
func (l *Log) ReadAt(ctx context.Context, p []byte, off int64) error {
	return l.inner.ReadAt(ctx, p, off)
}

// WriteAt logs the write and passes it on.
func (l *Log) WriteAt(ctx context.Context, p []byte, off int64, fua bool) error {
	n := int64(len(p))
	if l.ignores(ctx, off, n) {
		return l.inner.WriteAt(ctx, p, off, fua)
	}
	w := l.begin(&record{off: off, n: n, data: bytes.Clone(p), fua: fua})
	err := l.inner.WriteAt(ctx, p, off, fua)
	if err == nil {
		l.add(event{kind: writeDone, w: w})
	}
	return err
}

// ignores reports whether a call changes nothing because it will be refused, or is empty.
func (l *Log) ignores(ctx context.Context, off, n int64) bool {
	return ctx.Err() != nil || n == 0 || blockdev.CheckRange(l.Geometry(), off, n) != nil
}

// Flush logs the flush, if it succeeds, and what it covers.
func (l *Log) Flush(ctx context.Context) error {
	begun := l.length()
	err := l.inner.Flush(ctx)
	if err == nil {
		l.add(event{kind: flushDone, begun: begun})
	}
	return err
}

// Discard logs a write of zeros. The disk may or may not have done it, which is why zeros may be there too late,
// or too early, but no longer than until the next flush.
func (l *Log) Discard(ctx context.Context, off, n int64) error {
	if l.ignores(ctx, off, n) {
		return l.inner.Discard(ctx, off, n)
	}
	w := l.begin(&record{off: off, n: n})
	err := l.inner.Discard(ctx, off, n)
	if err == nil {
		l.add(event{kind: writeDone, w: w})
	}
	return err
}

// compareLog is a Log over a device that can compare and write.
type compareLog struct {
	*Log
	caw blockdev.CompareAndWriter
}

var _ blockdev.CompareAndWriter = compareLog{}

// CompareAndWrite logs a write if it swapped or if that is unknown.
func (l compareLog) CompareAndWrite(ctx context.Context, off int64, old, new []byte) (bool, error) {
	data := bytes.Clone(new)
	swapped, err := l.caw.CompareAndWrite(ctx, off, old, new)
	if swapped || (err != nil && !l.ignores(ctx, off, int64(len(data)))) {
		w := l.begin(&record{off: off, n: int64(len(data)), data: data, fua: true})
		if err == nil {
			l.add(event{kind: writeDone, w: w})
		}
	}
	return swapped, err
}
