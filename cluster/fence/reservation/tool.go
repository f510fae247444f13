package reservation

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/covol/covol/cluster/view"
)

// Tool is a registration of a program that uses a volume alone.
type Tool struct {
	paths []*path
	key   Key
}

// Enter registers a tool on its sessions if the unit is reserved: nodes have died and left the reservation. It returns
// nil if there is none, and nothing to do. id tells this tool from others.
func Enter(ctx context.Context, volume [16]byte, id uint32, sessions ...Unit) (*Tool, error) {
	kind, err := sessions[0].ReadReservation(ctx)
	switch {
	case err != nil:
		return nil, fmt.Errorf("look for a reservation: %w", err)
	case kind == 0:
		return nil, nil
	case kind != AllRegistrants:
		return nil, fmt.Errorf("%w: type %d", ErrForeign, kind)
	}
	t := &Tool{newPaths(sessions), makeKey(volume, view.NodeID{Slot: toolSlot, Incarnation: view.Incarnation(max(id, 1))})}
	if err := setAll(ctx, t.paths, t.key); err != nil {
		return nil, errors.Join(err, unsetAll(ctx, t.paths))
	}
	return t, reserve(ctx, sessions[0], t.key) // the last of the others may have left
}

// Clear removes all other keys, once it is proven that nobody uses the volume, and returns them.
func (t *Tool) Clear(ctx context.Context) ([]Key, error) {
	u := t.paths[0].Unit
	keys, err := u.ReadKeys(ctx)
	if err != nil {
		return nil, fmt.Errorf("look for keys: %w", err)
	}
	slices.Sort(keys)
	keys = slices.DeleteFunc(slices.Compact(keys), func(k Key) bool { return k == t.key })
	for _, k := range keys {
		if err := removeKey(ctx, u, t.key, k); err != nil {
			return nil, err
		}
	}
	return keys, nil
}

// Leave takes the key back. With the last key the reservation ends.
func (t *Tool) Leave(ctx context.Context) error { return unsetAll(ctx, t.paths) }
