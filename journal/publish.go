package journal

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/covol/covol/ondisk"
)

// MaxTxnBlocks is how many blocks a transaction may write, update and free together.
func (j *Journal) MaxTxnBlocks() int { return maxTxnBlocks(j.maxGroup) }

func maxTxnBlocks(maxGroup int) int {
	n := maxGroup - 2
	for logBlocks(n, 0) > maxGroup {
		n--
	}
	return n
}

// Publish makes everything the transaction did visible at once and returns its number for Sync. It becomes durable
// with the next commit, CommitEvery later at the latest. On error nothing is visible. It waits while the running
// group is full; ctx ends only that wait. The transaction has ended either way. One that did nothing returns the
// number of the one before it.
func (t *Txn) Publish(ctx context.Context) (Seq, error) {
	j := t.j
	if t.ended {
		return 0, misuse("transaction published after its end")
	}
	epoch := uint64(j.cfg.Epoch())
	j.mu.Lock()
	defer j.mu.Unlock()
	defer t.endLocked()
	if err := t.err; err != nil {
		return 0, fmt.Errorf("publish: %w", err)
	}
	if n := len(t.ops); n > j.MaxTxnBlocks() {
		return 0, fmt.Errorf("publish %d blocks, at most %d fit: %w", n, j.MaxTxnBlocks(), ErrTooLarge)
	}
	for {
		if j.stop != nil {
			return 0, j.stop
		}
		if len(t.ops) == 0 && !t.ordered && len(t.durable) == 0 {
			return j.published, nil
		}
		g := j.run
		if g == nil || g.blocksWith(j, t) <= j.maxGroup {
			break
		}
		j.commitLocked(g)
		if err := j.waitLocked(ctx); err != nil {
			return 0, fmt.Errorf("publish: wait for room: %w", err)
		}
	}
	if err := t.checkLocked(); err != nil {
		return 0, fmt.Errorf("publish: %w", err)
	}
	t.applyLocked(epoch)
	return j.published, nil
}

// blocksWith is how many blocks of the ring g takes once t has joined it.
func (g *group) blocksWith(j *Journal, t *Txn) int {
	contents, revokes := g.contents, len(g.revokes)
	for blk, o := range t.ops {
		if _, ok := g.revokes[blk]; o.free && !ok {
			revokes++
		}
		e := j.entries[blk]
		had := e != nil && e.run != nil && e.run.b != nil
		if has := !o.free || o.base != nil; has && !had {
			contents++
		} else if had && !has {
			contents--
		}
	}
	return logBlocks(contents, revokes)
}

// checkLocked makes sure that applyLocked cannot fail half way.
func (t *Txn) checkLocked() error {
	for blk, o := range t.ops {
		if o.base != nil || o.free {
			continue
		}
		if b, _ := t.pinned[blk].newest(); b == nil {
			return misuse("update of block %d, which was freed meanwhile", blk)
		}
	}
	return nil
}

// applyLocked makes the versions of t those that everybody sees.
func (t *Txn) applyLocked(epoch uint64) {
	j := t.j
	if j.run == nil {
		j.run = newGroup(j.cfg.Sched)
		g := j.run
		g.stop = j.cfg.Sched.AfterFunc(j.cfg.CommitEvery, func() { j.commitDue(g) })
	}
	g := j.run
	if len(t.ops) > 0 {
		j.lsn++
	}
	for _, blk := range slices.Sorted(maps.Keys(t.ops)) {
		o := t.ops[blk]
		if o.free {
			j.freeLocked(g, blk)
		}
		b := o.base
		if b == nil && o.free {
			continue
		}
		if b == nil {
			b, _ = t.pinned[blk].newest()
		}
		if len(o.fns) > 0 {
			b = slices.Clone(b)
			for _, fn := range o.fns {
				fn(b)
			}
		}
		ondisk.Stamp(b, j.lsn, epoch, uint16(j.cfg.Slot), uint32(j.cfg.Incarnation))
		ondisk.Seal(b)
		j.writeLocked(g, blk, o.owner, b)
	}
	j.published++
	j.stats.Txns++
	g.last = j.published
	g.ordered = g.ordered || t.ordered
	g.durable = append(g.durable, t.durable...)
	if g.logBlocks() > j.maxGroup/2 {
		j.commitLocked(g)
	}
}

func (j *Journal) writeLocked(g *group, blk, owner uint64, b []byte) {
	e := j.entryLocked(blk, owner)
	g.touchLocked(e)
	j.ownLocked(e, owner)
	g.owners[owner] = struct{}{}
	j.putLocked(g, e, b)
}

func (j *Journal) freeLocked(g *group, blk uint64) {
	e := j.entryLocked(blk, 0)
	g.touchLocked(e)
	g.revokes[blk] = struct{}{}
	j.putLocked(g, e, nil)
}

// touchLocked notes that the group takes the content of e from its owner.
func (g *group) touchLocked(e *entry) {
	if b, _ := e.newest(); b != nil {
		g.owners[e.owner] = struct{}{}
	}
}

func (j *Journal) putLocked(g *group, e *entry, b []byte) {
	switch {
	case e.run == nil:
		g.entries = append(g.entries, e)
	case e.run.b != nil:
		g.contents--
	}
	if b != nil {
		g.contents++
	}
	e.run = &version{b: b, g: g}
	if l := j.loads[e.blk]; l != nil {
		l.stale = true
	}
	j.settleLocked(e)
}
