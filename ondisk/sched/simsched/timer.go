package simsched

import (
	"container/heap"
	"time"
)

// timer fires fn, with mu held, when its time has come.
type timer struct {
	at    time.Duration
	tie   uint64 // drawn from the seed: timers of the same instant fire in any order
	seq   uint64
	fn    func()
	index int // in the heap, -1 when not in it
}

type timerHeap []*timer

func (h timerHeap) Len() int { return len(h) }

func (h timerHeap) Less(i, j int) bool {
	a, b := h[i], h[j]
	if a.at != b.at {
		return a.at < b.at
	}
	if a.tie != b.tie {
		return a.tie < b.tie
	}
	return a.seq < b.seq
}

func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *timerHeap) Push(x any) {
	t := x.(*timer)
	t.index = len(*h)
	*h = append(*h, t)
}

func (h *timerHeap) Pop() any {
	last := len(*h) - 1
	t := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	t.index = -1
	return t
}

func (s *Scheduler) addTimer(d time.Duration, fn func()) *timer {
	s.seq++
	t := &timer{at: s.now + max(d, 0), tie: s.rng.Uint64(), seq: s.seq, fn: fn}
	heap.Push(&s.timers, t)
	return t
}

// removeTimer reports whether t had not fired.
func (s *Scheduler) removeTimer(t *timer) bool {
	if t.index < 0 {
		return false
	}
	heap.Remove(&s.timers, t.index)
	t.index = -1
	return true
}

// fireNext moves time to the first timer, if that is not after until, and fires it.
func (s *Scheduler) fireNext(until time.Duration) bool {
	if len(s.timers) == 0 || s.timers[0].at > until {
		return false
	}
	t := heap.Pop(&s.timers).(*timer)
	s.now = max(s.now, t.at)
	t.fn()
	return true
}
