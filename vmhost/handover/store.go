package handover

import (
	"context"
	"errors"
	"sync"
)

// ErrUnknownVM says that there is no record.
var ErrUnknownVM = errors.New("no such virtual machine")

// Store keeps the records, where every node that may run the VM reaches them. Any error but ErrUnknownVM leaves open
// whether a swap took place, or will.
type Store interface {
	// Read returns the record of a VM, or ErrUnknownVM.
	Read(ctx context.Context, vm string) (Record, error)
	// Swap replaces old by new if old is what is there; old zero: if nothing is. It returns what is there afterwards,
	// and is durable when it returns.
	Swap(ctx context.Context, vm string, old, new Record) (now Record, err error)
}

// Memory is a Store within one process.
type Memory struct {
	mu sync.Mutex
	// GUARDED_BY(mu)
	records map[string]Record
}

var _ Store = (*Memory)(nil)

// Read returns the record of a VM, or ErrUnknownVM.
func (m *Memory) Read(_ context.Context, vm string) (Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.records[vm]
	if !ok {
		return Record{}, ErrUnknownVM
	}
	return r, nil
}

// Swap is Store.Swap.
func (m *Memory) Swap(_ context.Context, vm string, old, new Record) (Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.records[vm] != old {
		return m.records[vm], nil
	}
	if m.records == nil {
		m.records = map[string]Record{}
	}
	m.records[vm] = new
	return new, nil
}
