package fence

import (
	"context"
	"fmt"
	"time"
)

// Lease is the method of waiting until the victim's own lease has ended.
type Lease struct {
	// Wait is W = L + D + g of the volume.
	Wait time.Duration
}

var _ Method = Lease{}

// LeaseName is the Name of Lease.
const LeaseName = "lease"

// Name is LeaseName.
func (Lease) Name() string { return LeaseName }

// Forces is false.
func (Lease) Forces() bool { return false }

// Prove compares the time for which the heartbeat has not changed.
func (m Lease) Prove(_ context.Context, v Victim) (Proof, error) {
	if v.Unchanged < m.Wait {
		return Proof{}, fmt.Errorf("%w: %v of %v over", ErrNoProof, v.Unchanged.Round(time.Millisecond), m.Wait)
	}
	return Proof{Method: m.Name(), Text: fmt.Sprintf("no heartbeat for %v", v.Unchanged.Round(time.Millisecond))}, nil
}
