package filedev

import (
	"sync"

	"github.com/covol/covol/ondisk/blockdev"
)

// maxThreads bounds the goroutines, and so the kernel threads, that block in reads and writes.
const maxThreads = 32

// threads submits by blocking calls.
type threads struct {
	pool    *blockdev.Pool
	pending sync.WaitGroup
}

func newThreads(d *Device) *threads {
	t := &threads{}
	t.pool = blockdev.NewPool(d, min(d.opts.QueueDepth, maxThreads), func(_ string, fn func()) {
		t.pending.Go(fn)
	})
	return t
}

func (t *threads) Submit(ops []blockdev.Op) { t.pool.Submit(ops) }

func (t *threads) name() string { return "threads" }

func (t *threads) close() { t.pending.Wait() }
