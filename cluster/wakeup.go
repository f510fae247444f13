package cluster

import (
	"context"
	"sync"
	"time"

	"github.com/covol/covol/ondisk/sched"
)

// wakeup lets one procedure wait for a time or a call of now, whichever comes first. A call that comes while nobody
// waits is remembered.
type wakeup struct {
	s  sched.Scheduler
	mu sync.Mutex
	// GUARDED_BY(mu)
	ev sched.Event
}

func (w *wakeup) init(s sched.Scheduler) { w.s, w.ev = s, s.NewEvent() }

func (w *wakeup) now() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ev.Set()
}

// wait returns after d, after now, or when ctx ends.
func (w *wakeup) wait(ctx context.Context, d time.Duration) {
	w.mu.Lock()
	ev := w.ev
	w.mu.Unlock()
	stop := w.s.AfterFunc(d, ev.Set)
	_ = ev.Wait(ctx) // whoever waits looks at its own state next
	stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ev.IsSet() {
		w.ev = w.s.NewEvent()
	}
}
