package scsi

import (
	"slices"
	"sync"
)

// maxPending bounds the unit attentions of one nexus; SAM-5 5.14.1 allows to drop what does not fit.
const maxPending = 16

// attentions are the unit attentions of the nexuses that are attached (SAM-5 5.14).
type attentions struct {
	mu sync.Mutex
	// GUARDED_BY(mu)
	pending map[Nexus][]Code
}

func (a *attentions) init() { a.pending = map[Nexus][]Code{} }

func (a *attentions) attach(n Nexus, c Code) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pending[n] = []Code{c}
}

func (a *attentions) detach(n Nexus) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.pending, n)
}

// raise queues c for n, if it is attached.
func (a *attentions) raise(n Nexus, c Code) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if q, ok := a.pending[n]; ok && len(q) < maxPending && !slices.Contains(q, c) {
		a.pending[n] = append(q, c)
	}
}

// raiseOthers queues c for all but n.
func (a *attentions) raiseOthers(n Nexus, c Code) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for other, q := range a.pending {
		if other != n && len(q) < maxPending && !slices.Contains(q, c) {
			a.pending[other] = append(q, c)
		}
	}
}

// raiseAll replaces what is pending everywhere: a reset takes precedence (SAM-5 5.14.2).
func (a *attentions) raiseAll(c Code) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for n := range a.pending {
		a.pending[n] = []Code{c}
	}
}

// take returns the oldest attention of n and removes it.
func (a *attentions) take(n Nexus) (Code, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	q := a.pending[n]
	if len(q) == 0 {
		return 0, false
	}
	a.pending[n] = q[1:]
	return q[0], true
}
