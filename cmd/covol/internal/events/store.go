package events

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
)

// DefaultTTL is how long events are kept.
const DefaultTTL = 30 * 24 * time.Hour

// maxEvents bounds a store whatever the TTL is: a link that flaps must not fill a disk. The oldest go first.
const maxEvents = 50_000

// errInUse says that another process has the store open: it is not damaged.
var errInUse = errors.New("the event store is in use by another process")

// Store holds the events of one node. Only one process can have it open at a time. It is for one goroutine.
type Store struct {
	db  *badger.DB
	dir string
	ttl time.Duration
	max uint64
}

// latestKey holds latest.
var latestKey = []byte("latest")

// OpenStore opens the store in a directory, and makes it if it is not there. A damaged one may panic, in any goroutine.
func OpenStore(dir string, ttl time.Duration) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("event store: %w", err)
	}
	db, err := badger.Open(storeOptions(dir))
	if saysErrno(err, syscall.EWOULDBLOCK) {
		return nil, fmt.Errorf("%w: %s", errInUse, dir)
	}
	if err != nil {
		return nil, fmt.Errorf("event store %s: %w", dir, err)
	}
	return &Store{db: db, dir: dir, ttl: ttl, max: maxEvents}, nil
}

// saysErrno reports whether err is one of the errnos. Badger often keeps only the text of what it wraps.
func saysErrno(err error, errnos ...syscall.Errno) bool {
	for _, e := range errnos {
		if err != nil && (errors.Is(err, e) || strings.Contains(err.Error(), e.Error())) {
			return true
		}
	}
	return false
}

// storeOptions keep memory and files small. Level 0 is compacted at every close, for a store is open so shortly that it
// would never be otherwise.
func storeOptions(dir string) badger.Options {
	o := badger.DefaultOptions(dir).WithLogger(quiet{}).WithMetricsEnabled(false).WithDetectConflicts(false)
	o = o.WithMemTableSize(1 << 20).WithNumMemtables(2).WithBaseTableSize(1 << 20).WithValueLogFileSize(1 << 20)
	o = o.WithValueThreshold(32 << 10).WithBlockCacheSize(1 << 20).WithIndexCacheSize(0)
	o = o.WithNumCompactors(2).WithNumGoroutines(1).WithCompactL0OnClose(true)
	return o.WithChecksumVerificationMode(options.OnTableAndBlockRead).WithCompression(options.None)
}

// quiet passes on what badger thinks is an error.
type quiet struct{}

func (quiet) Errorf(format string, a ...any)   { slog.Error("badger: " + fmt.Sprintf(format, a...)) }
func (quiet) Warningf(format string, a ...any) {}
func (quiet) Infof(format string, a ...any)    {}
func (quiet) Debugf(format string, a ...any)   {}

// Close makes what was appended stable.
func (s *Store) Close() error {
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("close event store %s: %w", s.dir, err)
	}
	return nil
}

// Append adds events.
func (s *Store) Append(events []Event) error {
	all := make([]stored, len(events))
	expires := uint64(time.Now().Add(s.ttl).Unix())
	for i, e := range events {
		all[i] = stored{Event: e, expires: expires}
	}
	return s.append(all)
}

// append numbers events and adds them.
func (s *Store) append(events []stored) error {
	last, err := s.latest()
	if err != nil {
		return err
	}
	b := s.db.NewWriteBatch()
	defer b.Cancel()
	for i := range events {
		last.seq++
		last.expires = max(last.expires, events[i].expires)
		if err := put(b, &events[i].Event, last.seq, events[i].expires); err != nil {
			return err
		}
	}
	if err := b.Set(latestKey, seal(latestKey, last.encode())); err != nil {
		return fmt.Errorf("append to event store: %w", err)
	}
	if err := b.Flush(); err != nil {
		return fmt.Errorf("append to event store: %w", err)
	}
	return s.trim(last.seq)
}

func put(b *badger.WriteBatch, e *Event, seq, expires uint64) error {
	e.cut()
	key := eventKey(e.Time, seq)
	value, err := e.encode(key)
	if err != nil {
		return err
	}
	if err := b.SetEntry(&badger.Entry{Key: key, Value: value, ExpiresAt: expires}); err != nil {
		return fmt.Errorf("append to event store: %w", err)
	}
	return nil
}

// latest is what is known of the latest event: its number, and when the last of all expires.
type latest struct{ seq, expires uint64 }

func (l latest) encode() []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, l.seq), l.expires)
}

// latest is zero if there was no event ever.
func (s *Store) latest() (l latest, err error) {
	err = s.db.View(func(txn *badger.Txn) error {
		item, err := txn.Get(latestKey)
		if errors.Is(err, badger.ErrKeyNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		return item.Value(func(sealed []byte) error {
			b, err := unseal(latestKey, sealed)
			if err != nil || len(b) != 16 {
				return errSpoilt
			}
			l = latest{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}
			return nil
		})
	})
	if err != nil {
		return latest{}, fmt.Errorf("number of the latest event: %w", err)
	}
	return l, nil
}

// trim deletes the oldest events beyond the bound.
func (s *Store) trim(last uint64) error {
	var old [][]byte
	err := s.db.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte{eventPrefix}})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			key := it.Item().KeyCopy(nil)
			if seq, err := seqOf(key); err == nil && last-seq < s.max {
				return nil
			}
			old = append(old, key)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("trim event store: %w", err)
	}
	if len(old) == 0 {
		return nil
	}
	b := s.db.NewWriteBatch()
	defer b.Cancel()
	for _, key := range old {
		if err := b.Delete(key); err != nil {
			return fmt.Errorf("trim event store: %w", err)
		}
	}
	if err := b.Flush(); err != nil {
		return fmt.Errorf("trim event store: %w", err)
	}
	return nil
}
