package cluster

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/blockdev/memdev"
	"github.com/covol/covol/ondisk/sched/simsched"
)

// slowDev takes time for every call and is a Submitter and a CompareAndWriter.
type slowDev struct {
	blockdev.Device
	s    *simsched.Scheduler
	took time.Duration
	ends []time.Duration // of writes
}

func (d *slowDev) WriteAt(ctx context.Context, p []byte, off int64, fua bool) error {
	_ = d.s.Sleep(context.Background(), d.took)
	d.ends = append(d.ends, d.s.Now())
	return d.Device.WriteAt(ctx, p, off, fua)
}

func (d *slowDev) CompareAndWrite(ctx context.Context, off int64, old, new []byte) (bool, error) {
	return true, d.WriteAt(ctx, new, off, true)
}

func (d *slowDev) Submit(ops []blockdev.Op) {
	for _, op := range ops {
		d.s.Go("op", func() { op.Done(blockdev.Do(context.Background(), d, op)) })
	}
}

func newSlow(s *simsched.Scheduler) *slowDev {
	return &slowDev{Device: memdev.New(blockdev.Geometry{SectorSize: 512, Size: 1 << 20}, nil), s: s, took: 10 * time.Millisecond}
}

type outcome struct {
	at  time.Duration
	err error
}

func TestGateAdmitsWhileTheLeaseHasRoom(t *testing.T) {
	s := simsched.New(1)
	t.Cleanup(s.Stop)
	s.Go("tick", func() { _ = s.Sleep(context.Background(), time.Hour) })
	g, dev := newGate(s, time.Second), newSlow(s)
	d := g.Wrap(dev)
	buf := make([]byte, 512)
	calls := map[string]func() error{
		"write":   func() error { return d.WriteAt(context.Background(), buf, 0, false) },
		"flush":   func() error { return d.Flush(context.Background()) },
		"discard": func() error { return d.Discard(context.Background(), 0, 512) },
		"compare": func() error {
			_, err := d.(blockdev.CompareAndWriter).CompareAndWrite(context.Background(), 0, buf, buf)
			return err
		},
		"submit": func() error {
			done, res := s.NewEvent(), error(nil)
			d.(blockdev.Submitter).Submit([]blockdev.Op{{Kind: blockdev.OpWrite, Buf: buf, Done: func(err error) { res = err; done.Set() }}})
			assert.NoError(t, done.Wait(context.Background()))
			return res
		},
		"read": func() error { return d.ReadAt(context.Background(), buf, 0) },
	}
	got := map[string]outcome{}
	issue := func() {
		clear(got)
		for name, call := range calls {
			s.Go(name, func() {
				err := call()
				got[name] = outcome{s.Now(), err}
			})
		}
	}
	issue() // before the first renewal
	require.NoError(t, s.Run(time.Second))
	assert.Empty(t, got)
	assert.Equal(t, 5, g.Waiting()-1, "submitted ones wait too")
	s.AfterFunc(0, func() { g.extend(3 * time.Second) })
	require.NoError(t, s.Run(1500*time.Millisecond))
	assert.Len(t, got, 6)

	require.NoError(t, s.Run(2001*time.Millisecond)) // room for reads, not for writes
	issue()
	require.NoError(t, s.Run(2900*time.Millisecond))
	assert.Len(t, got, 1)
	assert.NoError(t, got["read"].err)
	assert.Positive(t, g.Waiting())
	assert.Zero(t, g.InFlight())
	assert.False(t, g.Open())

	lost := errors.New("lost")
	s.AfterFunc(0, func() { g.close(lost); g.close(errors.New("second")) })
	require.NoError(t, s.Run(2950*time.Millisecond))
	assert.Len(t, got, 6)
	for name, o := range got {
		if name != "read" {
			assert.ErrorIs(t, o.err, lost, name)
		}
	}
	s.AfterFunc(0, func() { g.extend(10 * time.Second) })
	issue()
	require.NoError(t, s.Run(5*time.Second))
	assert.Len(t, got, 6)
	for name, o := range got {
		assert.ErrorIs(t, o.err, lost, name)
	}
}

func TestGateDrainWaitsForWhatIsInFlight(t *testing.T) {
	s := simsched.New(1)
	t.Cleanup(s.Stop)
	g, dev := newGate(s, time.Second), newSlow(s)
	dev.took = 300 * time.Millisecond
	d := g.Wrap(dev)
	g.extend(10 * time.Second)
	var drained time.Duration
	s.Go("writer", func() { assert.NoError(t, d.WriteAt(context.Background(), make([]byte, 512), 0, false)) })
	s.Go("submitter", func() {
		d.(blockdev.Submitter).Submit([]blockdev.Op{{Kind: blockdev.OpWrite, Buf: make([]byte, 512), Off: 512, Done: func(error) {}}})
	})
	s.Go("closer", func() {
		_ = s.Sleep(context.Background(), 100*time.Millisecond)
		g.close(ErrLeft)
		assert.NoError(t, g.drain(context.Background()))
		drained = s.Now()
	})
	require.NoError(t, s.Run(time.Second))
	assert.Equal(t, 300*time.Millisecond, drained)
	assert.Len(t, dev.ends, 2)
}

// A device may keep what was admitted in a queue until the lease has no room any more: then it is not begun, and comes
// back to the gate.
func TestGateTakesBackWhatHasNotBegun(t *testing.T) {
	s := simsched.New(1)
	t.Cleanup(s.Stop)
	s.Go("tick", func() { _ = s.Sleep(context.Background(), time.Hour) })
	g, dev := newGate(s, time.Second), newSlow(s)
	dev.took = 600 * time.Millisecond // by one worker: the third write's turn comes after the room is gone
	queue := blockdev.NewPool(dev, 1, s.Go)
	d := g.Wrap(struct {
		blockdev.Device
		blockdev.Submitter
	}{dev.Device, queue}).(blockdev.Submitter)
	g.extend(2 * time.Second)
	var ends []outcome
	var ops []blockdev.Op
	for i := range 4 {
		ops = append(ops, blockdev.Op{Kind: blockdev.OpWrite, Buf: make([]byte, 512), Off: int64(i) * 512, Done: func(err error) {
			ends = append(ends, outcome{s.Now(), err})
		}})
	}
	s.Go("submitter", func() { d.Submit(ops) })
	require.NoError(t, s.Run(5*time.Second))
	require.Len(t, ends, 2, "the others have not begun")
	assert.Len(t, dev.ends, 2)
	assert.Equal(t, 2, g.Waiting())
	assert.Zero(t, g.InFlight())

	s.AfterFunc(0, func() { g.extend(6*time.Second + 100*time.Millisecond) })
	require.NoError(t, s.Run(8*time.Second))
	require.Len(t, ends, 3, "there was room for one more")
	assert.NoError(t, ends[2].err)
	lost := errors.New("lost")
	s.AfterFunc(0, func() { g.close(lost) })
	require.NoError(t, s.Run(9*time.Second))
	require.Len(t, ends, 4)
	assert.ErrorIs(t, ends[3].err, lost)
	assert.Len(t, dev.ends, 3)
}

func TestGateWaitEndsWithTheContext(t *testing.T) {
	s := simsched.New(1)
	t.Cleanup(s.Stop)
	g := newGate(s, time.Second)
	d := g.Wrap(memdev.New(blockdev.Geometry{SectorSize: 512, Size: 1 << 20}, nil))
	ctx, cancel := s.WithTimeout(context.Background(), time.Second)
	defer cancel()
	var err error
	s.Go("writer", func() { err = d.WriteAt(ctx, make([]byte, 512), 0, false) })
	require.NoError(t, s.Run(2*time.Second))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.Zero(t, g.Waiting())
}

// The wrapper offers what the device below offers, and no more.
func TestGateKeepsOptionalInterfaces(t *testing.T) {
	s := simsched.New(1)
	g := newGate(s, time.Second)
	type plain struct{ blockdev.Device }
	_, caw := g.Wrap(plain{memdev.New(blockdev.Geometry{SectorSize: 512, Size: 1 << 20}, nil)}).(blockdev.CompareAndWriter)
	_, sub := g.Wrap(plain{memdev.New(blockdev.Geometry{SectorSize: 512, Size: 1 << 20}, nil)}).(blockdev.Submitter)
	assert.False(t, caw || sub)
	_, caw = g.Wrap(newSlow(s)).(blockdev.CompareAndWriter)
	_, sub = g.Wrap(newSlow(s)).(blockdev.Submitter)
	assert.True(t, caw && sub)
}
