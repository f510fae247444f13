package reservation

import (
	"context"
	"fmt"

	"github.com/covol/covol/cluster/fence"
)

// Present makes a node known at the storage that proves deaths by other methods only (S5).
type Present struct{ *Reservation }

var _ fence.Registrar = Present{}

// Name is "registered".
func (Present) Name() string { return "registered" }

// Forces is false.
func (Present) Forces() bool { return false }

// Prove never does.
func (Present) Prove(context.Context, fence.Victim) (fence.Proof, error) {
	return fence.Proof{}, fmt.Errorf("%w: not chosen", fence.ErrNoProof)
}
