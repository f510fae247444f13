package simsched_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/blockdev/simdisk"
	"github.com/covol/covol/ondisk/sched"
	"github.com/covol/covol/ondisk/sched/simsched"
)

var ctx = context.Background()

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newScheduler(t *testing.T, seed uint64) *simsched.Scheduler {
	s := simsched.New(seed)
	t.Cleanup(s.Stop)
	return s
}

// busy runs procedures that sleep, lock, start others and wait for each other; it returns what they did in order.
func busy(t *testing.T, seed uint64) (log []string, hash uint64) {
	s := newScheduler(t, seed)
	l := sched.NewLock(s)
	ended := s.NewEvent()
	left := 5
	for i := range left {
		s.Go(fmt.Sprint("worker ", i), func() {
			for n := range 4 {
				require.NoError(t, l.Lock(ctx))
				log = append(log, fmt.Sprint(i, ".", n))
				assert.NoError(t, s.Sleep(ctx, time.Duration(s.Rand().IntN(3))*time.Millisecond))
				l.Unlock()
			}
			s.AfterFunc(time.Millisecond, func() {
				if left--; left == 0 {
					ended.Set()
				}
			})
		})
	}
	s.Go("last", func() {
		assert.NoError(t, ended.Wait(ctx))
		log = append(log, "end")
	})
	require.NoError(t, s.Run(time.Hour))
	return log, s.Hash()
}

func TestSameSeedSameOrder(t *testing.T) {
	seen := map[string]bool{}
	for seed := range uint64(30) {
		log1, hash1 := busy(t, seed)
		log2, hash2 := busy(t, seed)
		require.Equal(t, log1, log2, "seed %d", seed)
		require.Equal(t, hash1, hash2, "seed %d", seed)
		require.Equal(t, "end", log1[len(log1)-1])
		seen[strings.Join(log1, " ")] = true
	}
	assert.Greater(t, len(seen), 15, "seeds make a difference")
}

func TestVirtualTime(t *testing.T) {
	s := newScheduler(t, 1)
	var at []time.Duration
	s.Go("sleeper", func() {
		for _, d := range []time.Duration{time.Hour, 0, -5, 365 * 24 * time.Hour} {
			assert.NoError(t, s.Sleep(ctx, d))
			at = append(at, s.Now())
		}
	})
	wall := s.Wall()
	require.NoError(t, s.Run(30*time.Minute))
	assert.Empty(t, at)
	assert.Equal(t, 30*time.Minute, s.Now())
	require.NoError(t, s.Run(2*time.Hour))
	assert.Equal(t, []time.Duration{time.Hour, time.Hour, time.Hour}, at)
	require.NoError(t, s.Run(1<<62))
	assert.Equal(t, 366*24*time.Hour-23*time.Hour, s.Now(), "stops with the last procedure")
	assert.Equal(t, s.Now(), s.Wall().Sub(wall))
}

func TestAfterFunc(t *testing.T) {
	s := newScheduler(t, 1)
	var ran []string
	stop := s.AfterFunc(time.Second, func() { ran = append(ran, "stopped") })
	stopLate := s.AfterFunc(time.Second, func() { ran = append(ran, "ran") })
	s.AfterFunc(2*time.Second, func() {
		assert.NoError(t, s.Sleep(ctx, time.Second))
		ran = append(ran, "slept")
	})
	assert.True(t, stop())
	assert.False(t, stop())
	require.NoError(t, s.Run(time.Minute))
	assert.False(t, stopLate())
	assert.Equal(t, []string{"ran", "slept"}, ran)
	assert.Equal(t, 3*time.Second, s.Now())
}

func TestSwitchesOnlyInWaits(t *testing.T) {
	for seed := range uint64(20) {
		s := newScheduler(t, seed)
		inside := 0
		for range 4 {
			s.Go("p", func() {
				for range 3 {
					inside++
					e := s.NewEvent()
					e.Set()
					s.Go("child", func() { assert.Zero(t, inside) })
					assert.NoError(t, e.Wait(ctx), "set already: no switch")
					assert.Equal(t, 1, inside)
					inside--
					assert.NoError(t, s.Sleep(ctx, 0))
				}
			})
		}
		require.NoError(t, s.Run(time.Second))
	}
}

func TestDeadlockNamesTheParked(t *testing.T) {
	s := newScheduler(t, 1)
	a, b := sched.NewLock(s), sched.NewLock(s)
	both := func(first, second *sched.Lock) func() {
		return func() {
			assert.NoError(t, first.Lock(ctx))
			assert.NoError(t, s.Sleep(ctx, time.Second))
			assert.NoError(t, second.Lock(ctx))
		}
	}
	s.Go("left hand", both(a, b))
	s.Go("right hand", both(b, a))
	s.Go("bystander", func() {})
	err := s.Run(time.Hour)
	var dead *simsched.DeadlockError
	require.ErrorAs(t, err, &dead)
	assert.Equal(t, time.Second, dead.Now)
	require.Len(t, dead.Parked, 2)
	assert.Contains(t, err.Error(), `"left hand" waits in event: sched.(*Lock).Lock`)
	assert.Contains(t, err.Error(), "TestDeadlockNamesTheParked")
	assert.Equal(t, dead.Parked, s.Parked())
	assert.NotContains(t, err.Error(), "bystander")
}

func TestContextWakes(t *testing.T) {
	type value struct{}
	for name, derive := range map[string]func(context.Context) context.Context{
		"itself": func(c context.Context) context.Context { return c },
		"value":  func(c context.Context) context.Context { return context.WithValue(c, value{}, 1) },
		"standard": func(c context.Context) context.Context {
			c, cancel := context.WithCancel(c)
			t.Cleanup(cancel)
			return c
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScheduler(t, 1)
			c, cancel := s.WithCancel(ctx)
			c = derive(c)
			errs := map[string]error{}
			s.Go("in event", func() { errs["event"] = s.NewEvent().Wait(c) })
			s.Go("in sleep", func() { errs["sleep"] = s.Sleep(c, time.Hour) })
			s.Go("in lock", func() {
				l := sched.NewLock(s)
				assert.True(t, l.TryLock())
				errs["lock"] = l.Lock(c)
			})
			s.Go("canceller", func() {
				assert.NoError(t, s.Sleep(ctx, time.Second))
				cancel()
				cancel()
			})
			require.NoError(t, s.Run(time.Minute))
			require.Len(t, errs, 3)
			for what, err := range errs {
				assert.ErrorIs(t, err, context.Canceled, what)
			}
			assert.Equal(t, time.Second, s.Now())
			assert.ErrorIs(t, c.Err(), context.Canceled)
		})
	}
}

func TestTimeoutAndChildren(t *testing.T) {
	s := newScheduler(t, 1)
	s.Go("p", func() {
		up, cancelUp := s.WithTimeout(ctx, 3*time.Second)
		defer cancelUp()
		down, cancelDown := s.WithTimeout(up, time.Hour)
		defer cancelDown()
		short, cancelShort := s.WithTimeout(down, time.Second)
		defer cancelShort()

		at, ok := down.Deadline()
		assert.True(t, ok)
		assert.Equal(t, s.Wall().Add(3*time.Second), at)

		assert.ErrorIs(t, s.Sleep(short, time.Hour), context.DeadlineExceeded)
		assert.Equal(t, time.Second, s.Now())
		assert.NoError(t, down.Err(), "a child's end is not its parent's")

		assert.ErrorIs(t, s.NewEvent().Wait(down), context.DeadlineExceeded)
		assert.Equal(t, 3*time.Second, s.Now())
		assert.ErrorIs(t, s.Sleep(down, 1), context.DeadlineExceeded, "ended already")

		late, cancelLate := s.WithCancel(up)
		defer cancelLate()
		assert.ErrorIs(t, late.Err(), context.DeadlineExceeded, "child of what has ended")
		<-late.Done()
	})
	require.NoError(t, s.Run(time.Minute))
}

func TestForeignContextIsSeenAtWakeUp(t *testing.T) {
	s := newScheduler(t, 1)
	c, cancel := context.WithCancel(ctx)
	e := s.NewEvent()
	var err error
	s.Go("waiter", func() { err = e.Wait(c) })
	s.AfterFunc(time.Second, cancel)
	var dead *simsched.DeadlockError
	require.ErrorAs(t, s.Run(time.Minute), &dead)
	e.Set()
	require.NoError(t, s.Run(time.Minute))
	assert.True(t, err == nil || errors.Is(err, context.Canceled))
}

// TestBothAtOnce sets the event and ends the context before the waiter runs: either answer must be met.
func TestBothAtOnce(t *testing.T) {
	got := map[error]int{}
	for seed := range uint64(50) {
		s := newScheduler(t, seed)
		c, cancel := s.WithCancel(ctx)
		e := s.NewEvent()
		s.Go("waiter", func() { got[e.Wait(c)]++ })
		s.AfterFunc(time.Second, func() {
			cancel()
			e.Set()
		})
		require.NoError(t, s.Run(time.Minute))
	}
	assert.Greater(t, got[nil], 10)
	assert.Greater(t, got[context.Canceled], 10)
}

func TestPanicAndGoexit(t *testing.T) {
	s := newScheduler(t, 1)
	s.Go("bad", func() { panic("ouch") })
	func() {
		defer func() {
			var bad *simsched.PanicError
			require.ErrorAs(t, recover().(error), &bad)
			assert.Equal(t, "bad", bad.Name)
			assert.Equal(t, "ouch", bad.Value)
			assert.Contains(t, bad.Stack, "TestPanicAndGoexit")
		}()
		_ = s.Run(time.Second)
		t.Error("Run returned")
	}()
	s.Go("failed", func() { new(testing.T).SkipNow() })
	assert.ErrorContains(t, s.Run(time.Second), `"failed" left by runtime.Goexit`)
	require.NoError(t, s.Run(time.Second))
}

func TestStopUnwinds(t *testing.T) {
	s := simsched.New(1)
	l := sched.NewLock(s)
	var left []string
	s.Go("holder", func() {
		require.NoError(t, l.Lock(ctx))
		defer func() { left = append(left, "holder") }()
		defer l.Unlock()
		_ = s.NewEvent().Wait(ctx)
		t.Error("went on")
	})
	s.Go("waits again", func() {
		defer func() { left = append(left, "again") }()
		defer func() { _ = s.Sleep(ctx, time.Second); t.Error("slept after the end") }()
		_ = s.Sleep(ctx, time.Hour)
		t.Error("went on")
	})
	c, cancel := s.WithTimeout(ctx, time.Hour)
	stop := s.AfterFunc(time.Hour, func() { t.Error("ran") })
	require.NoError(t, s.Run(time.Second))
	s.Go("never begins", func() { t.Error("began") })
	s.Stop()
	s.Go("too late", func() { t.Error("began") })
	assert.Equal(t, []string{"holder", "again"}, left)
	assert.False(t, stop())
	cancel()
	assert.ErrorIs(t, c.Err(), context.Canceled)
	require.NoError(t, s.Run(time.Hour))
	s.Stop()
}

func TestWaitOutsideOfProcedures(t *testing.T) {
	s := newScheduler(t, 1)
	assert.Panics(t, func() { _ = s.Sleep(ctx, 1) })
	assert.Panics(t, func() { _ = s.NewEvent().Wait(ctx) })
	e := s.NewEvent()
	e.Set()
	assert.NoError(t, e.Wait(ctx), "nothing to wait for")
	s.Go("p", func() {})
	require.NoError(t, s.Run(1))
}

// TestSimulatedDisk has two hosts on one disk whose time is virtual, one of which is killed: same seed, same end.
func TestSimulatedDisk(t *testing.T) {
	run := func(seed uint64) (uint64, uint64, time.Duration) {
		s := newScheduler(t, seed)
		d := simdisk.New(simdisk.Config{Size: 1 << 20, Seed: seed, Traits: simdisk.Harsh, Wait: s.Sleep})
		for host := range 2 {
			p := d.Path(host)
			s.Go(fmt.Sprint("host ", host), func() {
				for i := range 20 {
					buf := blockdev.Alloc(2048)
					buf[0], buf[512], buf[1024] = byte(host+1), byte(i), 7
					if err := p.WriteAt(ctx, buf, int64(s.Rand().IntN(8))*1024, i%5 == 0); err != nil {
						assert.ErrorIs(t, err, simdisk.ErrDead)
						return
					}
					if i%6 == 0 {
						_ = p.Flush(ctx)
					}
				}
			})
		}
		s.AfterFunc(5*time.Millisecond, func() { d.KillHost(1, 1) })
		s.AfterFunc(9*time.Millisecond, func() { d.DeliverGhosts() })
		require.NoError(t, s.Run(time.Minute))
		return s.Hash(), d.Hash(), s.Now()
	}
	ends := map[uint64]bool{}
	for seed := range uint64(20) {
		h1, d1, n1 := run(seed)
		h2, d2, n2 := run(seed)
		require.Equal(t, []any{h1, d1, n1}, []any{h2, d2, n2}, "seed %d", seed)
		ends[d1] = true
	}
	assert.Greater(t, len(ends), 15)
}
