package simnet_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/dlm/simnet"
	"github.com/covol/covol/ondisk/sched"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestWorld_OneProcedureAtATime(t *testing.T) {
	w := simnet.NewWorld(1)
	defer w.Close()
	ctx := context.Background()
	var log []string
	for _, name := range []string{"a", "b"} {
		w.Go(name, func() {
			for i := range 3 {
				log = append(log, fmt.Sprint(name, i, w.Now()))
				require.NoError(t, w.Sleep(ctx, time.Second))
			}
		})
	}
	w.Run(time.Minute)
	assert.Len(t, log, 6)
	assert.Contains(t, log, "b2 2s")
	assert.Equal(t, time.Minute, w.Now())
	assert.Equal(t, time.Minute, w.Wall().Sub(simnet.NewWorld(1).Wall()))
	assert.Zero(t, w.Parked())
}

func TestWorld_EventsAndLocks(t *testing.T) {
	w := simnet.NewWorld(2)
	defer w.Close()
	ctx := context.Background()
	e := w.NewEvent()
	lock := sched.NewLock(w)
	inside, woken := 0, 0
	for range 5 {
		w.Go("waiter", func() {
			require.NoError(t, e.Wait(ctx))
			woken++
			require.NoError(t, lock.Lock(ctx))
			inside++
			assert.Equal(t, 1, inside)
			require.NoError(t, w.Sleep(ctx, time.Second))
			inside--
			lock.Unlock()
		})
	}
	w.Run(time.Second)
	assert.Equal(t, 5, w.Parked())
	assert.False(t, e.IsSet())
	e.Set()
	e.Set()
	w.Run(time.Minute)
	assert.True(t, e.IsSet())
	assert.Equal(t, 5, woken)
}

func TestWorld_ContextEndsAWait(t *testing.T) {
	w := simnet.NewWorld(3)
	defer w.Close()
	ctx, cancel := context.WithCancel(context.Background())
	var errs []error
	e := w.NewEvent()
	w.Go("event", func() { errs = append(errs, e.Wait(ctx)) })
	w.Go("sleep", func() { errs = append(errs, w.Sleep(ctx, time.Hour)) })
	w.AfterFunc(time.Second, cancel)
	w.Run(2 * time.Second)
	require.Len(t, errs, 2)
	for _, err := range errs {
		require.ErrorIs(t, err, context.Canceled)
	}
	w.Go("late", func() {
		require.ErrorIs(t, e.Wait(ctx), context.Canceled)
		require.ErrorIs(t, w.Sleep(ctx, 1), context.Canceled)
		e.Set()
		require.NoError(t, e.Wait(ctx), "set comes before ended")
	})
	w.Run(3 * time.Second)
}

func TestWorld_StopsTimers(t *testing.T) {
	w := simnet.NewWorld(4)
	defer w.Close()
	stop := w.AfterFunc(time.Second, func() { t.Error("was stopped") })
	assert.True(t, stop())
	assert.False(t, stop())
	ran := false
	late := w.AfterFunc(time.Second, func() { ran = true })
	w.Run(time.Minute)
	assert.True(t, ran)
	assert.False(t, late())
}

func TestWorld_CloseEndsProcedures(t *testing.T) {
	w := simnet.NewWorld(5)
	var err error
	w.Go("forever", func() { err = w.NewEvent().Wait(context.Background()) })
	w.Run(time.Second)
	require.Equal(t, 1, w.Parked())
	w.Close()
	require.ErrorIs(t, err, context.Canceled)
}

// TestNet_Faults shows that each fault happens, about as often as asked, and that a run replays.
func TestNet_Faults(t *testing.T) {
	const sent = 2000
	run := func(seed uint64) (arrived map[int]int, overtaken int) {
		w := simnet.NewWorld(seed)
		defer w.Close()
		n := simnet.NewNet(w, seed)
		n.SetFaults(simnet.Faults{Drop: 0.2, Duplicate: 0.2, Spike: 0.1, MinDelay: time.Millisecond, MaxDelay: 2 * time.Millisecond, SpikeTime: time.Second})
		arrived = map[int]int{}
		last := 0
		n.Join(1).Handle(func(from view.Slot, msg []byte) {
			assert.EqualValues(t, 0, from)
			i := int(msg[0])<<8 + int(msg[1])
			if arrived[i]++; i < last {
				overtaken++
			}
			last = max(last, i)
		})
		e := n.Join(0)
		for i := range sent {
			w.Call(time.Duration(i)*10*time.Millisecond, func() { e.Send(1, []byte{byte(i >> 8), byte(i)}) })
		}
		w.Run(time.Hour)
		return arrived, overtaken
	}
	arrived, overtaken := run(7)
	twice := 0
	for _, n := range arrived {
		if n == 2 {
			twice++
		}
	}
	assert.InDelta(t, sent*0.8, len(arrived), sent*0.05)
	assert.InDelta(t, sent*0.8*0.2, twice, sent*0.05)
	assert.Greater(t, overtaken, 50)
	again, _ := run(7)
	assert.Equal(t, arrived, again)
	other, _ := run(8)
	assert.NotEqual(t, arrived, other)
}

func TestNet_CutsAndLives(t *testing.T) {
	w := simnet.NewWorld(9)
	defer w.Close()
	n := simnet.NewNet(w, 9)
	var got []string
	join := func(s view.Slot, name string) *simnet.Endpoint {
		e := n.Join(s)
		e.Handle(func(_ view.Slot, msg []byte) { got = append(got, name+string(msg)) })
		return e
	}
	a, b := join(0, "a"), join(1, "b")
	n.Cut(0, 1)
	a.Send(1, []byte("1"))
	b.Send(0, []byte("2"))
	w.Run(time.Second)
	assert.Equal(t, []string{"a2"}, got, "one way only")
	n.Heal()
	second := join(1, "B")
	a.Send(1, []byte("3"))
	w.Run(2 * time.Second)
	b.Send(0, []byte("4")) // the old life still talks
	w.Run(3 * time.Second)
	assert.Equal(t, []string{"a2", "B3", "a4"}, got)
	require.NoError(t, second.Close())
	a.Send(1, []byte("5"))
	second.Send(0, []byte("6"))
	a.Send(5, []byte("7"))
	w.Run(4 * time.Second)
	assert.Len(t, got, 3)
}
