package handover

import (
	"container/heap"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// fault is what happens to one arrow: a call, an answer, a message, or an action.
type fault string

const (
	none     fault = ""
	drop     fault = "drop" // a message or an answer is lost; an action fails
	double   fault = "double"
	delay    fault = "delay" // for longer than anybody's patience
	killS    fault = "kill S"
	killT    fault = "kill T"
	outage   fault = "store outage"
	outageS  fault = "store outage for S"
	outageT  fault = "store outage for T"
	cutting  fault = "cut"
	cancelS  fault = "cancel"
	refusing fault = "disks refuse T" // from now on T cannot take them, for a while
)

var faults = []fault{drop, double, delay, killS, killT, outage, outageS, outageT, cutting, cancelS, refusing}

// Times of the world. Fencing of a dead node takes longer than the patience for a target, as leases do.
const (
	tSoon    = 100 * time.Millisecond
	tAnswer  = 2 * time.Second
	tLong    = 7 * time.Second
	tOutage  = 10 * time.Second
	tFence   = 14 * time.Second
	tPatient = 5 * time.Second
)

const (
	nodeS Node = "s"
	nodeT Node = "t"
	nodeX Node = "x" // takes over what the dead had
)

const vm = "vm"

// world is two sides, a store, a network and a node that takes over, all in one procedure and in simulated time.
type world struct {
	t       *testing.T
	rng     *rand.Rand
	now     time.Duration
	queue   timers
	seq     int
	arrows  int
	plan    map[int]fault
	random  float64 // share of arrows with a fault, until calm
	calm    time.Duration
	trace   []string
	again   string // command that replays it
	store   Memory
	away    map[Node]time.Duration // until when the store cannot be reached
	refuses time.Duration          // until when T cannot take the disks
	dead    map[Node]bool          // has no process
	fenced  map[Node]bool          // is proven dead
	running map[Node]uint64        // who runs the VM, at which epoch
	holder  Node                   // of the locks of the disks
	last    uint64                 // epoch of the last write to the disks
	cut     bool
	sides   map[Node]*side
}

type side struct {
	w       *world
	self    Node
	m       Machine
	copying int // generation of the Copy under way
	timer   int
	over    *Over
}

type timer struct {
	at  time.Duration
	seq int
	f   func()
}
type timers []timer

func (q timers) Len() int { return len(q) }
func (q timers) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].seq < q[j].seq
}
func (q timers) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *timers) Push(x any)   { *q = append(*q, x.(timer)) }
func (q *timers) Pop() any {
	x := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return x
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{t: t, rng: rand.New(rand.NewPCG(seed, 1)), plan: map[int]fault{}, away: map[Node]time.Duration{}, dead: map[Node]bool{}, fenced: map[Node]bool{}, running: map[Node]uint64{nodeS: 1}, holder: nodeS, sides: map[Node]*side{}}
	first := Record{VM: vm, State: Running, Owner: nodeS, Epoch: 1}
	_, err := w.store.Swap(t.Context(), vm, Record{}, first)
	require.NoError(t, err)
	m, err := NewSource(nodeS, nodeT, first)
	require.NoError(t, err)
	w.sides[nodeS] = &side{w: w, self: nodeS, m: m}
	return w
}

func (w *world) after(d time.Duration, f func()) {
	w.seq++
	heap.Push(&w.queue, timer{w.now + d, w.seq, f})
}

func (w *world) say(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf("%6dms ", w.now.Milliseconds())+fmt.Sprintf(format, args...))
}

func (w *world) fail(format string, args ...any) {
	w.t.Helper()
	for _, l := range w.trace {
		w.t.Log(l)
	}
	w.t.Logf("faults %v; again: %s", w.plan, w.again)
	w.t.Fatalf(format, args...)
}

// arrow is one step that may go wrong. Faults that are not the arrow's own happen here and now.
func (w *world) arrow(what string) fault {
	w.arrows++
	f := w.plan[w.arrows]
	if w.now < w.calm && w.rng.Float64() < w.random {
		f = faults[w.rng.IntN(len(faults))]
	}
	w.say("%3d %s %s", w.arrows, what, f)
	switch f {
	case killS:
		w.kill(nodeS)
	case killT:
		w.kill(nodeT)
	case outage:
		w.away[nodeS], w.away[nodeT] = w.now+tOutage, w.now+tOutage
	case outageS:
		w.away[nodeS] = w.now + tOutage
	case outageT:
		w.away[nodeT] = w.now + tOutage
	case cutting:
		w.cutAll()
	case cancelS:
		w.after(0, func() { w.step(nodeS, Cancel{}) })
	case refusing:
		w.refuses = w.now + tOutage
	default:
		return f
	}
	return none
}

func (w *world) cutAll() {
	if !w.cut {
		w.cut = true
		w.after(0, func() { w.step(nodeS, Cut{}); w.step(nodeT, Cut{}) })
	}
}

// kill ends a node. Whoever takes over has proof of it later.
func (w *world) kill(n Node) {
	if w.dead[n] {
		return
	}
	w.dead[n] = true
	delete(w.running, n)
	w.after(tSoon, w.cutAll)
	w.after(tFence, func() {
		w.fenced[n] = true
		if w.holder == n {
			w.holder = ""
		}
		w.say("%s is fenced", n)
		w.after(0, func() { w.takeover(false) })
		w.after(tPatient, func() { w.takeover(true) })
	})
}

// takeover is what node x does for the VMs of the dead. Its disks are locked at the epoch of the record.
func (w *world) takeover(patient bool) {
	r, err := w.store.Read(w.t.Context(), vm)
	require.NoError(w.t, err)
	next, err := Takeover(r, nodeX, func(n Node) bool { return w.fenced[n] }, patient)
	if err != nil {
		require.ErrorIs(w.t, err, ErrNotDead)
		return
	}
	now, _ := w.store.Swap(w.t.Context(), vm, r, next)
	require.Equal(w.t, next, now)
	w.say("x takes over: %s", next)
	w.run(nodeX, next.Epoch)
}

// run lets the VM run on n, whose right to it is judged here, and every time it writes.
func (w *world) run(n Node, epoch uint64) {
	if w.holder != "" && w.holder != n {
		w.fail("%s takes the disks that %s holds", n, w.holder)
	}
	w.holder = n
	w.running[n] = epoch
	w.judge()
}

func (w *world) judge() {
	if len(w.running) > 1 {
		w.fail("two writers: %v", w.running)
	}
	r, err := w.store.Read(w.t.Context(), vm)
	require.NoError(w.t, err)
	for n, epoch := range w.running {
		switch {
		case r.runs(n, epoch), r.State == Migrating && r.Owner == n && r.Epoch == epoch:
		case r.runs(n, epoch+1): // a source that has never stopped has swapped back and not changed its locks yet
		default:
			w.fail("%s runs at epoch %d, but the record is %s", n, epoch, r)
		}
		if epoch < w.last {
			w.fail("%s writes at epoch %d after a write of %d", n, epoch, w.last)
		}
		w.last = epoch
	}
}

func (w *world) step(n Node, e Event) {
	s := w.sides[n]
	if s == nil || w.dead[n] || s.over != nil {
		return
	}
	for _, f := range s.m.Step(e) {
		s.do(f)
	}
	w.judge()
}

// answer comes d later, unless the arrow loses it: then an error takes its place, which says nothing.
func (s *side) answer(what string, d time.Duration, e, lost Event) {
	f := s.w.arrow(string(s.self) + " " + what)
	switch f {
	case drop:
		s.w.after(tSoon, func() { s.w.step(s.self, lost) })
	case delay:
		s.w.after(d+tLong, func() { s.w.step(s.self, e) })
	default:
		s.w.after(d, func() { s.w.step(s.self, e) })
	}
}

var errTest = errors.New("injected")

func (s *side) do(e Effect) {
	w := s.w
	switch e.(type) {
	case Wait, Say:
	default:
		s.copying++
		s.timer++
	}
	switch e := e.(type) {
	case Swap:
		s.call("swap to "+e.New.String(), func() Record { now, _ := w.store.Swap(w.t.Context(), vm, e.Old, e.New); return now })
	case Read:
		s.call("read", func() Record { now, _ := w.store.Read(w.t.Context(), vm); return now })
	case Copy:
		mine := s.copying
		if w.arrow("s copy") == drop {
			w.after(time.Second, func() { w.step(nodeS, Copied{errTest}) })
			return
		}
		w.after(time.Second, func() {
			if s.copying == mine {
				w.step(nodeS, Copied{})
			}
		})
	case Stop:
		f := w.arrow("s stop")
		w.after(20*time.Millisecond, func() {
			if w.dead[nodeS] {
				return
			}
			delete(w.running, nodeS)
			if f == drop {
				w.step(nodeS, StopDone{errTest}) // paused; the disks are still ours
				return
			}
			w.holder = ""
			w.step(nodeS, StopDone{})
		})
	case SendGo:
		s.sendGo(e.Epoch)
	case Verify:
		s.answer("verified", 10*time.Millisecond, Verified{}, Verified{errTest})
	case Take:
		s.take(e.Epoch)
	case Wait:
		s.timer++
		mine, d := s.timer, tSoon
		if e.For == Answer {
			d = tAnswer
		}
		w.after(d, func() {
			if s.timer == mine {
				w.step(s.self, Tick{})
			}
		})
	case Say:
		s.message(fmt.Sprintf("says %d", e.What), func() {
			if s.self == nodeT {
				w.step(nodeS, Heard(e))
			}
		})
	case Over:
		w.say("%s: %s, keep %v: %v", s.self, e.Result, e.Keep, e.Why)
		s.over = &e
		w.after(50*time.Millisecond, w.cutAll) // it closes the connection
		if !e.Keep {
			delete(w.running, s.self)
			if w.holder == s.self {
				w.holder = ""
			}
		}
	}
}

// call is one call of the store: the request may take effect and the answer be lost, or take effect late.
func (s *side) call(what string, f func() Record) {
	w := s.w
	switch w.arrow(fmt.Sprintf("%s asks the store: %s", s.self, what)) {
	case drop:
		w.after(tSoon, func() { w.step(s.self, Stored{Err: errTest}) })
		return
	case delay: // a ghost
		w.after(tSoon, func() { w.step(s.self, Stored{Err: errTest}) })
		w.after(tLong, func() { f() })
		return
	}
	w.after(5*time.Millisecond, func() {
		if w.now < w.away[s.self] || w.dead[s.self] {
			w.step(s.self, Stored{Err: errTest})
			return
		}
		s.answer("is answered", 5*time.Millisecond, Stored{Now: f()}, Stored{Err: errTest})
	})
}

// message is delivered unless the connection is cut.
func (s *side) message(what string, deliver func()) {
	w := s.w
	send := func(d time.Duration) {
		w.after(d, func() {
			if !w.cut {
				deliver()
			}
		})
	}
	switch w.arrow(string(s.self) + " " + what) {
	case drop:
	case double:
		send(time.Millisecond)
		send(30 * time.Millisecond)
	case delay:
		send(tLong)
	default:
		send(time.Millisecond)
	}
}

func (s *side) sendGo(epoch uint64) {
	if s.w.holder == nodeS || len(s.w.running) > 0 {
		s.w.fail("GO although the source has not let go")
	}
	s.message("GO", func() { s.w.step(nodeT, Go{epoch}) })
	err := errTest // the stream broke: nobody knows what has arrived
	if !s.w.cut {
		err = nil
	}
	s.answer("has sent GO", 2*time.Millisecond, Sent{err}, Sent{errTest})
}

// take locks the disks, which the cluster lets only the owner of the record do, and runs.
func (s *side) take(epoch uint64) {
	w := s.w
	f := w.arrow(string(s.self) + " takes the disks")
	w.after(10*time.Millisecond, func() {
		if w.dead[s.self] {
			return
		}
		r, _ := w.store.Read(w.t.Context(), vm)
		if f == drop || !r.runs(s.self, epoch) || s.self == nodeT && w.now < w.refuses || w.holder != "" && w.holder != s.self {
			w.step(s.self, Taken{errTest})
			return
		}
		w.run(s.self, epoch)
		w.step(s.self, Taken{})
	})
}

// play lets it all happen, and requires in the end that the VM runs once, where the record says.
func (w *world) play() {
	w.step(nodeS, Begin{})
	// T is told as soon as the record names it, and builds the VM while memory is copied.
	var invite func()
	invite = func() {
		r, _ := w.store.Read(w.t.Context(), vm)
		switch {
		case w.dead[nodeT] || w.dead[nodeS] || w.cut || w.sides[nodeS].over != nil || w.now > time.Minute:
		case r.State == Migrating && r.Target == nodeT:
			m, err := NewTarget(nodeT, r)
			require.NoError(w.t, err)
			w.sides[nodeT] = &side{w: w, self: nodeT, m: m}
			w.step(nodeT, Begin{})
			w.sides[nodeT].answer("is prepared", 100*time.Millisecond, Prepared{}, Prepared{errTest})
		default:
			w.after(tSoon/2, invite)
		}
	}
	w.after(tSoon/2, invite)
	for len(w.queue) > 0 {
		next := heap.Pop(&w.queue).(timer)
		if w.now = next.at; w.now > 10*time.Minute {
			w.fail("it does not end")
		}
		next.f()
		w.judge()
	}
	r, _ := w.store.Read(w.t.Context(), vm)
	if len(w.running) != 1 || r.State != Running || w.running[r.Owner] != r.Epoch {
		w.fail("in the end %v run it, and the record is %s", w.running, r)
	}
	for n, s := range w.sides {
		if !w.dead[n] && s.over == nil {
			w.fail("side %s has not ended", n)
		}
		if o := s.over; !w.dead[n] && o.Keep != (r.Owner == n) {
			w.fail("side %s says keep %v, the record is %s", n, o.Keep, r)
		}
	}
}
