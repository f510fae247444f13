package faultdev_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/blockdev/devtest"
	"github.com/covol/covol/ondisk/blockdev/faultdev"
	"github.com/covol/covol/ondisk/blockdev/memdev"
	"github.com/covol/covol/ondisk/sched/simsched"
)

// submitting is a device in memory with an asynchronous way of its own.
type submitting struct {
	*memdev.Device
	blockdev.Submitter
}

func newSubmitting() submitting {
	m := mem()
	return submitting{m, blockdev.NewPool(m, 2, nil)}
}

func TestConformanceOfSubmitter(t *testing.T) {
	devtest.Run(t, func(t *testing.T) blockdev.Device {
		d := faultdev.New(newSubmitting(), nil).As()
		require.Implements(t, (*blockdev.Submitter)(nil), d)
		return d
	})
}

func TestParseTimes(t *testing.T) {
	for text, canonical := range map[string]string{
		"any hang": "any hang", "write hold once": "write hold once", "read delay 1500ms": "read delay 1.5s",
		"write #2 late 2s once": "write #2 late 2s once",
	} {
		rs, err := faultdev.Parse(text)
		require.NoError(t, err, text)
		assert.Equal(t, canonical, rs.String())
		again, err := faultdev.Parse(rs.String())
		require.NoError(t, err)
		assert.Equal(t, rs, again)
	}
	for text, want := range map[string]string{
		"write delay": "wants a time", "write late soon": `no time: "soon"`, "write late -1s": "no time", "any hang 3s": `unexpected "3s"`,
	} {
		_, err := faultdev.Parse(text)
		assert.ErrorContains(t, err, want, text)
	}
}

// slowCase says when a write under a rule is answered and when it is on the medium, in seconds after it began; the rule is
// lifted after 3 s.
type slowCase struct {
	rule           string
	answered, done float64 // done < 0: never
	fails          bool
}

// TestSlow: what takes time takes it whichever way the operation comes, and a hanging operation never lands.
func TestSlow(t *testing.T) {
	for _, c := range []slowCase{
		{"any hang", 3, -1, true},
		{"any hold", 3, 3, false},
		{"any delay 2s", 2, 2, false},
		{"any delay 5s", 5, 5, false},
		{"write late 2s", 0, 2, false},
		{"write late 5s", 0, 5, false},
	} {
		t.Run(c.rule, func(t *testing.T) {
			t.Run("call", func(t *testing.T) {
				slow(t, c, func(d blockdev.Device, p []byte, done func(error)) { done(d.WriteAt(ctx, p, 0, false)) })
			})
			t.Run("submit", func(t *testing.T) {
				slow(t, c, func(d blockdev.Device, p []byte, done func(error)) {
					d.(blockdev.Submitter).Submit([]blockdev.Op{{Kind: blockdev.OpWrite, Buf: p, Done: done}})
				})
			})
		})
	}
}

func slow(t *testing.T, c slowCase, write func(blockdev.Device, []byte, func(error))) {
	s := simsched.New(1)
	m := mem()
	d := faultdev.NewSched(submitting{m, blockdev.NewPool(m, 2, s.Go)}, faultdev.Must(c.rule), s)
	ones := bytes.Repeat([]byte{1}, 512)
	landed := func() bool {
		p := make([]byte, 512)
		require.NoError(t, m.ReadAt(ctx, p, 0))
		return p[0] == 1
	}
	answered := false
	s.Go("writer", func() {
		write(d.As(), ones, func(err error) {
			answered = true
			assert.Equal(t, c.fails, err != nil)
			assert.InDelta(t, c.answered, s.Now().Seconds(), 0.1)
			if c.answered < c.done {
				clear(ones) // the buffer is the caller's again
			}
		})
	})
	s.Go("lift", func() {
		assert.NoError(t, s.Sleep(ctx, 3*time.Second))
		if c.answered >= 3 {
			assert.Equal(t, 1, d.Waiting())
		}
		d.Set(nil)
	})
	s.Go("look", func() {
		for now := 0.25; now < 6; now += 0.5 {
			assert.NoError(t, s.Sleep(ctx, time.Duration(now*float64(time.Second))-s.Now()))
			assert.Equal(t, c.done >= 0 && now > c.done, landed(), "at %v s", now)
		}
	})
	require.NoError(t, s.Run(10*time.Second))
	assert.True(t, answered)
	assert.Zero(t, d.Waiting())
	assert.EqualValues(t, 1, d.Strikes())
}

// TestHangIgnoresContext: nobody calls back what is on its way to a disk.
func TestHangIgnoresContext(t *testing.T) {
	s := simsched.New(1)
	d := faultdev.NewSched(mem(), faultdev.Must("any hang"), s)
	ended, cancel := context.WithCancel(ctx)
	cancel()
	s.Go("reader", func() {
		err := d.ReadAt(ended, make([]byte, 512), 0)
		assert.ErrorIs(t, err, blockdev.ErrMedium)
		assert.InDelta(t, 1, s.Now().Seconds(), 0.1)
	})
	s.Go("lift", func() {
		assert.NoError(t, s.Sleep(ctx, time.Second))
		d.Set(nil)
	})
	require.NoError(t, s.Run(10*time.Second))
}
