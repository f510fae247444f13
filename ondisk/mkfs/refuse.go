package mkfs

import (
	"context"
	"errors"
	"fmt"

	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/volume"
)

// mayOverwrite refuses a device that is in use, and one that holds something unless o.Force. It returns the superblock
// of the volume that will be overwritten, nil if there is none.
func mayOverwrite(ctx context.Context, dev blockdev.Device, o *Options) (*ondisk.Super, error) {
	if o.InUse != nil {
		if err := o.InUse(); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInUse, err)
		}
	}
	old, err := oldSuper(ctx, dev)
	if err != nil {
		return nil, err
	}
	if old != nil && !(o.Force && o.InUse != nil) {
		if err := nobodyIn(ctx, dev, old); err != nil {
			return nil, err
		}
	}
	if o.Force {
		return old, nil
	}
	if old != nil {
		return nil, fmt.Errorf("a covol volume (label %q, uuid %s): %w", old.Label, old.UUID, ErrOccupied)
	}
	what, err := volume.Identify(ctx, dev)
	if err != nil {
		return nil, err
	}
	if what != "" {
		return nil, fmt.Errorf("%s: %w", what, ErrOccupied)
	}
	return nil, nil
}

// oldSuper is the superblock of the covol volume on dev, nil if there is none that this build could mount: one of another
// version or longer than the device counts as none, and so does a damaged one. A device that cannot be read is an error.
func oldSuper(ctx context.Context, dev blockdev.Device) (*ondisk.Super, error) {
	s, _, err := volume.Open(ctx, dev)
	for _, class := range []error{volume.ErrNotVolume, volume.ErrShort, ondisk.ErrCorrupt, ondisk.ErrVersion} {
		if errors.Is(err, class) {
			return nil, nil
		}
	}
	return s, err
}

// nobodyIn returns ErrInUse naming the node, if a slot says that its node is in the volume. A node that died without
// being recovered counts as in: only the caller can know better (Options.InUse with Force).
func nobodyIn(ctx context.Context, dev blockdev.Device, s *ondisk.Super) error {
	b, err := volume.ReadBlock(ctx, dev, ondisk.ViewBlock)
	if err != nil {
		return fmt.Errorf("read view: %w", err)
	}
	view, viewErr := ondisk.DecodeView(s, b)
	for i := range uint16(s.Slots) {
		b, err := volume.ReadBlock(ctx, dev, s.SlotBlock(i))
		if err != nil {
			return fmt.Errorf("read slot %d: %w", i, err)
		}
		slot, err := ondisk.DecodeSlot(s, i, b)
		switch member := viewErr != nil || view.Members[i] != 0; {
		case err != nil && member:
			return fmt.Errorf("%w: slot %d is in the view and its block cannot be read: %w", ErrInUse, i, err)
		case err == nil && (member && slot.State != ondisk.SlotFree || slot.State == ondisk.SlotJoining):
			return fmt.Errorf("%w: by node %q at %s in slot %d, or it left without unmounting", ErrInUse, slot.Name, slot.Addr, i)
		}
	}
	return nil
}
