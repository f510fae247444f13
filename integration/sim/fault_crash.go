package sim

import (
	"time"

	"github.com/covol/covol/cluster/view"
)

// ghosts is how many of the writes in flight of a dying host may land later.
func (w *World) ghosts() int { return w.disturb.IntN(4) }

// crashOne ends a node at any instant.
func crashOne(w *World) bool {
	h := w.victim()
	if h == nil {
		return false
	}
	p := h.proc
	if w.disturb.IntN(2) == 0 { // in the middle of a write, if there is one soon
		for end := w.s.Now() + 200*time.Millisecond; w.disk.InFlight(p.n) == 0 && w.s.Now() < end && !p.clock.dead; {
			_ = w.s.Sleep(background, 40*time.Microsecond)
		}
	}
	p.kill("crash", w.ghosts())
	return true
}

// crashMany ends some nodes at once, perhaps all.
func crashMany(w *World) bool {
	n := 0
	for range 1 + w.disturb.IntN(len(w.hosts)) {
		if crashOne(w) {
			n++
		}
	}
	return n > 1
}

// crashInRecovery ends a node and then, while that one is being recovered, another: mostly the one that does it.
func crashInRecovery(w *World) bool {
	if !crashOne(w) {
		return false
	}
	for end := w.s.Now() + 2*w.sb.Profile.Wait(); !w.calm && w.s.Now() < end; {
		if !w.judges.lives.recovering() {
			_ = w.s.Sleep(background, 2*time.Millisecond)
			continue
		}
		_ = w.s.Sleep(background, time.Duration(w.disturb.Int64N(int64(30*time.Millisecond))))
		h := w.recoverer()
		if h == nil || w.disturb.IntN(4) == 0 {
			h = w.victim()
		}
		if h == nil {
			return false
		}
		if w.disturb.IntN(3) == 0 {
			w.event("%v freezes in recovery", h.proc)
			h.proc.clock.freeze(w.freezeTime())
		} else {
			h.proc.kill("crash in recovery", w.ghosts())
		}
		return true
	}
	return false
}

// recoverer is the host that brings home the journal of a dead one.
func (w *World) recoverer() *Host {
	for _, s := range w.judges.lives.slots {
		if s == nil {
			continue
		}
		if id, ok := recoverer(s); ok {
			if h := w.hostOf(id); h != nil {
				return h
			}
		}
	}
	return nil
}

// hostOf is the host on which life id runs.
func (w *World) hostOf(id view.NodeID) *Host {
	for _, h := range w.hosts {
		if p := h.proc; p != nil && !p.clock.dead && w.judges.lives.owner[id] == p.n {
			return h
		}
	}
	return nil
}

// losePower takes the power of the array and of all hosts: what the disk had not made stable is lost or torn.
func losePower(w *World) bool {
	w.event("power is lost, %d bytes are not stable", w.disk.Unflushed())
	next := w.disk.CrashClone(w.disturb.Uint64())
	for _, h := range w.hosts {
		if h.proc != nil {
			h.proc.kill("power loss", 0)
		}
	}
	w.judges.volume.crashed("after power loss", next.Clone())
	next.SetWait(w.s.Sleep)
	w.disk = next
	w.boots++
	return true
}

// probePowerLoss shows the judges what a loss of power would leave, without one.
func probePowerLoss(w *World) bool {
	w.judges.volume.crashed("as if power had been lost", w.disk.CrashClone(w.disturb.Uint64()))
	return true
}

// leaveAndReturn takes a node out cleanly.
func leaveAndReturn(w *World) bool {
	h := w.victim()
	if h == nil || !h.active() || h.proc.quit {
		return false
	}
	p := h.proc
	if err := p.leave(); err != nil {
		w.event("%v left badly: %v", p, err)
		p.kill("left badly", 0)
		return false
	}
	return p.left
}
