package sched_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/ondisk/sched"
)

func TestRealTime(t *testing.T) {
	s := sched.Real{}
	a := s.Now()
	require.NoError(t, s.Sleep(ctx, time.Millisecond))
	assert.GreaterOrEqual(t, s.Now()-a, time.Millisecond)
	assert.False(t, s.Wall().IsZero())

	ended, cancel := context.WithCancel(ctx)
	cancel()
	assert.ErrorIs(t, s.Sleep(ended, time.Hour), context.Canceled)
}

func TestRealEvent(t *testing.T) {
	s := sched.Real{}
	e := s.NewEvent()
	assert.False(t, e.IsSet())
	ended, cancel := context.WithCancel(ctx)
	woken := make(chan error)
	for range 3 {
		s.Go("waiter", func() { woken <- e.Wait(ctx) })
	}
	s.Go("gives up", func() { woken <- e.Wait(ended) })
	cancel()
	require.ErrorIs(t, <-woken, context.Canceled)
	e.Set()
	e.Set()
	for range 3 {
		require.NoError(t, <-woken)
	}
	assert.True(t, e.IsSet())
	assert.NoError(t, e.Wait(ended), "a set event wins over an ended context")
}

func TestRealAfterFunc(t *testing.T) {
	s := sched.Real{}
	ran := s.NewEvent()
	stop := s.AfterFunc(0, ran.Set)
	require.NoError(t, ran.Wait(ctx))
	assert.False(t, stop())
	assert.True(t, s.AfterFunc(time.Hour, func() { t.Error("ran") })())
}
