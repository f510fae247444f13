package mkfs

import (
	"context"
	"fmt"

	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/volume"
)

// mayOverwrite refuses a device that is in use, and one that holds something unless o.Force.
func mayOverwrite(ctx context.Context, dev blockdev.Device, o *Options) error {
	if o.InUse != nil {
		if err := o.InUse(); err != nil {
			return fmt.Errorf("%w: %w", ErrInUse, err)
		}
	}
	old := oldSuper(ctx, dev)
	if old != nil && !(o.Force && o.InUse != nil) {
		if err := nobodyIn(ctx, dev, old); err != nil {
			return err
		}
	}
	if o.Force {
		return nil
	}
	if old != nil {
		return fmt.Errorf("a covol volume (label %q, uuid %s): %w", old.Label, old.UUID, ErrOccupied)
	}
	what, err := volume.Identify(ctx, dev)
	if err != nil {
		return err
	}
	if what != "" {
		return fmt.Errorf("%s: %w", what, ErrOccupied)
	}
	return nil
}

// oldSuper is the superblock of the covol volume on dev, nil if there is none that can be read. A volume longer than
// the device cannot be mounted and counts as none.
func oldSuper(ctx context.Context, dev blockdev.Device) *ondisk.Super {
	s, _, err := volume.Open(ctx, dev)
	if err != nil {
		return nil
	}
	return s
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
