package cluster

import (
	"slices"
	"time"

	"github.com/covol/covol/cluster/view"
)

// Wait is something that this node waits for.
type Wait struct {
	What  string
	Slot  view.Slot     // whom it is about, view.NoSlot for nobody
	Since time.Duration // Scheduler.Now
}

// waits keeps what is waited for from look to look, with the time at which it began.
type waits struct {
	now, before []Wait
}

func (w *waits) begin() { w.before, w.now = w.now, nil }

func (w *waits) add(what string, slot view.Slot) {
	x := Wait{What: what, Slot: slot, Since: -1}
	if i := slices.IndexFunc(w.before, func(o Wait) bool { return o.What == what && o.Slot == slot }); i >= 0 {
		x.Since = w.before[i].Since
	}
	w.now = append(w.now, x)
}

func (w *waits) end(now time.Duration) {
	for i := range w.now {
		if w.now[i].Since < 0 {
			w.now[i].Since = now
		}
	}
}
