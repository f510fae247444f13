package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/covol/covol/bench/host"
	"github.com/covol/covol/ondisk/blockdev"
)

// disk is reached inside this process.
type disk interface {
	ReadAt(ctx context.Context, p []byte, off int64) error
	WriteAt(ctx context.Context, p []byte, off int64) error
	Sync(ctx context.Context) error
}

// layOut writes the first size MiB.
func layOut(ctx context.Context, d disk, size int) error {
	p := blockdev.Alloc(1 << 20)
	for i := range size {
		if err := d.WriteAt(ctx, p, int64(i)<<20); err != nil {
			return fmt.Errorf("lay out: %w", err)
		}
	}
	return d.Sync(ctx)
}

// loop does what fio does, with a goroutine for each request of the queue.
func (d data) loop(ctx context.Context, o options, dev disk) (measure, error) {
	blocks := int64(o.size) << 20 / int64(d.block)
	deadline := time.Now().Add(o.runtime)
	workers := d.depth * d.jobs
	took := make([][]time.Duration, workers)
	errs := make([]error, workers)
	began := time.Now()
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			p := blockdev.Alloc(d.block)
			for next := int64(w); errs[w] == nil && time.Now().Before(deadline) && ctx.Err() == nil; next += int64(workers) {
				block := next % blocks
				if d.random {
					block = rand.Int64N(blocks)
				}
				start := time.Now()
				errs[w] = d.once(ctx, dev, p, block*int64(d.block))
				took[w] = append(took[w], time.Since(start))
			}
		})
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return measure{}, err
		}
	}
	each := host.Sample(slices.Concat(took...))
	m := measure{ops: len(each), value: float64(len(each)) / time.Since(began).Seconds(), p50: each.Percentile(50), p99: each.Percentile(99)}
	if d.unit == "MiB/s" {
		m.value *= float64(d.block) / (1 << 20)
	}
	return m, nil
}

func (d data) once(ctx context.Context, dev disk, p []byte, off int64) error {
	if !d.write {
		return dev.ReadAt(ctx, p, off)
	}
	err := dev.WriteAt(ctx, p, off)
	if err == nil && d.sync {
		err = dev.Sync(ctx)
	}
	return err
}
