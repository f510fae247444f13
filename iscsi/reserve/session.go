// Package reserve lets package cluster/fence/reservation use sessions of our initiator.
package reserve

import (
	"context"
	"errors"
	"fmt"

	"github.com/covol/covol/cluster/fence/reservation"
	"github.com/covol/covol/iscsi/initiator"
	"github.com/covol/covol/iscsi/scsi"
)

// ErrUnfit is why reservations of a unit cannot be used to fence. Test with errors.Is.
var ErrUnfit = errors.New("its reservations cannot fence")

// Session is a session of the initiator as a reservation.Unit.
type Session struct{ dev *initiator.Device }

var _ reservation.Unit = Session{}

// New returns the session of dev.
func New(dev *initiator.Device) Session { return Session{dev} }

// Fit returns nil if the unit's reservations can fence, ErrUnfit if not, or another error if it does not tell.
func (s Session) Fit(ctx context.Context) error {
	c, err := s.dev.ReadCapabilities(ctx)
	var status *initiator.StatusError
	switch {
	case errors.As(err, &status) && status.Status == scsi.CheckCondition && status.Sense.Key == scsi.IllegalRequest:
		return fmt.Errorf("%w: the target has no persistent reservations (%w)", ErrUnfit, err)
	case err != nil:
		return fmt.Errorf("what reservations the target has: %w", err)
	case !c.Has(scsi.WriteExclusiveAllRegistrants):
		return fmt.Errorf("%w: the target has no reservations of type 7", ErrUnfit)
	case !c.CanPersist:
		return fmt.Errorf("%w: the target forgets them when it restarts (no APTPL)", ErrUnfit)
	}
	return nil
}

// Register changes the key of this session.
func (s Session) Register(ctx context.Context, old, key reservation.Key) error {
	return s.dev.Register(ctx, uint64(old), uint64(key), true)
}

// Reserve takes the reservation.
func (s Session) Reserve(ctx context.Context, key reservation.Key) error {
	return s.dev.Reserve(ctx, scsi.WriteExclusiveAllRegistrants, uint64(key))
}

// PreemptAbort removes the registrations of victim.
func (s Session) PreemptAbort(ctx context.Context, key, victim reservation.Key) error {
	return s.dev.PreemptAbort(ctx, scsi.WriteExclusiveAllRegistrants, uint64(key), uint64(victim))
}

// ReadKeys returns all keys.
func (s Session) ReadKeys(ctx context.Context) ([]reservation.Key, error) {
	keys, _, err := s.dev.ReadKeys(ctx)
	var all []reservation.Key
	for _, k := range keys {
		all = append(all, reservation.Key(k))
	}
	return all, err
}

// ReadReservation returns the type of the reservation.
func (s Session) ReadReservation(ctx context.Context) (reservation.Type, error) {
	r, err := s.dev.ReadReservation(ctx)
	return reservation.Type(r.Type), err
}
