package sim

import "time"

// freezeTime is around or beyond the time after which the others take a node for dead.
func (w *World) freezeTime() time.Duration {
	wait := w.sb.Profile.Wait()
	return wait/2 + time.Duration(w.disturb.Int64N(int64(wait*3/2)))
}

// freezeShort stops a process for less than its lease, as a busy host does.
func freezeShort(w *World) bool {
	return freezeFor(w, time.Duration(w.disturb.Int64N(int64(w.sb.Profile.Lease))))
}

// freezeLong stops a process until the others may have buried it, and lets it go on as if nothing had happened.
func freezeLong(w *World) bool { return freezeFor(w, w.freezeTime()) }

func freezeFor(w *World, d time.Duration) bool {
	h := w.victim()
	if h == nil {
		return false
	}
	w.event("%v freezes for %v", h.proc, d)
	h.proc.clock.freeze(d)
	return true
}

// suspend stops a host with its timers.
func suspend(w *World) bool {
	h := w.victim()
	if h == nil {
		return false
	}
	d := time.Duration(w.disturb.Int64N(int64(2 * w.sb.Profile.Wait())))
	w.event("host of %v is suspended for %v", h.proc, d)
	h.proc.clock.suspend(d)
	return true
}

// jumpClock makes the clock of a host jump ahead, as that of a virtual machine does.
func jumpClock(w *World) bool {
	h := w.victim()
	if h == nil {
		return false
	}
	d := time.Duration(w.disturb.Int64N(int64(5 * time.Second)))
	w.event("clock of %v jumps by %v", h.proc, d)
	h.proc.clock.ahead += d
	return true
}
