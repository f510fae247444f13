package writelog

import (
	"slices"

	"github.com/covol/covol/ondisk/blockdev/memdev"
)

// state follows the log event by event.
type state struct {
	committed *memdev.Image // the base and all stable writes older than the first of pending
	pending   []*pendingWrite
	done      map[*record]int // number of the event that said so
	marks     []any
}

// pendingWrite is a write not in committed yet. A stable one is there because an older one is not stable.
type pendingWrite struct {
	*record
	stable bool
}

func newState(base *memdev.Image) *state {
	return &state{committed: base.Fork(), done: map[*record]int{}}
}

// step takes event number n.
func (s *state) step(e event, n int) {
	switch e.kind {
	case writeBegun:
		s.pending = append(s.pending, &pendingWrite{record: e.w})
	case writeDone:
		s.done[e.w] = n
		if e.w.fua {
			s.settle(func(w *record) bool { return w == e.w })
		}
	case flushDone:
		s.settle(func(w *record) bool {
			d, ok := s.done[w]
			return ok && d <= e.begun
		})
	case marked:
		s.marks = append(s.marks, e.mark)
	}
}

// settle makes the writes that match stable.
func (s *state) settle(match func(*record) bool) {
	for _, w := range s.pending {
		w.stable = w.stable || match(w.record)
	}
	n := 0
	for n < len(s.pending) && s.pending[n].stable {
		s.pending[n].apply(s.committed, nil, 0)
		delete(s.done, s.pending[n].record)
		n++
	}
	s.pending = slices.Delete(s.pending, 0, n)
}

// free returns the pending writes that are not stable.
func (s *state) free() []*record {
	var all []*record
	for _, w := range s.pending {
		if !w.stable {
			all = append(all, w.record)
		}
	}
	return all
}

// image is the disk after a crash that kept the given writes, one of them perhaps torn.
func (s *state) image(kept []int, torn *Tear, sector int) *memdev.Image {
	m := s.committed.Fork()
	for _, w := range s.pending {
		switch {
		case torn != nil && torn.Write == w.id:
			w.apply(m, torn.Sectors, sector)
		case w.stable || slices.Contains(kept, w.id):
			w.apply(m, nil, sector)
		}
	}
	return m
}

// apply puts the write, or with only not nil these sectors of it, into m.
func (w *record) apply(m *memdev.Image, only []int, sector int) {
	switch {
	case w.data == nil:
		m.Zero(w.off, w.n)
	case only == nil:
		m.Write(w.data, w.off)
	default:
		for _, i := range only {
			m.Write(w.data[i*sector:(i+1)*sector], w.off+int64(i*sector))
		}
	}
}
