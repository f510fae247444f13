package simdisk

import (
	"math/rand/v2"

	"github.com/covol/covol/ondisk/blockdev/memdev"
)

// CrashClone returns the disk as it would come up after the array lost power now: what is stable, and of what is
// cached or in flight whatever the traits and seed let survive. The disk itself goes on undisturbed. The clone
// has no Wait.
func (d *Disk) CrashClone(seed uint64) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.empty(seed)
	rng := rand.New(rand.NewPCG(seed, 0xc4a54))
	c.stable = d.stable.Fork()
	pending := d.cached[:len(d.cached):len(d.cached)]
	for _, w := range d.inflight {
		if w.old == nil && len(w.data) > 0 { // a compare-and-write takes effect at one instant, which has not come
			pending = append(pending, &extent{off: w.off, n: int64(len(w.data)), data: w.data})
		}
	}
	if d.traits.Ordered {
		d.crashOrdered(c.stable, rng, pending)
	} else {
		d.crashAnyhow(c.stable, rng, pending)
	}
	c.visible = c.stable.Fork()
	return c
}

// crashOrdered keeps a prefix; the write at the cut may tear.
func (d *Disk) crashOrdered(m *memdev.Image, rng *rand.Rand, pending []*extent) {
	cut := rng.IntN(len(pending) + 1)
	for _, e := range pending[:cut] {
		e.apply(m)
	}
	if cut < len(pending) && d.traits.TearSectors {
		d.tear(m, rng, pending[cut], 0.5)
	}
}

// crashAnyhow decides for every write, or sector, by itself. The odds are drawn once for each crash, so that over
// many seeds crashes that keep nearly all and nearly nothing are met as well.
func (d *Disk) crashAnyhow(m *memdev.Image, rng *rand.Rand, pending []*extent) {
	odds := []float64{0.05, 0.25, 0.5, 0.75, 0.95}[rng.IntN(5)]
	for _, e := range pending {
		if d.traits.TearSectors && e.data != nil && rng.IntN(2) == 0 {
			d.tear(m, rng, e, odds)
		} else if rng.Float64() < odds {
			e.apply(m)
		}
	}
}

// tear keeps each sector with probability keep. With GarbageOnTear a sector that is not kept may be neither.
func (d *Disk) tear(m *memdev.Image, rng *rand.Rand, e *extent, keep float64) {
	ss := int64(d.geo.SectorSize)
	if e.data == nil {
		return
	}
	for at := e.off; at < e.off+e.n; at += ss {
		switch {
		case rng.Float64() < keep:
			e.slice(at, at+ss).apply(m)
		case d.traits.GarbageOnTear && rng.IntN(3) == 0:
			junk := make([]byte, ss)
			for i := range junk {
				junk[i] = byte(rng.Uint32())
			}
			m.Write(junk, at)
		}
	}
}
