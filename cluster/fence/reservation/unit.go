package reservation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/covol/covol/ondisk/blockdev"
)

// Type is that of a reservation (SPC-4 table 69), 0 for none.
type Type byte

// AllRegistrants is write exclusive, all registrants: the only one that is used.
const AllRegistrants Type = 7

// ErrForeign says that the unit has a reservation that is not ours to share. Test with errors.Is.
var ErrForeign = errors.New("the unit is reserved by others")

// Unit is a session with a logical unit. blockdev.ErrFenced of a method is a RESERVATION CONFLICT. After other errors the
// command may have taken effect, or may yet.
type Unit interface {
	// Register changes this session's key from old to key, 0 being none, and asks the storage to keep registrations over
	// its restart.
	Register(ctx context.Context, old, key Key) error
	// Reserve takes a reservation of type AllRegistrants; nil if it is there.
	Reserve(ctx context.Context, key Key) error
	// PreemptAbort removes all registrations with the victim's key. When it returns nil nothing that they sent is under way.
	PreemptAbort(ctx context.Context, key, victim Key) error
	// ReadKeys returns the keys of all registrations, one for each session.
	ReadKeys(ctx context.Context) ([]Key, error)
	// ReadReservation returns the type of the reservation.
	ReadReservation(ctx context.Context) (Type, error)
}

// path is a session with what its key may be.
type path struct {
	Unit
	mu sync.Mutex
	// GUARDED_BY(mu): latest last; more than one while the outcome of a change is not known
	keys []Key
}

func newPaths(units []Unit) []*path {
	var all []*path
	for _, u := range units {
		all = append(all, &path{Unit: u, keys: []Key{0}})
	}
	return all
}

// set changes the key. blockdev.ErrFenced says that the key is none that we gave it.
func (p *path) set(ctx context.Context, key Key) error {
	p.mu.Lock()
	may := slices.Clone(p.keys)
	if !slices.Contains(p.keys, key) {
		p.keys = append(p.keys, key)
	}
	p.mu.Unlock()
	for _, old := range slices.Backward(may) {
		err := p.Register(ctx, old, key)
		if errors.Is(err, blockdev.ErrFenced) {
			continue
		}
		if err != nil {
			return fmt.Errorf("register key %v: %w", key, err)
		}
		p.mu.Lock()
		p.keys = []Key{key}
		p.mu.Unlock()
		return nil
	}
	return fmt.Errorf("register key %v: %w: the key before is gone", key, blockdev.ErrFenced)
}

// setAll changes the key of all paths.
func setAll(ctx context.Context, paths []*path, key Key) error {
	for i, p := range paths {
		if err := p.set(ctx, key); err != nil {
			return fmt.Errorf("session %d: %w", i, err)
		}
	}
	return nil
}

// unsetAll takes the key of all paths away. One that is gone already is as well.
func unsetAll(ctx context.Context, paths []*path) error {
	var errs []error
	for i, p := range paths {
		if err := p.set(ctx, 0); err != nil && !errors.Is(err, blockdev.ErrFenced) {
			errs = append(errs, fmt.Errorf("session %d: %w", i, err))
		}
	}
	return errors.Join(errs...)
}

// removeKey removes a key that is not ours.
func removeKey(ctx context.Context, u Unit, mine, key Key) error {
	err := u.PreemptAbort(ctx, mine, key)
	if err == nil {
		return nil
	}
	keys, readErr := u.ReadKeys(ctx)
	if readErr == nil && !slices.Contains(keys, key) && slices.Contains(keys, mine) {
		return nil
	}
	return fmt.Errorf("remove key %v: %w", key, errors.Join(err, readErr))
}
