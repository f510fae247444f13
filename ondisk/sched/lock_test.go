package sched_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/covol/covol/ondisk/sched"
	"github.com/covol/covol/ondisk/sched/simsched"
)

var ctx = context.Background()

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLockIsFirstComeFirstServed(t *testing.T) {
	for seed := range uint64(30) {
		s := simsched.New(seed)
		l := sched.NewLock(s)
		var came, served []int
		holding := 0
		for i := range 6 {
			s.Go(fmt.Sprint("p", i), func() {
				for range 3 {
					came = append(came, i)
					if !assert.NoError(t, l.Lock(ctx)) {
						return
					}
					served = append(served, i)
					holding++
					assert.Equal(t, 1, holding, "seed %d", seed)
					assert.False(t, l.TryLock())
					assert.NoError(t, s.Sleep(ctx, time.Duration(s.Rand().IntN(5))))
					holding--
					l.Unlock()
				}
			})
		}
		require.NoError(t, s.Run(time.Second))
		require.Len(t, served, 18)
		require.Equal(t, came, served, "seed %d", seed)
		assert.True(t, l.TryLock(), "free at the end")
	}
}

// TestLockCancelWhileGranted ends contexts at the moment the lock is handed over. Whoever gets an error must not
// hold the lock, nobody may be forgotten, and the lock must be free at the end.
func TestLockCancelWhileGranted(t *testing.T) {
	outcomes := map[string]int{}
	for seed := range uint64(300) {
		s := simsched.New(seed)
		l := sched.NewLock(s)
		holding, got, gaveUp := 0, 0, 0
		c, cancel := s.WithCancel(ctx)
		s.Go("holder", func() {
			assert.NoError(t, l.Lock(ctx))
			assert.NoError(t, s.Sleep(ctx, time.Second))
			if s.Rand().IntN(2) == 0 {
				cancel()
				l.Unlock()
			} else {
				l.Unlock()
				cancel()
			}
		})
		for i := range 3 {
			s.AfterFunc(time.Duration(1+i), func() {
				waitWith := c
				if i == 2 {
					waitWith = ctx
				}
				if err := l.Lock(waitWith); err != nil {
					assert.ErrorIs(t, err, context.Canceled)
					gaveUp++
					return
				}
				got++
				holding++
				assert.Equal(t, 1, holding)
				assert.NoError(t, s.Sleep(ctx, time.Millisecond))
				holding--
				l.Unlock()
			})
		}
		require.NoError(t, s.Run(time.Minute), "seed %d", seed)
		require.Equal(t, 3, got+gaveUp)
		require.GreaterOrEqual(t, got, 1, "the one without a context to end")
		require.True(t, l.TryLock(), "seed %d: the lock was lost", seed)
		outcomes[fmt.Sprint(got, " got it")]++
		s.Stop()
	}
	assert.Len(t, outcomes, 2, "both ends must be met: %v", outcomes)
}

func TestLockEndedContext(t *testing.T) {
	s := sched.Real{}
	l := sched.NewLock(s)
	ended, cancel := context.WithCancel(ctx)
	cancel()
	require.NoError(t, l.Lock(ctx))
	assert.ErrorIs(t, l.Lock(ended), context.Canceled)
	l.Unlock()
	assert.Panics(t, l.Unlock)
	assert.True(t, l.TryLock())
}

func TestLockReal(t *testing.T) {
	l := sched.NewLock(sched.Real{})
	done := make(chan int)
	shared, gaveUp := 0, make(chan error, 400)
	for i := range 8 {
		go func() {
			mine := 0
			for n := range 200 {
				c, cancel := context.WithTimeout(ctx, time.Hour)
				if (i+n)%4 == 0 {
					go cancel() // races with the hand-over
				}
				if err := l.Lock(c); err != nil {
					gaveUp <- err
				} else {
					shared++
					mine++
					l.Unlock()
				}
				cancel()
			}
			done <- mine
		}()
	}
	sum := 0
	for range 8 {
		sum += <-done
	}
	close(gaveUp)
	for err := range gaveUp {
		require.ErrorIs(t, err, context.Canceled)
	}
	assert.Equal(t, sum, shared)
	assert.True(t, l.TryLock())
}
