package writelog

import (
	"iter"
	"math/rand/v2"
	"slices"

	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/blockdev/memdev"
)

// Options choose which crashes to try.
type Options struct {
	Exhaustive  int    // try every subset of up to this many pending writes; 0 means 10, at most 20
	Samples     int    // of the subsets of more; 0 means 64
	Torn        bool   // also tear the newest write of each subset
	PrefixOnly  bool   // only the subsets that keep everything: the disk after each write, as if nothing were cached
	Seed        uint64 // of the samples
	AfterEvents int    // begin with crashes after more than this many events; to split a long log
}

// Crashes yields every crash and the disk it left, in the order of the log, the crash before everything first. Each
// disk is the caller's own. The log may grow meanwhile; what comes after the call is not tried.
func (l *Log) Crashes(o Options) iter.Seq2[Crash, *memdev.Device] {
	if o.Exhaustive <= 0 {
		o.Exhaustive = 10
	}
	o.Exhaustive = min(o.Exhaustive, 20)
	if o.Samples <= 0 {
		o.Samples = 64
	}
	return func(yield func(Crash, *memdev.Device) bool) {
		w := &walk{o: o, geo: l.Geometry(), s: newState(l.base), rng: rand.New(rand.NewPCG(o.Seed, 0x10c)), yield: yield}
		w.log(l.snapshot())
	}
}

// walk is one pass over a log.
type walk struct {
	o     Options
	geo   blockdev.Geometry
	s     *state
	rng   *rand.Rand
	yield func(Crash, *memdev.Device) bool
	at    int // number of the event just taken
}

func (w *walk) log(events []event) {
	if w.o.AfterEvents <= 0 && !w.deliver(nil, nil) {
		return
	}
	for i, e := range events {
		w.at = i + 1
		w.s.step(e, w.at)
		// Of several marks in a row only the last is worth a look: the disks are the same, and it has them all.
		last := i+1 == len(events) || events[i+1].kind != marked
		skip := w.at <= w.o.AfterEvents
		switch {
		case e.kind == writeBegun && !w.subsets(e.w, skip):
			return
		case e.kind == marked && last && !w.subsets(nil, skip):
			return
		}
	}
}

// subsets tries the subsets of the pending writes, those with newest in it if it is not nil. With skip it only
// draws the same samples, so that a walk that begins later meets the same crashes.
func (w *walk) subsets(newest *record, skip bool) bool {
	free := w.s.free()
	others := free
	if newest != nil {
		others = free[:len(free)-1]
	}
	for _, keep := range w.choices(len(others)) {
		var kept []int
		for i, o := range others {
			if keep[i] {
				kept = append(kept, o.id)
			}
		}
		tears := w.tears(newest)
		if skip {
			continue
		}
		for _, t := range tears {
			if !w.deliver(kept, t) {
				return false
			}
		}
		if newest != nil {
			kept = append(kept, newest.id)
		}
		if !w.deliver(kept, nil) {
			return false
		}
	}
	return true
}

// choices returns which of n writes to keep, everything first.
func (w *walk) choices(n int) [][]bool {
	all := make([]bool, n)
	for i := range all {
		all[i] = true
	}
	out := [][]bool{all}
	switch {
	case w.o.PrefixOnly || n == 0:
	case n <= w.o.Exhaustive:
		for mask := 1<<n - 2; mask >= 0; mask-- {
			keep := make([]bool, n)
			for i := range keep {
				keep[i] = mask>>i&1 != 0
			}
			out = append(out, keep)
		}
	default:
		out = append(out, make([]bool, n))
		for range w.o.Samples {
			odds := w.rng.Float64()
			keep := make([]bool, n)
			for i := range keep {
				keep[i] = w.rng.Float64() < odds
			}
			out = append(out, keep)
		}
	}
	return out
}

// tears returns the ways to tear a write: without its first or its last sector, its first or last sector alone,
// and some at random.
func (w *walk) tears(r *record) []*Tear {
	if !w.o.Torn || r == nil || r.data == nil {
		return nil
	}
	n := len(r.data) / w.geo.SectorSize
	var out []*Tear
	add := func(in func(int) bool) {
		var sectors []int
		for i := range n {
			if in(i) {
				sectors = append(sectors, i)
			}
		}
		same := func(t *Tear) bool { return slices.Equal(t.Sectors, sectors) }
		if len(sectors) > 0 && len(sectors) < n && !slices.ContainsFunc(out, same) {
			out = append(out, &Tear{Write: r.id, Sectors: sectors})
		}
	}
	add(func(i int) bool { return i > 0 })
	add(func(i int) bool { return i < n-1 })
	add(func(i int) bool { return i == 0 })
	add(func(i int) bool { return i == n-1 })
	add(func(int) bool { return w.rng.IntN(2) == 0 })
	return out
}

func (w *walk) deliver(kept []int, torn *Tear) bool {
	c := Crash{Event: w.at, Kept: kept, Torn: torn, Marks: w.s.marks[:len(w.s.marks):len(w.s.marks)]}
	return w.yield(c, memdev.New(w.geo, w.s.image(kept, torn, w.geo.SectorSize)))
}
