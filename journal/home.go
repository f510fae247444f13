package journal

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/covol/covol/ondisk/sched"
)

// round is a set of durable versions on their way home. A block is in one round at a time, so that an older version
// cannot land on a newer one.
type round struct {
	blocks []homeBlock
	done   sched.Event
}

type homeBlock struct {
	e *entry
	v *version
}

func (j *Journal) newRound() *round { return &round{done: j.cfg.Sched.NewEvent()} }

// claimLocked adds the durable version of e to r, or returns the round that has the block already.
func (r *round) claimLocked(e *entry) (other *round) {
	if e.homing != nil {
		return e.homing
	}
	e.homing = r
	r.blocks = append(r.blocks, homeBlock{e, e.dur})
	return nil
}

// writeHome writes the versions of r to their places and makes them stable. A version that is still the newest
// durable one of its block is home then.
func (j *Journal) writeHome(r *round) error {
	slices.SortFunc(r.blocks, func(a, b homeBlock) int { return cmp.Compare(a.e.blk, b.e.blk) })
	var runs []run
	for _, h := range r.blocks {
		runs = appendBlock(runs, h.e.blk, h.v.b)
	}
	err := j.writeRuns(runs)
	if err == nil && len(runs) > 0 {
		err = j.flush()
	}
	if err != nil {
		err = fmt.Errorf("write home: %w", err)
		j.fail(err)
	}
	j.mu.Lock()
	for _, h := range r.blocks {
		e := h.e
		e.homing = nil
		if err == nil && e.dur == h.v {
			e.dur = nil
			e.clean = h.v.b
			h.v.g.pending--
		}
		j.settleLocked(e)
	}
	if err == nil {
		j.stats.HomeWrites += uint64(len(r.blocks))
	}
	j.broadcastLocked()
	j.mu.Unlock()
	r.done.Set()
	return err
}

// FlushOwner makes everything that was changed for these owners durable and home (J2), so that other nodes may read
// and change it. Owners with nothing to write cost no I/O. The caller must see to it that no transaction of these
// owners is published meanwhile.
func (j *Journal) FlushOwner(ctx context.Context, owners ...uint64) error {
	j.mu.Lock()
	if err := j.stop; err != nil {
		j.mu.Unlock()
		return err
	}
	var seq Seq
	switch {
	case j.run.touches(owners):
		seq = j.run.last
	case j.flight.touches(owners):
		seq = j.flight.last
	}
	j.mu.Unlock()
	if err := j.Sync(ctx, seq); err != nil {
		return fmt.Errorf("flush owners: %w", err)
	}
	for {
		mine, others := j.claimOwners(owners)
		if len(mine.blocks) == 0 && len(others) == 0 {
			return j.alive()
		}
		if len(mine.blocks) > 0 {
			if err := j.writeHome(mine); err != nil {
				return fmt.Errorf("flush owners: %w", err)
			}
		}
		for _, r := range others {
			if err := r.done.Wait(ctx); err != nil {
				return err
			}
		}
		if err := j.alive(); err != nil {
			return err
		}
	}
}

// claimOwners makes a round of the durable versions of owners, and lists the rounds that have some of them already.
func (j *Journal) claimOwners(owners []uint64) (mine *round, others []*round) {
	j.mu.Lock()
	defer j.mu.Unlock()
	var found []*entry
	for _, o := range owners {
		for _, e := range j.owners[o] {
			if e.dur != nil || e.homing != nil {
				found = append(found, e)
			}
		}
	}
	slices.SortFunc(found, func(a, b *entry) int { return cmp.Compare(a.blk, b.blk) })
	mine = j.newRound()
	for _, e := range found {
		if r := mine.claimLocked(e); r != nil && r != mine && !slices.Contains(others, r) {
			others = append(others, r)
		}
	}
	if len(mine.blocks) > 0 {
		j.fillLocked(mine)
	}
	return mine, others
}

// fillLocked adds other durable versions to a round that must be written and flushed anyway. A flush costs more than
// many writes, and who is asked for one lock is mostly asked for the next one soon: another node that walks a tree
// would otherwise wait for a flush for every file.
func (j *Journal) fillLocked(r *round) {
	for _, g := range j.groups {
		if len(r.blocks) >= maxFill {
			return
		}
		if g.pending == 0 {
			continue
		}
		for _, e := range g.entries {
			if e.dur != nil && e.dur.g == g {
				r.claimLocked(e)
			}
		}
	}
}

// maxFill is how many blocks a round takes along at least before it stops looking for more.
const maxFill = 256

// HasDirty reports whether anything of owner is not home yet, or was freed by a transaction that is not durable.
func (j *Journal) HasDirty(owner uint64) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.run.touches([]uint64{owner}) || j.flight.touches([]uint64{owner}) {
		return true
	}
	for _, e := range j.owners[owner] {
		if e.dirty() {
			return true
		}
	}
	return false
}
