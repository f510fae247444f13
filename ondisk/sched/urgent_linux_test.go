package sched_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"golang.org/x/sys/unix"

	"github.com/covol/covol/ondisk/sched"
)

// An urgent procedure keeps its thread, and that thread is raised as far as this process may; others are not.
func TestGoUrgentHasItsThread(t *testing.T) {
	tids, prio := make(chan int), make(chan bool, 1)
	sched.GoUrgent(sched.Real{}, "urgent", func() {
		attr, err := unix.SchedGetAttr(0, 0)
		prio <- err == nil && (attr.Policy == unix.SCHED_RR || attr.Nice == -20 || unix.Geteuid() != 0)
		for range 20 {
			tids <- unix.Gettid()
			runtime.Gosched()
		}
		close(tids)
	})
	first := <-tids
	for tid := range tids {
		assert.Equal(t, first, tid)
	}
	if !<-prio {
		t.Log("this process may not raise its threads")
	}
	attr, err := unix.SchedGetAttr(0, 0)
	assert.NoError(t, err)
	assert.NotEqual(t, uint32(unix.SCHED_RR), attr.Policy, "what others run on stays as it was")
}

// Without threads it is a procedure like any other.
func TestGoUrgentElsewhere(t *testing.T) {
	type plain struct{ sched.Scheduler }
	done := sched.Real{}.NewEvent()
	sched.GoUrgent(plain{sched.Real{}}, "urgent", done.Set)
	assert.NoError(t, done.Wait(ctx))
}

// Leases count on the clock that goes on in suspend.
func TestNowIsBootTime(t *testing.T) {
	read := func() time.Duration {
		var ts unix.Timespec
		assert.NoError(t, unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts))
		return time.Duration(ts.Nano())
	}
	before, now, after := read(), sched.Real{}.Now(), read()
	assert.True(t, before <= now && now <= after)
}
