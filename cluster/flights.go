package cluster

import (
	"sync/atomic"
	"time"
)

// flights counts the operations that the gate has admitted, by the span of time in which they began: enough to know
// whether one is overdue, at the cost of two additions for each.
type flights struct {
	spans   [8]span
	current atomic.Int32
	started time.Duration // of the current span; owned by who calls turn
}

type span struct {
	open  atomic.Int64
	ended atomic.Int64 // ns of the scheduler's clock: nothing begins in it any more
}

// begin counts an operation; end takes back what it returned.
func (f *flights) begin() int {
	i := int(f.current.Load())
	f.spans[i].open.Add(1)
	return i
}

func (f *flights) end(i int) { f.spans[i].open.Add(-1) }

// turn begins a new span if the present one has lasted for length. Only one procedure may call it.
func (f *flights) turn(now, length time.Duration) {
	if now-f.started < length {
		return
	}
	for step := 1; step < len(f.spans); step++ {
		next := (int(f.current.Load()) + step) % len(f.spans)
		if f.spans[next].open.Load() == 0 {
			f.spans[f.current.Load()].ended.Store(int64(now))
			f.current.Store(int32(next))
			f.started = now
			return
		}
	}
}

// overdue is how long at least the oldest operation has been in flight, if that is more than bound; else 0.
func (f *flights) overdue(now, bound time.Duration) (oldest time.Duration) {
	for i := range f.spans {
		s := &f.spans[i]
		if i == int(f.current.Load()) || s.open.Load() <= 0 {
			continue
		}
		if age := now - time.Duration(s.ended.Load()); age > bound {
			oldest = max(oldest, age)
		}
	}
	return oldest
}
