package fs

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/sched"
)

// slowDevice takes its time, so that procedures meet inside reads and writes.
type slowDevice struct {
	blockdev.Device
	s   sched.Scheduler
	rng *rand.Rand
}

// slowly is a rigOptions.wrap that makes every operation last up to half a millisecond.
func slowly(s sched.Scheduler, seed uint64) func(int, blockdev.Device) blockdev.Device {
	return func(i int, dev blockdev.Device) blockdev.Device {
		return &slowDevice{dev, s, rand.New(rand.NewPCG(seed, uint64(i)))}
	}
}

func (d *slowDevice) wait(ctx context.Context) error {
	return d.s.Sleep(ctx, time.Duration(d.rng.IntN(500))*time.Microsecond)
}

func (d *slowDevice) ReadAt(ctx context.Context, p []byte, off int64) error {
	if err := d.wait(ctx); err != nil {
		return err
	}
	return d.Device.ReadAt(ctx, p, off)
}

func (d *slowDevice) WriteAt(ctx context.Context, p []byte, off int64, fua bool) error {
	if err := d.wait(context.Background()); err != nil {
		return err
	}
	return d.Device.WriteAt(ctx, p, off, fua)
}

func (d *slowDevice) Flush(ctx context.Context) error {
	if err := d.wait(context.Background()); err != nil {
		return err
	}
	return d.Device.Flush(ctx)
}
