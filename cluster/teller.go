package cluster

import (
	"sync"

	"github.com/covol/covol/ondisk/sched"
)

// teller calls functions of the user, in order and one at a time, on a procedure of its own: whoever has news never waits
// for who listens.
type teller struct {
	s    sched.Scheduler
	name string
	most int // how many may wait; what comes then is dropped. 0: no limit

	mu sync.Mutex
	// GUARDED_BY(mu)
	untold []func()
	// GUARDED_BY(mu)
	telling bool
}

// say has f called, after all that was said before.
func (t *teller) say(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.most > 0 && len(t.untold) >= t.most {
		return
	}
	t.untold = append(t.untold, f)
	if !t.telling {
		t.telling = true
		t.s.Go(t.name, t.tell)
	}
}

func (t *teller) tell() {
	for {
		t.mu.Lock()
		if len(t.untold) == 0 {
			t.telling = false
			t.mu.Unlock()
			return
		}
		f := t.untold[0]
		t.untold = t.untold[1:]
		t.mu.Unlock()
		f()
	}
}
