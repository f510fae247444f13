// Package bigindex keeps the index of a repair in badger, for volumes whose index does not fit the memory.
//
// The database lives in a temporary directory and never outlives the repair. Badger finds damage of its own files late
// or not at all, so it is not trusted: every value carries a CRC32C over key and value, a missing key is told from one
// that was lost by the number of keys and a sum over all of them, which Verify compares. In doubt the repair fails
// before it has written anything.
package bigindex

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"github.com/covol/covol/ondisk/check"
)

// ErrDamaged says that the index is not what was put into it.
var ErrDamaged = errors.New("the index on disk is damaged")

// Store is a check.Store in badger.
type Store struct {
	db  *badger.DB
	dir string
	wb  *badger.WriteBatch
	// pending is what wb has and db may not have yet.
	pending map[string][]byte
	keys    uint64
	sum     uint64 // over the seals of all entries, in any order
}

var _ check.Store = (*Store)(nil)

// maxPending bounds the entries that wait in memory.
const maxPending = 4096

// Open makes an empty store in a new directory below dir, or below the directory for temporary files if dir is "".
func Open(dir string) (*Store, error) {
	dir, err := os.MkdirTemp(dir, "covol-fsck-")
	if err != nil {
		return nil, fmt.Errorf("index on disk: %w", err)
	}
	o := badger.DefaultOptions(dir).WithLogger(nil).WithMemTableSize(8 << 20).WithNumMemtables(2).WithBlockCacheSize(8 << 20).
		WithIndexCacheSize(8 << 20).WithValueLogFileSize(32 << 20).WithNumCompactors(2).WithNumLevelZeroTables(2).
		WithNumLevelZeroTablesStall(4).WithBaseTableSize(2 << 20).WithValueThreshold(64 << 10).WithSyncWrites(false).
		WithDetectConflicts(false).WithMetricsEnabled(false).WithChecksumVerificationMode(options.OnBlockRead).WithCompactL0OnClose(false)
	db, err := badger.Open(o)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("index on disk in %s: %w", dir, err), os.RemoveAll(dir))
	}
	return &Store{db: db, dir: dir, wb: db.NewWriteBatch(), pending: map[string][]byte{}}, nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal is value with its CRC before it.
func seal(key, value []byte) []byte {
	out := make([]byte, 4, 4+len(value))
	binary.LittleEndian.PutUint32(out, crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, value))
	return append(out, value...)
}

func unseal(key, sealed []byte) ([]byte, error) {
	if len(sealed) < 4 || binary.LittleEndian.Uint32(sealed) != crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, sealed[4:]) {
		return nil, fmt.Errorf("%w: key %x", ErrDamaged, key)
	}
	return sealed[4:], nil
}

// weight is what an entry adds to the sum.
func weight(sealed []byte) uint64 {
	return uint64(binary.LittleEndian.Uint32(sealed))<<16 ^ uint64(len(sealed))
}

// Put sets the value of key.
func (s *Store) Put(key, value []byte) error {
	old, err := s.sealed(key)
	if err != nil {
		return err
	}
	if old != nil {
		s.sum -= weight(old)
	} else {
		s.keys++
	}
	now := seal(key, value)
	s.sum += weight(now)
	k := string(key)
	s.pending[k] = now
	if err := s.wb.Set([]byte(k), now); err != nil {
		return fmt.Errorf("index on disk: %w", err)
	}
	if len(s.pending) >= maxPending {
		return s.flush()
	}
	return nil
}

// flush makes everything visible to reads of the database.
func (s *Store) flush() error {
	if len(s.pending) == 0 {
		return nil
	}
	if err := s.wb.Flush(); err != nil {
		return fmt.Errorf("index on disk: %w", err)
	}
	s.wb = s.db.NewWriteBatch()
	clear(s.pending)
	return nil
}

// sealed is the value of key with its CRC, nil if there is none.
func (s *Store) sealed(key []byte) (out []byte, err error) {
	if v, ok := s.pending[string(key)]; ok {
		return v, nil
	}
	err = s.db.View(func(tx *badger.Txn) error {
		item, err := tx.Get(key)
		if err != nil {
			return err
		}
		out, err = item.ValueCopy(nil)
		return err
	})
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("index on disk: %w", err)
	}
	return out, nil
}

// Get returns the value of key, nil if there is none.
func (s *Store) Get(key []byte) ([]byte, error) {
	v, err := s.sealed(key)
	if v == nil || err != nil {
		return nil, err
	}
	return unseal(key, v)
}

// Ascend gives fn all keys from from on.
func (s *Store) Ascend(from []byte, fn func(key, value []byte) bool) error {
	return s.ascend(from, func(key, sealed []byte) (bool, error) {
		v, err := unseal(key, sealed)
		return err == nil && fn(key, v), err
	})
}

func (s *Store) ascend(from []byte, fn func(key, sealed []byte) (bool, error)) error {
	if err := s.flush(); err != nil {
		return err
	}
	return s.db.View(func(tx *badger.Txn) error {
		it := tx.NewIterator(badger.IteratorOptions{PrefetchValues: true, PrefetchSize: 64})
		defer it.Close()
		for it.Seek(from); it.Valid(); it.Next() {
			item := it.Item()
			more := false
			err := item.Value(func(v []byte) (err error) {
				more, err = fn(item.Key(), v)
				return err
			})
			if err != nil {
				return fmt.Errorf("index on disk: %w", err)
			}
			if !more {
				return nil
			}
		}
		return nil
	})
}

// Verify counts and adds up all entries.
func (s *Store) Verify() error {
	keys, sum := uint64(0), uint64(0)
	err := s.ascend(nil, func(key, sealed []byte) (bool, error) {
		if _, err := unseal(key, sealed); err != nil {
			return false, err
		}
		keys++
		sum += weight(sealed)
		return true, nil
	})
	if err != nil {
		return err
	}
	if keys != s.keys || sum != s.sum {
		return fmt.Errorf("%w: %d entries of %d are left", ErrDamaged, keys, s.keys)
	}
	return nil
}

// Close removes the store.
func (s *Store) Close() error {
	s.wb.Cancel()
	return errors.Join(s.db.Close(), os.RemoveAll(s.dir))
}
