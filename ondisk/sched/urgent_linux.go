package sched

import (
	"runtime"

	"golang.org/x/sys/unix"
)

var _ Threader = Real{}

// GoThread starts a goroutine that keeps its thread, first in line for a processor where this process may ask for that:
// SCHED_RR at its lowest priority, which beats all that is not real time, else nice -20. A refusal is not an error.
// The thread ends with fn.
func (Real) GoThread(_ string, fn func()) {
	go func() {
		runtime.LockOSThread() // never unlocked: the raised thread must not serve others
		raise()
		fn()
	}()
}

// raise acts on the calling thread.
func raise() {
	rr := unix.SchedAttr{Policy: unix.SCHED_RR, Priority: 1, Flags: unix.SCHED_FLAG_RESET_ON_FORK}
	if unix.SchedSetAttr(0, &rr, 0) != nil {
		_ = unix.Setpriority(unix.PRIO_PROCESS, 0, -20)
	}
}
