package events

import (
	"fmt"
	"slices"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// Query chooses events.
type Query struct {
	Since time.Time `json:"since"` // zero: from the oldest on
	Last  int       `json:"last"`  // only so many, the latest; 0: all
}

// matches reports whether the time is not too old.
func (q *Query) matches(e *Event) bool { return !e.Time.Before(q.Since) }

// cut leaves the latest of events in order of time.
func (q *Query) cut(all []Event) []Event {
	if q.Last > 0 && len(all) > q.Last {
		return all[len(all)-q.Last:]
	}
	return all
}

// Damage is what a store has lost without being told to.
type Damage struct {
	Missing uint64 `json:"missing,omitempty"` // numbers in between
	Spoilt  int    `json:"spoilt,omitempty"`  // checksum wrong, or not to be read
}

// Any reports whether there is any.
func (d Damage) Any() bool { return d != Damage{} }

func (d Damage) String() string {
	return fmt.Sprintf("%d events are missing, %d are spoilt", d.Missing, d.Spoilt)
}

// stored is an event with what the store knows of it.
type stored struct {
	Event
	seq     uint64
	expires uint64
}

// Read returns the events asked for, in order of time, and what is wrong with the whole store.
func (s *Store) Read(q Query) ([]Event, Damage, error) {
	all, damage, err := s.scan()
	if err != nil {
		return nil, damage, err
	}
	found := []Event{}
	for i := range all {
		if q.matches(&all[i].Event) {
			found = append(found, all[i].Event)
		}
	}
	return q.cut(found), damage, nil
}

// scan reads everything, and checks it (E3).
func (s *Store) scan() ([]stored, Damage, error) {
	var all []stored
	var seqs numbers
	var damage Damage
	err := s.db.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte{eventPrefix}, PrefetchValues: true, PrefetchSize: 100})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			item := it.Item()
			seq, err := seqOf(item.Key())
			if err != nil {
				damage.Spoilt++
				continue
			}
			seqs.add(seq)
			var e Event
			err = item.Value(func(sealed []byte) (err error) {
				e, err = decode(item.Key(), sealed)
				return err
			})
			if err != nil {
				damage.Spoilt++
				continue
			}
			all = append(all, stored{e, seq, item.ExpiresAt()})
		}
		return nil
	})
	if err != nil {
		return nil, damage, fmt.Errorf("read event store: %w", err)
	}
	last, err := s.latest()
	if err != nil || last.seq < seqs.highest {
		damage.Spoilt++
	}
	damage.Missing = seqs.missing(last)
	slices.SortStableFunc(all, func(a, b stored) int { return a.Time.Compare(b.Time) })
	return all, damage, nil
}

// numbers tells whether some are missing, without remembering them.
type numbers struct{ seen, lowest, highest uint64 }

func (n *numbers) add(seq uint64) {
	if n.seen++; n.seen == 1 {
		n.lowest = seq
	}
	n.lowest, n.highest = min(n.lowest, seq), max(n.highest, seq)
}

// missing is how many are, if last is the latest that was given. Those below the lowest have expired; if there is none
// at all, last must have.
func (n *numbers) missing(last latest) uint64 {
	if n.seen == 0 {
		if last.seq > 0 && time.Now().Unix() < int64(last.expires) {
			return 1
		}
		return 0
	}
	span := max(n.highest, last.seq) - n.lowest + 1
	return span - min(n.seen, span)
}
