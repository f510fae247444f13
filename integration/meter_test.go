package integration

import (
	"sync"
	"time"
)

// meter knows how long the operations of one node took, and how long those that are not over have taken.
type meter struct {
	mu sync.Mutex
	// GUARDED_BY(mu): beginnings of what is not over
	open map[int]time.Time
	// GUARDED_BY(mu)
	next int
	// GUARDED_BY(mu)
	done int
	// GUARDED_BY(mu)
	longest time.Duration
}

// time runs an operation.
func (m *meter) time(op func() error) error {
	m.mu.Lock()
	if m.open == nil {
		m.open = map[int]time.Time{}
	}
	id, begin := m.next, time.Now()
	m.next++
	m.open[id] = begin
	m.mu.Unlock()

	err := op()

	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.open, id)
	m.longest = max(m.longest, time.Since(begin))
	if err == nil {
		m.done++
	}
	return err
}

// stall is the longest that anybody has waited on the node since reset.
func (m *meter) stall() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.longest
	for _, begin := range m.open {
		d = max(d, time.Since(begin))
	}
	return d
}

func (m *meter) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.done
}

func (m *meter) reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.longest = 0
}
