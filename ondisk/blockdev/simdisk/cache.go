package simdisk

import "github.com/covol/covol/ondisk/blockdev/memdev"

func (e *extent) apply(m *memdev.Image) {
	if e.data == nil {
		m.Zero(e.off, e.n)
	} else {
		m.Write(e.data, e.off)
	}
}

// slice returns the part of e in [from, to).
func (e *extent) slice(from, to int64) *extent {
	s := &extent{seq: e.seq, off: from, n: to - from}
	if e.data != nil {
		s.data = e.data[from-e.off : to-e.off]
	}
	return s
}

// land puts content onto the medium: for all to see, and stable at once with fua or if the cache is not volatile.
// data of nil means n zeros. The caller holds mu and does not touch data any more.
func (d *Disk) land(off, n int64, data []byte, fua bool) {
	d.landed++
	e := &extent{seq: d.landed, off: off, n: n, data: data}
	e.apply(d.visible)
	if fua || !d.traits.LoseUnflushed {
		d.settle(off, n)
		e.apply(d.stable)
		return
	}
	d.cached = append(d.cached, e)
}

// settle forgets what is cached for [off, off+n), because newer content of it is about to be stable: an older
// write must not come up again after it.
func (d *Disk) settle(off, n int64) {
	kept := make([]*extent, 0, len(d.cached)+1)
	for _, e := range d.cached {
		end := e.off + e.n
		if end <= off || off+n <= e.off {
			kept = append(kept, e)
			continue
		}
		if e.off < off {
			kept = append(kept, e.slice(e.off, off))
		}
		if off+n < end {
			kept = append(kept, e.slice(off+n, end))
		}
	}
	d.cached = kept
}

// flushUpTo makes stable what landed up to seq.
func (d *Disk) flushUpTo(seq uint64) {
	kept := d.cached[:0:0]
	for _, e := range d.cached {
		if e.seq <= seq {
			e.apply(d.stable)
		} else {
			kept = append(kept, e)
		}
	}
	d.cached = kept
}
