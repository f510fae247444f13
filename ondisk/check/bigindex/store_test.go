package bigindex

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"
)

func key(n uint64) []byte { return binary.BigEndian.AppendUint64([]byte{'k'}, n) }

func open(t *testing.T) *Store {
	t.Helper()
	s, err := Open(t.TempDir())
	require.NoError(t, err)
	return s
}

// TestStoreIsAMap holds the store to a map, over the limit of what waits in memory.
func TestStoreIsAMap(t *testing.T) {
	s := open(t)
	rng := rand.New(rand.NewPCG(1, 2))
	want := map[uint64][]byte{}
	for i := range 3 * maxPending {
		n := rng.Uint64N(maxPending)
		v := bytes.Repeat([]byte{byte(i)}, rng.IntN(60))
		require.NoError(t, s.Put(key(n), v))
		want[n] = v
		if i%97 == 0 {
			n = rng.Uint64N(maxPending)
			got, err := s.Get(key(n))
			require.NoError(t, err)
			require.True(t, bytes.Equal(want[n], got))
		}
	}
	require.NoError(t, s.Verify())
	var keys []uint64
	require.NoError(t, s.Ascend(key(100), func(k, v []byte) bool {
		n := binary.BigEndian.Uint64(k[1:])
		keys = append(keys, n)
		return bytes.Equal(want[n], v)
	}))
	require.True(t, slices.IsSorted(keys))
	require.GreaterOrEqual(t, keys[0], uint64(100))
	count := 0
	for n := range want {
		if n >= 100 {
			count++
		}
	}
	require.Len(t, keys, count)
	require.NoError(t, s.Close())
	_, err := os.Stat(s.dir)
	require.ErrorIs(t, err, os.ErrNotExist)
}

// TestLostAndChangedEntriesAreFound: what badger would pass over in silence is not.
func TestLostAndChangedEntriesAreFound(t *testing.T) {
	for name, harm := range map[string]func(tx *badger.Txn) error{
		"lost":    func(tx *badger.Txn) error { return tx.Delete(key(7)) },
		"changed": func(tx *badger.Txn) error { return tx.Set(key(7), seal(key(7), []byte("other"))) },
		"broken":  func(tx *badger.Txn) error { return tx.Set(key(7), []byte("????x")) },
		"made up": func(tx *badger.Txn) error { return tx.Set(key(1<<40), seal(key(1<<40), nil)) },
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			defer s.Close()
			for i := range uint64(50) {
				require.NoError(t, s.Put(key(i), []byte{1, 2, byte(i)}))
			}
			require.NoError(t, s.Verify())
			require.NoError(t, s.db.Update(harm))
			require.ErrorIs(t, s.Verify(), ErrDamaged)
		})
	}
}

func TestDirectoryIsNeeded(t *testing.T) {
	_, err := Open(filepath.Join(t.TempDir(), "none"))
	require.Error(t, err)
}
