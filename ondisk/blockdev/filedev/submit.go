package filedev

import (
	"github.com/covol/covol/ondisk/blockdev"
)

// closingSubmitter is what Submit uses: ring or threads.
type closingSubmitter interface {
	blockdev.Submitter
	name() string
	close() // waits for what was submitted
}

// Submit starts the operations on io_uring, or on threads where io_uring is refused or would queue writes. The first
// call decides.
func (d *Device) Submit(ops []blockdev.Op) { d.asyncIO().Submit(ops) }

// SubmitsBy names the way of Submit: "io_uring" or "threads".
func (d *Device) SubmitsBy() string { return d.asyncIO().name() }

func (d *Device) asyncIO() closingSubmitter {
	d.submitOnce.Do(func() {
		t := newThreads(d)
		d.submitter = t
		if d.opts.NoUring || !d.atOnce() {
			return
		}
		if r, err := startRing(d, t); err == nil {
			d.submitter = r
		}
	})
	return d.submitter
}
