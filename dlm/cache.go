package dlm

import (
	"maps"
	"slices"
	"time"

	"github.com/covol/covol/cluster/view"
)

// cachedMasters bounds the memory for masters of resources that are not held at present.
const cachedMasters = 4096

// masterCache remembers who mastered what was given up lately. A wrong entry costs one round trip.
type masterCache struct {
	m     map[Resource]view.NodeID
	order []Resource // oldest first; may name entries that were taken
}

func (k *masterCache) put(r Resource, n view.NodeID) {
	if k.m == nil {
		k.m = map[Resource]view.NodeID{}
	}
	if _, ok := k.m[r]; !ok {
		k.order = append(k.order, r)
	}
	k.m[r] = n
	for len(k.order) > cachedMasters {
		delete(k.m, k.order[0])
		k.order = k.order[1:]
	}
}

// take returns the entry of r and removes it: the lock that is made carries it on.
func (k *masterCache) take(r Resource) (view.NodeID, bool) {
	n, ok := k.m[r]
	delete(k.m, r)
	return n, ok
}

// keep drops the masters that are no members any more.
func (k *masterCache) keep(v *view.View) {
	maps.DeleteFunc(k.m, func(_ Resource, n view.NodeID) bool { return !v.Has(n) })
	k.order = slices.DeleteFunc(k.order, func(r Resource) bool { _, ok := k.m[r]; return !ok })
}

// retry is a Lookup that is repeated later because directory and master disagreed: one of them is about to learn.
type retry struct {
	at  time.Duration
	res Resource
}

const (
	retryMin = time.Millisecond
	retryMax = 100 * time.Millisecond
)

// lookupAgain asks the directory again, at once for the first time, later and later after that.
func (c *Core) lookupAgain(l *lock) {
	l.tries++
	if l.tries == 1 {
		c.lookup(l)
		return
	}
	l.state = looking
	wait := min(retryMin<<min(l.tries-2, 10), retryMax)
	c.retries = append(c.retries, retry{at: c.now + wait, res: l.res})
}

func (c *Core) retryTimers() {
	var due []retry
	c.retries = slices.DeleteFunc(c.retries, func(r retry) bool {
		if r.at <= c.now {
			due = append(due, r)
			return true
		}
		return false
	})
	for _, r := range due {
		if l := c.locks[r.res]; l != nil && l.state == looking {
			c.lookup(l)
		}
	}
}
