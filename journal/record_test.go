package journal

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/blockdev/memdev"
)

// tape is a disk that takes time and records what happens on it, so that a test can ask afterwards what any power
// failure would have left. It sees more than a log of finished writes: those that were under way, too.
type tape struct {
	*memdev.Device
	sleep func(ctx context.Context, d time.Duration) error

	mu     sync.Mutex
	rng    *rand.Rand
	base   *memdev.Image
	events []event
	failAt int // events of the device until one fails; 0: never
	calls  int
}

type event struct {
	kind  eventKind
	write *taped // of write events
	from  int    // of a flush that ended: event where it began
	mark  any
}

type eventKind int

const (
	writeBegins eventKind = iota
	writeEnds
	flushBegins
	flushEnds
	marked
)

type taped struct {
	data []byte
	off  int64
	fua  bool
	end  int // event where it ended
}

func newTape(dev *memdev.Device, seed uint64, sleep func(ctx context.Context, d time.Duration) error) *tape {
	return &tape{Device: dev, sleep: sleep, rng: rand.New(rand.NewPCG(seed, 1)), base: dev.Image()}
}

func (t *tape) add(e event) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.events = append(t.events, e)
	return len(t.events) - 1
}

func (t *tape) mark(m any) { t.add(event{kind: marked, mark: m}) }

// pass lets time go by, and is where an operation may be made to fail.
func (t *tape) pass(ctx context.Context) error {
	t.mu.Lock()
	d := time.Duration(t.rng.IntN(1000)) * time.Microsecond
	t.calls++
	fail := t.failAt > 0 && t.calls == t.failAt
	t.mu.Unlock()
	if t.sleep != nil {
		if err := t.sleep(ctx, d); err != nil {
			return err
		}
	}
	if fail {
		return fmt.Errorf("operation %d: %w", t.failAt, blockdev.ErrMedium)
	}
	return nil
}

func (t *tape) ReadAt(ctx context.Context, p []byte, off int64) error {
	if err := t.pass(ctx); err != nil {
		return err
	}
	return t.Device.ReadAt(ctx, p, off)
}

func (t *tape) WriteAt(ctx context.Context, p []byte, off int64, fua bool) error {
	w := &taped{data: slices.Clone(p), off: off, fua: fua}
	t.add(event{kind: writeBegins, write: w})
	if err := t.pass(ctx); err != nil {
		return err
	}
	if err := t.Device.WriteAt(ctx, p, off, fua); err != nil {
		return err
	}
	w.end = t.add(event{kind: writeEnds, write: w})
	return nil
}

func (t *tape) Flush(ctx context.Context) error {
	from := t.add(event{kind: flushBegins})
	if err := t.pass(ctx); err != nil {
		return err
	}
	t.add(event{kind: flushEnds, from: from})
	return nil
}

// moment is the state of the disk between two events.
type moment struct {
	after   int // number of events before it
	event   event
	stable  *memdev.Image // what is certain to survive
	pending []*taped      // what may survive: finished ones in order, then those under way
}

// moments calls do for the state after every event.
func (t *tape) moments(do func(m moment)) {
	stable := t.base.Fork()
	var cached, flying []*taped
	for i, e := range t.events {
		switch e.kind {
		case writeBegins:
			flying = append(flying, e.write)
		case writeEnds:
			flying = slices.DeleteFunc(flying, func(w *taped) bool { return w == e.write })
			if e.write.fua {
				stable.Write(e.write.data, e.write.off)
			} else {
				cached = append(cached, e.write)
			}
		case flushEnds:
			cached = slices.DeleteFunc(cached, func(w *taped) bool {
				if w.end < e.from {
					stable.Write(w.data, w.off)
					return true
				}
				return false
			})
		}
		do(moment{i + 1, e, stable, slices.Concat(cached, flying)})
	}
}

// outcome builds one disk that a power failure at the moment may leave: keep says for each pending write whether
// none of it, all of it, or some of its sectors made it.
func (m moment) outcome(geo blockdev.Geometry, keep func(i int) fate, rng *rand.Rand) *memdev.Device {
	img := m.stable.Fork()
	for i, w := range m.pending {
		switch keep(i) {
		case kept:
			img.Write(w.data, w.off)
		case torn:
			for s := 0; s < len(w.data); s += geo.SectorSize {
				if rng.IntN(2) == 0 {
					img.Write(w.data[s:s+geo.SectorSize], w.off+int64(s))
				}
			}
		}
	}
	return memdev.New(geo, img)
}

type fate int

const (
	lost fate = iota
	kept
	torn
)
