package journal

import (
	"context"
	"errors"
	"fmt"

	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
)

// heads are the two head blocks of a journal as found on disk.
type heads struct {
	h    [ondisk.JournalHeads]*ondisk.JournalHead // nil where the block is not valid
	last int                                      // the one that counts
}

func (h *heads) current() *ondisk.JournalHead { return h.h[h.last] }

// other is the head that was written before the current one, nil if it is not valid.
func (h *heads) other() *ondisk.JournalHead { return h.h[1-h.last] }

// readHeads finds the head that counts. At most one of them can be torn by a crash; if neither is valid the
// error is ondisk.ErrCorrupt.
func readHeads(ctx context.Context, dev blockdev.Device, sb *ondisk.Super, slot uint16) (*heads, error) {
	if uint32(slot) >= sb.Slots {
		return nil, misuse("slot %d of a volume with %d slots", slot, sb.Slots)
	}
	buf := blockdev.Alloc(ondisk.JournalHeads * ondisk.BlockSize)
	if err := dev.ReadAt(ctx, buf, int64(sb.JournalStart(slot))*ondisk.BlockSize); err != nil {
		return nil, fmt.Errorf("read journal heads of slot %d: %w", slot, err)
	}
	hs := &heads{last: -1}
	var errs []error
	for i := range hs.h {
		h, err := ondisk.DecodeJournalHead(sb, slot, i, buf[i*ondisk.BlockSize:(i+1)*ondisk.BlockSize])
		if err != nil {
			errs = append(errs, err)
			continue
		}
		hs.h[i] = h
		if hs.last < 0 || h.Seq > hs.h[hs.last].Seq {
			hs.last = i
		}
	}
	if hs.last < 0 {
		return nil, fmt.Errorf("journal of slot %d has no valid head: %w", slot, errors.Join(errs...))
	}
	return hs, nil
}

// putHead writes one head block; it is stable when done.
func putHead(ctx context.Context, dev blockdev.Device, sb *ondisk.Super, h *ondisk.JournalHead, which int) error {
	buf := blockdev.Alloc(ondisk.BlockSize)
	copy(buf, ondisk.EncodeJournalHead(sb, h, which))
	if err := dev.WriteAt(ctx, buf, int64(sb.JournalStart(h.Slot)+uint64(which))*ondisk.BlockSize, true); err != nil {
		return fmt.Errorf("write journal head %d of slot %d: %w", which, h.Slot, err)
	}
	return nil
}
