package simnet

import (
	"container/heap"
	"context"
	"iter"
	"math/rand/v2"
	"time"

	"github.com/covol/covol/ondisk/sched"
)

// World is the virtual time and the procedures in it.
type World struct {
	now    time.Duration
	rng    *rand.Rand
	queue  agenda
	seq    uint64
	cur    *proc
	free   []*proc
	parked map[*parking]struct{}
	// withContext are the parked whose context may end, in the order they parked.
	withContext []*parking
}

var _ sched.Scheduler = (*World)(nil)

// NewWorld makes a world at time 0 with nothing in it.
func NewWorld(seed uint64) *World {
	return &World{rng: rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15)), parked: map[*parking]struct{}{}}
}

type item struct {
	at    time.Duration
	tie   uint64
	seq   uint64
	fn    func()
	index int
}

type agenda []*item

func (a agenda) Len() int { return len(a) }
func (a agenda) Less(i, j int) bool {
	x, y := a[i], a[j]
	if x.at != y.at {
		return x.at < y.at
	}
	if x.tie != y.tie {
		return x.tie < y.tie
	}
	return x.seq < y.seq
}
func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i]; a[i].index, a[j].index = i, j }
func (a *agenda) Push(x any)   { i := x.(*item); i.index = len(*a); *a = append(*a, i) }
func (a *agenda) Pop() any {
	old := *a
	i := old[len(old)-1]
	*a = old[:len(old)-1]
	i.index = -1
	return i
}

// proc is a coroutine that runs one procedure after another.
type proc struct {
	resume func() (struct{}, bool)
	end    func()
	yield  func(struct{}) bool
	fn     func()
	ended  bool
}

// Now is the virtual time.
func (w *World) Now() time.Duration { return w.now }

// Wall is the virtual time behind a fixed date.
func (w *World) Wall() time.Time { return time.Unix(1_700_000_000, 0).Add(w.now) }

// Rand is the world's source of chance.
func (w *World) Rand() *rand.Rand { return w.rng }

func (w *World) at(d time.Duration, fn func()) *item {
	w.seq++
	i := &item{at: w.now + max(d, 0), tie: w.rng.Uint64(), seq: w.seq, fn: fn}
	heap.Push(&w.queue, i)
	return i
}

// Call runs fn after d. Unlike AfterFunc it is not a procedure and must not wait.
func (w *World) Call(d time.Duration, fn func()) (stop func() bool) {
	i := w.at(d, fn)
	return func() bool {
		if i.index < 0 {
			return false
		}
		heap.Remove(&w.queue, i.index)
		i.index = -1
		return true
	}
}

// Go runs fn as a procedure, not before the caller waits.
func (w *World) Go(_ string, fn func()) { w.at(0, func() { w.start(fn) }) }

// AfterFunc runs fn as a procedure after d.
func (w *World) AfterFunc(d time.Duration, fn func()) func() bool {
	return w.Call(d, func() { w.start(fn) })
}

func (w *World) start(fn func()) {
	var p *proc
	if n := len(w.free); n > 0 {
		p = w.free[n-1]
		w.free = w.free[:n-1]
	} else {
		p = &proc{}
		p.resume, p.end = iter.Pull(func(yield func(struct{}) bool) {
			p.yield = yield
			for p.fn != nil {
				p.fn()
				p.fn = nil
				if p.ended {
					return
				}
				w.free = append(w.free, p)
				if !yield(struct{}{}) {
					return
				}
			}
		})
	}
	p.fn = fn
	w.run(p)
}

func (w *World) run(p *proc) {
	outer := w.cur
	w.cur = p
	p.resume()
	w.cur = outer
}

// parking is one wait of one procedure.
type parking struct {
	p     *proc
	ctx   context.Context
	woken bool
}

// park waits until wake is called for the parking, or ctx ends, or the world is closed.
func (w *World) park(ctx context.Context, k *parking) error {
	k.p, k.ctx = w.cur, ctx
	if k.p == nil {
		panic("simnet: wait outside of a procedure")
	}
	w.parked[k] = struct{}{}
	if ctx.Done() != nil {
		w.withContext = append(w.withContext, k)
	}
	if !k.p.yield(struct{}{}) {
		k.p.ended = true
		return context.Canceled
	}
	return nil
}

func (w *World) wake(k *parking) {
	if k.woken {
		return
	}
	k.woken = true
	w.at(0, func() {
		delete(w.parked, k)
		w.run(k.p)
	})
}

func (w *World) wakeEnded() {
	rest := w.withContext[:0]
	for _, k := range w.withContext {
		if !k.woken && k.ctx.Err() != nil {
			w.wake(k)
		}
		if !k.woken {
			rest = append(rest, k)
		}
	}
	clear(w.withContext[len(rest):])
	w.withContext = rest
}

// Sleep waits for d.
func (w *World) Sleep(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	k := &parking{}
	stop := w.Call(d, func() { w.wake(k) })
	if err := w.park(ctx, k); err != nil {
		return err
	}
	stop()
	return ctx.Err()
}

// NewEvent makes an event.
func (w *World) NewEvent() sched.Event { return &event{w: w} }

type event struct {
	w       *World
	set     bool
	waiters []*parking
}

func (e *event) Set() {
	if e.set {
		return
	}
	e.set = true
	for _, k := range e.waiters {
		e.w.wake(k)
	}
	e.waiters = nil
}

func (e *event) IsSet() bool { return e.set }

func (e *event) Wait(ctx context.Context) error {
	if e.set {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	k := &parking{}
	e.waiters = append(e.waiters, k)
	if err := e.w.park(ctx, k); err != nil {
		return err
	}
	if e.set {
		return nil
	}
	return ctx.Err()
}

// Run runs everything that is due up to the given time and leaves the clock there.
func (w *World) Run(until time.Duration) { w.RunWhile(until, func() bool { return true }) }

// RunWhile is as Run but stops early, with the clock at the last event, once more returns false. It reports whether
// it ran to the end.
func (w *World) RunWhile(until time.Duration, more func() bool) bool {
	for more() {
		w.wakeEnded()
		if len(w.queue) == 0 || w.queue[0].at > until {
			w.now = max(w.now, until)
			return true
		}
		i := heap.Pop(&w.queue).(*item)
		w.now = i.at
		i.fn()
	}
	return false
}

// Parked is the number of procedures that wait.
func (w *World) Parked() int { return len(w.parked) }

// Close ends the procedures that still wait, with context.Canceled, and frees the idle ones.
func (w *World) Close() {
	for k := range w.parked {
		k.p.end()
	}
	for _, p := range w.free {
		p.end()
	}
	w.parked, w.free, w.queue = map[*parking]struct{}{}, nil, nil
}
