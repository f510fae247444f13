package cluster

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/sched"
)

// stuckDev finishes nothing until it is released.
type stuckDev struct {
	blockdev.Device
	release func() error
}

func (d *stuckDev) ReadAt(ctx context.Context, p []byte, off int64) error {
	if err := d.release(); err != nil {
		return err
	}
	return d.Device.ReadAt(ctx, p, off)
}

func (d *stuckDev) WriteAt(ctx context.Context, p []byte, off int64, fua bool) error {
	if err := d.release(); err != nil {
		return err
	}
	return d.Device.WriteAt(ctx, p, off, fua)
}

func (d *stuckDev) Flush(context.Context) error { return d.release() }

// stuckWrite has a write of a under way that does not come back before the event.
func stuckWrite(a *proc) sched.Event {
	end := a.w.s.NewEvent()
	dev := a.node.Gate().Wrap(&stuckDev{a.data, func() error { return end.Wait(context.Background()) }})
	a.w.s.Go("stuck", func() { a.writeJournal(dev, true) })
	return end
}

// A write that does not come back is the reason of the state, for as long as it is out; others do not begin meanwhile.
func TestStallIsTheReason(t *testing.T) {
	w := newWorld(t, 1, 3, true)
	a := w.settled("a", 1)
	end := stuckWrite(a)
	require.NoError(t, w.s.Run(w.s.Now()+w.sb.Profile.IOBound-100*time.Millisecond))
	s, why, _ := a.node.State()
	assert.Equal(t, StateActive, s)
	assert.Equal(t, CauseNone, why.Cause)
	w.run(2*w.sb.Profile.IOBound, "stall", func() bool { s, _, _ := a.node.State(); return s == StateStalled })
	_, why, _ = a.node.State()
	assert.Equal(t, CauseStalled, why.Cause)
	assert.Contains(t, why.Text, "the storage stalls")
	waits := a.node.Status().Waits
	require.NotEmpty(t, waits)
	assert.Contains(t, waits[len(waits)-1].What, "the storage to answer 1 operations")
	assert.Greater(t, w.s.Now()-waits[len(waits)-1].Since, w.sb.Profile.IOBound)
	writes := a.writes
	require.NoError(t, w.s.Run(w.s.Now()+w.sb.Profile.IOBound))
	assert.Equal(t, writes, a.writes, "writes wait")
	assert.Positive(t, a.node.Gate().Waiting())
	read := false
	w.s.Go("read", func() {
		read = a.node.Gate().Wrap(a.data).ReadAt(context.Background(), make([]byte, ondisk.BlockSize), 0) == nil
	})
	w.run(w.sb.Profile.IOBound/2, "a read, which does not wait", func() bool { return read })
	end.Set()
	w.run(patience, "end of the stall", func() bool { return a.active() && a.writes > writes+2 })
	assert.Empty(t, a.node.Status().Waits)
	assert.True(t, slices.ContainsFunc(a.events, func(e Event) bool { return e.Kind == EventStalled }))

	// A node that ends with a write out keeps the lock of the host: its death is not proven.
	end = stuckWrite(a)
	require.NoError(t, w.s.Run(w.s.Now()+time.Second))
	a.node.Kill()
	require.NoError(t, w.s.Run(w.s.Now()+time.Second))
	assert.NotEmpty(t, w.locks)
	end.Set()
	w.run(patience, "the lock to go", func() bool { return len(w.locks) == 0 })
	w.check()
}

// gaveUp reports whether the node gave up for its data path.
func (p *proc) gaveUp() bool {
	s, why, _ := p.joining.State()
	return s == StateWithdrawn && why.Cause == CauseStalled
}

// A node whose data path hangs while its heartbeats get through gives the volume up after W, whatever it is that hangs,
// and the others take over by the ordinary recovery.
func TestHungDataPathGivesUp(t *testing.T) {
	calls := map[string]func(blockdev.Device) error{
		"read":  func(d blockdev.Device) error { return d.ReadAt(context.Background(), make([]byte, 4096), 0) },
		"write": func(d blockdev.Device) error { return d.WriteAt(context.Background(), make([]byte, 4096), 0, true) },
		"flush": func(d blockdev.Device) error { return d.Flush(context.Background()) },
	}
	for name, call := range calls {
		for machine := range 2 { // without a lock of the host, and with one that proves nothing
			t.Run(name, func(t *testing.T) {
				w := newWorld(t, 1, 3, true)
				a, b := w.settled("a", machine), w.settled("b", machine)
				p, end := w.sb.Profile, w.s.NewEvent()
				var err error
				begun, returned := w.s.Now(), false
				w.s.Go("stuck", func() {
					err = call(a.node.Gate().Wrap(&stuckDev{a.data, func() error { _ = end.Wait(context.Background()); return errInjected }}))
					returned = true
				})
				w.run(p.Wait()+p.IOBound, "a gives up", a.gaveUp)
				assert.GreaterOrEqual(t, w.s.Now()-begun, p.Wait()-p.IOBound/2)
				assert.LessOrEqual(t, w.s.Now()-begun, p.Wait()+p.IOBound/2)
				assert.True(t, b.active(), "it disturbs nobody")
				w.run(2*p.Wait(), "others take over", func() bool { return w.judge.view.Members[a.node.ID().Slot] == 0 && w.idle() })
				assert.False(t, returned)
				end.Set()
				w.run(patience, "the end of a", func() bool { return returned && a.node.Done().IsSet() })
				require.ErrorIs(t, err, errInjected)
				again := w.settled("a", machine)
				assert.Greater(t, again.node.ID().Incarnation, a.node.ID().Incarnation)
				w.check()
			})
		}
	}
}

// A node that cannot replay because its data path hangs does not keep the others waiting either.
func TestHungReplayGivesUp(t *testing.T) {
	w := newWorld(t, 1, 3, true)
	a, b := w.settled("a", 0), w.settled("b", 0)
	slot := a.node.ID().Slot
	w.run(patience, "a works", func() bool { return a.writes > 3 })
	end := w.s.NewEvent()
	b.data = &stuckDev{b.data, func() error { _ = end.Wait(context.Background()); return errInjected }}
	a.kill(0)
	w.run(patience, "b gives up in recovery", b.gaveUp)
	c := w.spawn("c", 0)
	w.run(patience, "c brings both home", func() bool { return c.active() && w.idle() })
	assert.Zero(t, w.judge.view.Members[slot])
	end.Set()
	w.run(patience, "the end of b", func() bool { return b.node.Done().IsSet() })
	w.check()
}

// What was in flight while no heartbeat got through either waited for the storage: it is not held against the data path
// when the storage is back, however long it was away.
func TestStorageAwayIsNoHungDataPath(t *testing.T) {
	w := newWorld(t, 1, 3, true)
	a := w.settled("a", 0)
	end := stuckWrite(a)
	a.hb.broken = true
	require.NoError(t, w.s.Run(w.s.Now()+3*w.sb.Profile.Wait()))
	s, _, _ := a.node.State()
	require.Equal(t, StatePaused, s)
	a.hb.broken = false
	w.run(patience, "heartbeats", a.active)
	require.NoError(t, w.s.Run(w.s.Now()+w.sb.Profile.IOBound/2))
	end.Set()
	writes := a.writes
	w.run(patience, "work", func() bool { return a.active() && a.writes > writes+3 })
	assert.NotContains(t, a.states, StateStalled)
	w.check()
}

// A process that did not run has not seen its I/O come back.
func TestFrozenIsNoHungDataPath(t *testing.T) {
	w := newWorld(t, 1, 3, true)
	a := w.settled("a", 0)
	end := stuckWrite(a)
	a.sched.freeze(10 * w.sb.Profile.Wait())
	w.s.AfterFunc(10*w.sb.Profile.Wait(), end.Set)
	require.NoError(t, w.s.Run(w.s.Now()+10*w.sb.Profile.Wait()))
	writes := a.writes
	w.run(patience, "work", func() bool { return a.active() && a.writes > writes+3 })
	assert.NotContains(t, a.states, StateStalled)
	w.check()
}

// The bound fits every profile: it leaves room for the stall to be seen, and is no longer than W.
func TestGiveUpAfter(t *testing.T) {
	for _, p := range ondisk.Profiles {
		assert.Greater(t, giveUpAfter(p), p.IOBound+p.Heartbeat, p.Name)
		assert.Less(t, giveUpAfter(p)+p.IOBound/2, p.Wait()+p.Heartbeat, p.Name)
	}
}
