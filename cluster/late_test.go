package cluster

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/covol/covol/ondisk"
)

// The lease runs out just while the view that lets us in is being written. The late renewal has read the view before
// that, and is told late: what it read is older than the entering, and means nothing.
func TestLateRenewalReadsAnOldViewWhileEntering(t *testing.T) {
	w := newWorld(t, 1, 3, true)
	a := w.spawn("a", 0)
	wait := func(cond func() bool) {
		for !cond() {
			_ = w.s.Sleep(context.Background(), time.Millisecond)
		}
	}
	const viewOff = ondisk.ViewBlock * ondisk.BlockSize
	entering, lateRead := false, false
	a.hb.hook = func(write bool, off int64, op func() error) error {
		n := a.joining
		switch {
		case n == nil || n.currentRenewer() == nil:
		case write && off == viewOff && !entering:
			entering = true
			wait(func() bool { return lateRead })
		case write && off != viewOff && entering && !lateRead:
			if end, ok := n.gate.Deadline(); ok && w.s.Now() <= end {
				return errInjected
			}
		case !write && off == viewOff && entering && !lateRead:
			err := op()
			lateRead = true
			wait(n.hasEntered)
			return err
		}
		return op()
	}
	w.run(patience, "join", func() bool { return a.done })
	assert.True(t, entering && lateRead, "the test is about something else")
	assert.NoError(t, a.err)
	w.run(patience, "work", func() bool { return a.active() && a.writes > 3 })
	assert.NotContains(t, a.states, StateFenced)
	w.check()
}
