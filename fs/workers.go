package fs

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/covol/covol/ondisk/sched"
)

// workers are the background procedures of a mounted volume.
type workers struct {
	sched  sched.Scheduler
	log    *slog.Logger
	ctx    context.Context
	cancel context.CancelFunc

	mu sync.Mutex
	// GUARDED_BY(mu)
	running int
	stopped bool
	idle    sched.Event // set when stopped and nothing runs
}

func newWorkers(s sched.Scheduler, log *slog.Logger) *workers {
	w := &workers{sched: s, log: log, idle: s.NewEvent()}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	return w
}

// start runs fn on a procedure of its own, unless the workers have been stopped. Its ctx ends when they are.
func (w *workers) start(name string, fn func(ctx context.Context) error) {
	if !w.enter() {
		return
	}
	w.sched.Go(name, func() { w.run(name, fn) })
}

// after is start once d has passed.
func (w *workers) after(d time.Duration, name string, fn func(ctx context.Context) error) {
	w.sched.AfterFunc(d, func() {
		if w.enter() {
			w.run(name, fn)
		}
	})
}

func (w *workers) enter() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped {
		return false
	}
	w.running++
	return true
}

func (w *workers) run(name string, fn func(ctx context.Context) error) {
	err := fn(w.ctx)
	if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, ErrWithdrawn) {
		w.log.Error("background work failed", "work", name, "error", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running--
	if w.stopped && w.running == 0 {
		w.idle.Set()
	}
}

// stop ends all procedures and waits for them.
func (w *workers) stop(ctx context.Context) error {
	w.mu.Lock()
	w.stopped = true
	if w.running == 0 {
		w.idle.Set()
	}
	w.mu.Unlock()
	w.cancel()
	return w.idle.Wait(ctx)
}
