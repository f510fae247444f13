package sim

import "time"

// hangDisk keeps one host from the disk: what it asks for is not answered, and taken back after a while.
func hangDisk(w *World) bool {
	h := w.hosts[w.disturb.IntN(len(w.hosts))]
	d := time.Duration(w.disturb.Int64N(int64(2 * w.sb.Profile.Wait())))
	w.event("path of %s to the disk hangs for %v", h.name, d)
	h.path.hungUntil = max(h.path.hungUntil, w.s.Now()+d)
	return true
}

// hangData keeps the data of one host from the disk while its heartbeats get through.
func hangData(w *World) bool {
	h := w.hosts[w.disturb.IntN(len(w.hosts))]
	d := time.Duration(w.disturb.Int64N(int64(2 * w.sb.Profile.Wait())))
	w.event("data of %s hangs for %v, its heartbeats do not", h.name, d)
	h.path.dataUntil = max(h.path.dataUntil, w.s.Now()+d)
	return true
}

// failDisk makes a share of what one host asks of the disk fail.
func failDisk(w *World) bool {
	h := w.hosts[w.disturb.IntN(len(w.hosts))]
	h.path.failShare = []float64{0.001, 0.05, 0.5, 1}[w.disturb.IntN(4)]
	d := time.Duration(w.disturb.Int64N(int64(w.sb.Profile.Wait())))
	w.event("path of %s to the disk fails at %v for %v", h.name, h.path.failShare, d)
	h.path.failUntil = max(h.path.failUntil, w.s.Now()+d)
	return true
}

// slowDisk makes what one host asks of the disk take up to half of what it may.
func slowDisk(w *World) bool {
	h := w.hosts[w.disturb.IntN(len(w.hosts))]
	h.path.slow = 1 + time.Duration(w.disturb.Int64N(int64(w.sb.Profile.IOBound/4)))
	d := time.Duration(w.disturb.Int64N(int64(w.sb.Profile.Wait())))
	w.event("path of %s to the disk is slow by %v for %v", h.name, h.path.slow, d)
	h.path.slowUntil = max(h.path.slowUntil, w.s.Now()+d)
	return true
}
