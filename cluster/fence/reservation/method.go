package reservation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/covol/covol/cluster/fence"
	"github.com/covol/covol/ondisk/blockdev"
)

// Name is that of the method.
const Name = "reservation"

// Reservation is the method of one node. Its methods may be called concurrently.
type Reservation struct {
	paths []*path

	mu sync.Mutex
	// GUARDED_BY(mu)
	me fence.Self
	// GUARDED_BY(mu): of me, 0 before
	key Key
	// GUARDED_BY(mu): why nothing is registered any more
	over error
}

var _ fence.Registrar = (*Reservation)(nil)

// errEnded is Register after Unregister.
var errEnded = errors.New("the node has ended")

// New makes the method of a node that writes through these sessions and no others.
func New(sessions ...Unit) *Reservation { return &Reservation{paths: newPaths(sessions)} }

// Name is Name.
func (*Reservation) Name() string { return Name }

// Forces is true: it ends the victim's writes.
func (*Reservation) Forces() bool { return true }

// mine returns our key and volume.
func (r *Reservation) mine() (Key, [16]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.key, r.me.Volume, r.over
}

// fenced remembers that this life is over.
func (r *Reservation) fenced(key Key) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over == nil {
		r.over = fmt.Errorf("%w: the storage has its key %v no more", fence.ErrFenced, key)
	}
	return r.over
}

// Register puts the key of a life on all sessions, sees to the reservation, and removes the keys of earlier lives of the
// slot.
func (r *Reservation) Register(ctx context.Context, me fence.Self) error {
	r.mu.Lock()
	over := r.over
	r.me, r.key = me, KeyOf(me)
	key := r.key
	r.mu.Unlock()
	if over != nil {
		return over
	}
	if err := setAll(ctx, r.paths, key); err != nil {
		if errors.Is(err, blockdev.ErrFenced) {
			return r.fenced(key)
		}
		return err
	}
	if _, _, over := r.mine(); errors.Is(over, errEnded) { // it may have run before the last of ours
		return errors.Join(over, unsetAll(ctx, r.paths))
	}
	u := r.paths[0].Unit
	if err := reserve(ctx, u, key); err != nil {
		return err
	}
	keys, err := u.ReadKeys(ctx)
	if err != nil {
		return fmt.Errorf("look for keys of earlier lives: %w", err)
	}
	slices.Sort(keys)
	for _, k := range slices.Compact(keys) {
		if !k.earlier(key) {
			continue
		}
		if err := removeKey(ctx, u, key, k); err != nil {
			return err
		}
	}
	return nil
}

// reserve makes sure that the unit is reserved for those that are registered.
func reserve(ctx context.Context, u Unit, key Key) error {
	err := u.Reserve(ctx, key)
	if err == nil {
		return nil
	}
	if t, e := u.ReadReservation(ctx); e == nil && t != 0 && t != AllRegistrants {
		return fmt.Errorf("%w: type %d", ErrForeign, t)
	}
	return fmt.Errorf("reserve with key %v: %w", key, err)
}

// Check looks whether our key is there, and sees to it that the reservation is.
func (r *Reservation) Check(ctx context.Context) error {
	key, _, over := r.mine()
	if over != nil {
		return over
	}
	if key == 0 {
		return nil
	}
	u := r.paths[0].Unit
	keys, err := u.ReadKeys(ctx)
	if err != nil {
		return fmt.Errorf("look for our key: %w", err)
	}
	if !slices.Contains(keys, key) {
		if now, _, _ := r.mine(); now != key {
			return nil // a claim is at work with another life
		}
		return r.fenced(key)
	}
	t, err := u.ReadReservation(ctx)
	if err == nil && t != AllRegistrants {
		err = reserve(ctx, u, key)
	}
	return err
}

// Unregister takes our key back.
func (r *Reservation) Unregister(ctx context.Context) error {
	r.mu.Lock()
	key := r.key
	if r.over == nil {
		r.over = errEnded
	}
	r.mu.Unlock()
	if key == 0 {
		return nil
	}
	return unsetAll(ctx, r.paths)
}

// tries is how often Prove sends a command whose answer was lost.
const tries = 3

// Prove removes the victim's key and looks whether it is gone.
func (r *Reservation) Prove(ctx context.Context, v fence.Victim) (fence.Proof, error) {
	key, volume, over := r.mine()
	if over != nil {
		return fence.Proof{}, over
	}
	victim := makeKey(volume, v.NodeID)
	if key == 0 || victim == key {
		return fence.Proof{}, fmt.Errorf("%w: this node is not registered", fence.ErrNoProof)
	}
	u := r.paths[0].Unit
	var last error
	for range tries {
		preempt := u.PreemptAbort(ctx, key, victim)
		gone, err := r.gone(ctx, u, key, victim)
		switch {
		case errors.Is(err, fence.ErrFenced):
			return fence.Proof{}, err
		case gone:
			return fence.Proof{Method: Name, Text: fmt.Sprintf("the storage has its key %v no more", victim), Settle: preempt != nil}, nil
		case ctx.Err() != nil:
			return fence.Proof{}, ctx.Err()
		}
		last = errors.Join(preempt, err)
	}
	return fence.Proof{}, fmt.Errorf("%w: remove key %v: %w", fence.ErrNoProof, victim, last)
}

// errThere is a key that no command has removed.
var errThere = errors.New("the key is still there")

// gone is the proof (S4).
func (r *Reservation) gone(ctx context.Context, u Unit, key, victim Key) (bool, error) {
	t, err := u.ReadReservation(ctx)
	if err != nil {
		return false, err
	}
	keys, err := u.ReadKeys(ctx) // after it: what is not reserved now has lost our key as well, or is reserved again by Check
	switch {
	case err != nil:
		return false, err
	case !slices.Contains(keys, key):
		if now, _, _ := r.mine(); now != key {
			return false, errEnded
		}
		return false, r.fenced(key)
	case slices.Contains(keys, victim):
		return false, errThere
	case t != AllRegistrants:
		return false, fmt.Errorf("the reservation is not in force, type %d", t)
	}
	return true, nil
}
