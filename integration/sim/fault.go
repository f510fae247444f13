package sim

import (
	"slices"
	"time"
)

// faultKind is one way of breaking things. do returns when it is over; it reports whether there was something to break.
type faultKind struct {
	name string
	do   func(w *World) bool
}

var faultKinds = []faultKind{
	{"crash", crashOne},
	{"crash-many", crashMany},
	{"crash-in-recovery", crashInRecovery},
	{"power-loss", losePower},
	{"probe-power-loss", probePowerLoss},
	{"freeze-short", freezeShort},
	{"freeze-long", freezeLong},
	{"suspend", suspend},
	{"clock-jump", jumpClock},
	{"cut-one-way", cutOneWay},
	{"cut", cutPair},
	{"isolate", isolate},
	{"split", split},
	{"net-storm", netStorm},
	{"disk-hung", hangDisk},
	{"disk-errors", failDisk},
	{"disk-slow", slowDisk},
	{"leave", leaveAndReturn},
	{"data-hung", hangData},
}

// FaultNames are the kinds of faults.
func FaultNames() []string {
	var names []string
	for _, k := range faultKinds {
		names = append(names, k.name)
	}
	return names
}

// disturbAll makes faults until calm, some of them at once.
func (w *World) disturbAll() {
	if len(w.opt.Faults) == 0 {
		return
	}
	for {
		_ = w.s.Sleep(background, time.Duration(w.disturb.ExpFloat64()*float64(w.opt.Every)))
		if w.calm {
			return
		}
		name := w.opt.Faults[w.disturb.IntN(len(w.opt.Faults))]
		k := faultKinds[slices.IndexFunc(faultKinds, func(k faultKind) bool { return k.name == name })]
		w.running++
		w.s.Go("fault "+name, func() {
			if k.do(w) {
				w.stats.Faults[name]++
			}
			w.running--
		})
	}
}

// victim is a host whose node runs, nil if there is none.
func (w *World) victim() *Host {
	var up []*Host
	for _, h := range w.hosts {
		if p := h.proc; p != nil && !p.clock.dead && !p.left && p.failed == nil {
			up = append(up, h)
		}
	}
	if len(up) == 0 {
		return nil
	}
	return up[w.disturb.IntN(len(up))]
}

// forAWhile waits a time drawn up to limit, or until calm.
func (w *World) forAWhile(limit time.Duration) {
	end := w.s.Now() + time.Duration(w.disturb.Int64N(int64(limit)))
	for w.s.Now() < end && !w.calm {
		_ = w.s.Sleep(background, min(50*time.Millisecond, end-w.s.Now()))
	}
}
