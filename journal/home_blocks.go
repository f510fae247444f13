package journal

import (
	"context"
	"fmt"
)

// FlushBlocks makes the newest version of each of the blocks durable and home, whoever owns it. Unlike FlushOwner it
// may run beside transactions that publish these blocks: what is home afterwards is at least as new as what was
// published before the call. A block that was freed is passed over.
func (j *Journal) FlushBlocks(ctx context.Context, blks ...uint64) error {
	if len(blks) == 0 {
		return j.alive()
	}
	if err := j.SyncAll(ctx); err != nil {
		return fmt.Errorf("flush blocks: %w", err)
	}
	mine, others := j.claimBlocks(blks)
	if len(mine.blocks) > 0 {
		if err := j.writeHome(mine); err != nil {
			return fmt.Errorf("flush blocks: %w", err)
		}
	}
	for _, r := range others {
		if err := r.done.Wait(ctx); err != nil {
			return err
		}
	}
	if len(others) > 0 {
		// Those rounds may have begun with older versions.
		if mine, _ = j.claimBlocks(blks); len(mine.blocks) > 0 {
			if err := j.writeHome(mine); err != nil {
				return fmt.Errorf("flush blocks: %w", err)
			}
		}
	}
	return j.alive()
}

// claimBlocks makes a round of the durable versions of blocks, and lists the rounds that have some of them already.
func (j *Journal) claimBlocks(blks []uint64) (mine *round, others []*round) {
	j.mu.Lock()
	defer j.mu.Unlock()
	mine = j.newRound()
	for _, blk := range blks {
		e := j.entries[blk]
		if e == nil || e.dur == nil {
			if e != nil && e.homing != nil {
				others = append(others, e.homing)
			}
			continue
		}
		if r := mine.claimLocked(e); r != nil && r != mine {
			others = append(others, r)
		}
	}
	return mine, others
}
