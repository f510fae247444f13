package fs

import (
	"context"
	"fmt"

	"github.com/covol/covol/dlm"
	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
)

// growBatch is how many groups are formatted at once.
const growBatch = 8

// volumeRes is the lock under which groups are formatted. Whoever holds it waits for no other lock.
func volumeRes() dlm.Resource { return dlm.Resource{Kind: dlm.Volume} }

// readReady learns how many groups are formatted.
func (a *allocator) readReady(ctx context.Context) error {
	h, err := a.s.locks.lock(ctx, volumeRes(), useShared)
	if err != nil {
		return fmt.Errorf("lock volume: %w", err)
	}
	defer h.unlock()
	_, err = a.readGrow(ctx)
	return err
}

// readGrow reads the grow block under the lock of the volume. Others may have changed it while the lock was theirs.
func (a *allocator) readGrow(ctx context.Context) (ready uint32, err error) {
	if err := a.s.j.Drop(ownerGrow); err != nil {
		return 0, err
	}
	b, err := a.s.j.Read(ctx, ondisk.GrowBlock, ondisk.TypeGrow, ownerGrow)
	if err != nil {
		return 0, err
	}
	ready, err = ondisk.DecodeGrow(a.s.sb, b)
	if err != nil {
		return 0, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ready = max(a.ready, ready)
	return ready, nil
}

// grow adds groups to those that can be used: what other nodes have formatted meanwhile, else the next batch. It
// reports whether there are more now.
func (a *allocator) grow(ctx context.Context) (grown bool, err error) {
	a.mu.Lock()
	known := a.ready
	a.mu.Unlock()
	if known == a.s.sb.Groups {
		return false, nil
	}
	if err := a.growing.Lock(ctx); err != nil {
		return false, err
	}
	defer a.growing.Unlock()
	h, err := a.s.locks.lock(ctx, volumeRes(), useExcl)
	if err != nil {
		return false, fmt.Errorf("lock volume: %w", err)
	}
	defer h.unlock()
	ready, err := a.readGrow(ctx)
	if err != nil || ready > known {
		return ready > known, err
	}
	end := min(ready+growBatch, a.s.sb.Groups)
	if err := a.format(ctx, ready, end); err != nil {
		return false, fmt.Errorf("format groups %d to %d: %w", ready, end-1, err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ready = end
	return true, nil
}

// format writes the groups from first to end-1 and only then tells the grow block, everything through the journal, and
// brings it home before the lock of the volume can be given away (J2).
func (a *allocator) format(ctx context.Context, first, end uint32) error {
	sb, j := a.s.sb, a.s.j
	owners := []uint64{ownerGrow}
	for idx := first; idx < end; idx++ {
		blocks := ondisk.FormatGroup(sb, idx)
		if err := a.observe(ctx, sb.GroupFirst(idx), len(blocks)); err != nil {
			return err
		}
		t := j.Begin()
		for i, b := range blocks {
			t.Write(sb.GroupFirst(idx)+uint64(i), groupOwner(idx), b)
		}
		if _, err := t.Publish(ctx); err != nil {
			return err
		}
		owners = append(owners, groupOwner(idx))
	}
	if err := j.FlushOwner(ctx, owners...); err != nil {
		return err
	}
	t := j.Begin()
	t.Write(ondisk.GrowBlock, ownerGrow, ondisk.EncodeGrow(sb, end))
	if _, err := t.Publish(ctx); err != nil {
		return err
	}
	if err := j.FlushOwner(ctx, ownerGrow); err != nil {
		return err
	}
	return j.Drop(owners...)
}

// observe raises the clock above blocks that a node may have written here before it died in the middle of formatting:
// replay compares stamps, and what is written now must win.
func (a *allocator) observe(ctx context.Context, blk uint64, n int) error {
	b := blockdev.Alloc(n * ondisk.BlockSize)
	if err := a.s.dev.ReadAt(ctx, b, int64(blk)*ondisk.BlockSize); err != nil {
		return err
	}
	for i := range n {
		one := b[i*ondisk.BlockSize : (i+1)*ondisk.BlockSize]
		for _, typ := range []ondisk.Type{ondisk.TypeGroup, ondisk.TypeBitmap} {
			if ondisk.CheckHeader(one, typ, blk+uint64(i), a.s.sb.UUID) == nil {
				a.s.j.ObserveLSN(ondisk.LSN(one))
			}
		}
	}
	return nil
}
