package journal

import (
	"context"
	"fmt"
	"sync"

	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
)

const (
	maxRun     = 256 // blocks in one write to the device, 1 MiB
	maxWriters = 8   // writes that are given to the device at once
)

// run is a number of blocks that lie side by side.
type run struct {
	blk    uint64
	blocks [][]byte
}

// appendBlock adds block blk to the last run if it fits there, or begins another.
func appendBlock(runs []run, blk uint64, b []byte) []run {
	if n := len(runs); n > 0 {
		if last := &runs[n-1]; last.blk+uint64(len(last.blocks)) == blk && len(last.blocks) < maxRun {
			last.blocks = append(last.blocks, b)
			return runs
		}
	}
	return append(runs, run{blk, [][]byte{b}})
}

// Buffers for O_DIRECT; most writes are short and should not hold a large one.
var (
	smallBufs = sync.Pool{New: func() any { b := blockdev.Alloc(16 * ondisk.BlockSize); return &b }}
	largeBufs = sync.Pool{New: func() any { b := blockdev.Alloc(maxRun * ondisk.BlockSize); return &b }}
)

// writeRun writes one run with one write.
func writeRun(ctx context.Context, dev blockdev.Device, r run) error {
	pool := &smallBufs
	if len(r.blocks) > 16 {
		pool = &largeBufs
	}
	buf := pool.Get().(*[]byte)
	defer pool.Put(buf)
	p := (*buf)[:0]
	for _, b := range r.blocks {
		p = append(p, b...)
	}
	if err := dev.WriteAt(ctx, p, int64(r.blk)*ondisk.BlockSize, false); err != nil {
		return fmt.Errorf("write blocks %d..%d: %w", r.blk, r.blk+uint64(len(r.blocks))-1, err)
	}
	return nil
}

// writeRuns writes all runs, several at once, and returns the first error. It begins no write once the journal has
// stopped.
func (j *Journal) writeRuns(runs []run) error {
	spawn := func(name string, fn func()) {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.goLocked(name, fn)
	}
	return fanOut(j.cfg.Sched, spawn, len(runs), maxWriters, func(i int) error {
		if err := j.alive(); err != nil {
			return err
		}
		return writeRun(j.ctx, j.cfg.Dev, runs[i])
	})
}
