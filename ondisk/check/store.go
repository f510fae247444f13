package check

import (
	"bytes"
	"fmt"

	"github.com/tidwall/btree"
)

// Store keeps what a repair must remember beyond its limit of memory: small values under ordered keys. It may be slow
// and it may fail, but it must not forget or invent anything without an error. It is used by one caller at a time.
type Store interface {
	// Put sets the value of key. Both are copied.
	Put(key, value []byte) error
	// Get returns the value of key, nil if there is none.
	Get(key []byte) ([]byte, error)
	// Ascend gives fn all keys from from on in ascending order until it returns false. fn must not use the store, nor
	// keep what it was given.
	Ascend(from []byte, fn func(key, value []byte) bool) error
	// Verify makes sure that all that was put is still there.
	Verify() error
	// Close forgets everything.
	Close() error
}

// pair is an entry of a memory.
type pair struct{ key, value []byte }

// memory is the Store that needs no disk.
type memory struct {
	tree  *btree.BTreeG[pair]
	bytes int64
}

// pairOverhead is about what an entry takes besides its bytes.
const pairOverhead = 64

func newMemory() *memory {
	less := func(a, b pair) bool { return bytes.Compare(a.key, b.key) < 0 }
	return &memory{tree: btree.NewBTreeGOptions(less, btree.Options{NoLocks: true})}
}

func (m *memory) Put(key, value []byte) error {
	p := pair{bytes.Clone(key), bytes.Clone(value)}
	m.bytes += int64(len(key) + len(value) + pairOverhead)
	if old, replaced := m.tree.Set(p); replaced {
		m.bytes -= int64(len(old.key) + len(old.value) + pairOverhead)
	}
	return nil
}

func (m *memory) Get(key []byte) ([]byte, error) {
	p, _ := m.tree.Get(pair{key: key})
	return p.value, nil
}

func (m *memory) Ascend(from []byte, fn func(key, value []byte) bool) error {
	m.tree.Ascend(pair{key: from}, func(p pair) bool { return fn(p.key, p.value) })
	return nil
}

func (m *memory) Verify() error { return nil }
func (m *memory) Close() error  { return nil }

// spill is a Store that stays in memory up to a limit and then moves to another one for good.
type spill struct {
	limit int64
	open  func() (Store, error) // nil: there is no other, memory must do
	mem   *memory               // nil once it has moved
	big   Store
}

func newSpill(limit int64, open func() (Store, error)) *spill {
	return &spill{limit: limit, open: open, mem: newMemory()}
}

func (s *spill) now() Store {
	if s.mem != nil {
		return s.mem
	}
	return s.big
}

func (s *spill) Put(key, value []byte) error {
	if err := s.now().Put(key, value); err != nil {
		return err
	}
	if s.mem == nil || s.open == nil || s.mem.bytes <= s.limit {
		return nil
	}
	return s.move()
}

// move copies everything to the other store.
func (s *spill) move() error {
	big, err := s.open()
	if err != nil {
		return fmt.Errorf("open the index for large volumes: %w", err)
	}
	s.mem.tree.Scan(func(p pair) bool {
		err = big.Put(p.key, p.value)
		return err == nil
	})
	s.mem, s.big = nil, big
	return err
}

func (s *spill) Get(key []byte) ([]byte, error) { return s.now().Get(key) }
func (s *spill) Ascend(from []byte, fn func(key, value []byte) bool) error {
	return s.now().Ascend(from, fn)
}
func (s *spill) Verify() error { return s.now().Verify() }
func (s *spill) Close() error  { return s.now().Close() }
