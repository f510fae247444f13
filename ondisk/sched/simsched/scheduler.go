package simsched

import (
	"context"
	"hash"
	"hash/fnv"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/covol/covol/ondisk/sched"
)

// StallAfter is how long, in real time, one procedure may keep the baton before Run panics with its name.
const StallAfter = 60 * time.Second

// epoch is the calendar time at virtual time 0.
var epoch = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

// Scheduler runs procedures. Make one with New.
type Scheduler struct {
	// mu is held for moments only. Since one procedure runs at a time it is hardly ever contended; it is there for
	// the goroutine outside.
	mu sync.Mutex
	// All below GUARDED_BY(mu).
	rng      *rand.Rand
	now      time.Duration
	timers   timerHeap
	seq      uint64
	runnable []*proc
	procs    map[uint64]*proc // that have not ended
	current  *proc
	trace    hash.Hash64
	switches uint64
	log      func(Switch)
	stopped  bool
	failure  error // of the procedure that just ended badly

	baton chan struct{} // back to Run
	stall *time.Timer   // for Run alone
}

var _ sched.Scheduler = (*Scheduler)(nil)

// Switch is one hand-over of the baton, as told to Trace.
type Switch struct {
	Now  time.Duration
	Name string // of the procedure that goes on
	N    uint64 // counts switches
}

// New makes a scheduler at virtual time 0.
func New(seed uint64) *Scheduler {
	return &Scheduler{
		rng:   rand.New(rand.NewPCG(seed, 0x5c4ed)),
		procs: map[uint64]*proc{},
		trace: fnv.New64a(),
		baton: make(chan struct{}),
		stall: time.NewTimer(StallAfter),
	}
}

// Trace has fn called at every switch. It must not call the scheduler.
func (s *Scheduler) Trace(fn func(Switch)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = fn
}

// Now is the virtual time since the start.
func (s *Scheduler) Now() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// Wall is a date in 2030 plus Now.
func (s *Scheduler) Wall() time.Time { return epoch.Add(s.Now()) }

// Hash identifies the run so far: which procedure went on when, in order.
func (s *Scheduler) Hash() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.trace.Sum64()
}

// Go makes a procedure runnable. It does not switch to it.
func (s *Scheduler) Go(name string, fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.stopped {
		s.spawn(name, fn)
	}
}

// AfterFunc runs fn as a procedure of its own at virtual time Now+d.
func (s *Scheduler) AfterFunc(d time.Duration, fn func()) (stop func() bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.addTimer(d, func() { s.spawn("after func", fn) })
	return func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.removeTimer(t)
	}
}

// Sleep waits for virtual time to pass; with d <= 0 it only lets others go first.
func (s *Scheduler) Sleep(ctx context.Context, d time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	w := s.newWait("sleep", ctx)
	t := s.addTimer(d, func() { s.wake(w) })
	s.park(w)
	if s.removeTimer(t) { // it was the context
		return ctx.Err()
	}
	return nil
}

// Rand returns a source of chance that belongs to the run: its numbers depend on the seed and on the switches and
// draws before. Only procedures, and the goroutine outside between two Runs, may use it.
func (s *Scheduler) Rand() *rand.Rand { return s.rng }
