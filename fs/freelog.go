package fs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/covol/covol/ondisk"
)

// The free log of a slot keeps what its node has freed in groups that other nodes held: on disk that space still counts
// as taken. The key of an entry is its first block. Later the node takes the lock of each of these groups in turn,
// clears the bits and removes the entries, both in one transaction.

const (
	drainBatch = 128             // entries a transaction removes at most
	drainAfter = 3 * time.Second // how long a new entry waits for others
)

// readFreeLog reads the record of a slot's free log. The result is private, its root is not.
func (s *store) readFreeLog(ctx context.Context, r blockReader, slot uint16) (*ondisk.Inode, error) {
	blk := s.sb.FreeLogBlock(slot)
	b, err := r.Read(ctx, blk, ondisk.TypeInode, blk)
	if err != nil {
		return nil, fmt.Errorf("free log of slot %d: %w", slot, err)
	}
	in, err := ondisk.DecodeInode(b)
	if err == nil && in.Body != ondisk.BodyIndex {
		err = &ondisk.Corrupt{Struct: "inode", Block: blk, Field: "body", Got: in.Body, Want: ondisk.BodyIndex}
	}
	if err != nil {
		return nil, fmt.Errorf("free log of slot %d: %w", slot, err)
	}
	return in, nil
}

// openFreeLog locks the free logs for the transaction, until it ends, and reads that of slot.
func (t *txn) openFreeLog(ctx context.Context, slot uint16) error {
	if t.freeLog != nil {
		return nil
	}
	if err := t.s.alloc.logLock.Lock(ctx); err != nil {
		return err
	}
	in, err := t.s.readFreeLog(ctx, t, slot)
	if err != nil {
		t.s.alloc.logLock.Unlock()
		return err
	}
	t.freeLog, t.freeLogOf = in, slot
	return nil
}

// logFrees puts frees into the free log, after it has been promised the blocks for that.
func (t *txn) logFrees(ctx context.Context, frees []ondisk.Free) error {
	if len(frees) == 0 {
		return nil
	}
	if err := t.openFreeLog(ctx, uint16(t.s.slot)); err != nil {
		return err
	}
	if lacks := freeLogNeed(t.freeLog, len(frees)) - t.promised().meta; lacks > 0 {
		if err := t.s.alloc.more(ctx, t, need{meta: lacks, essential: true}); err != nil {
			return &freeLogFull{groups: t.groupsOf(frees), err: err}
		}
	}
	t.freeLogNew = true
	for _, f := range frees {
		_, found, err := treeGet(ctx, t, t.freeLog, f.Block)
		if err == nil && found {
			err = &ondisk.Corrupt{Struct: "deferred free", Block: t.freeLog.Ino, Field: "block freed twice", Got: f.Block}
		}
		if err == nil {
			err = treePut(ctx, t, t.freeLog, f.Block, ondisk.EncodeFree(f))
		}
		if err != nil {
			return fmt.Errorf("free log: %w", err)
		}
	}
	return nil
}

// freeLogFull says that the free log cannot take what a transaction frees in groups that other nodes hold. Who holds
// these groups can do without the log.
type freeLogFull struct {
	groups []uint32
	err    error
}

func (e *freeLogFull) Error() string { return fmt.Sprintf("free log: %v", e.err) }
func (e *freeLogFull) Unwrap() error { return e.err }

func (t *txn) groupsOf(frees []ondisk.Free) (groups []uint32) {
	for _, f := range frees {
		if g, ok := t.s.sb.GroupOf(f.Block); ok && !slices.Contains(groups, g) {
			groups = append(groups, g)
		}
	}
	return groups
}

// freeing runs fn, which frees space in one transaction. If the free log has no room for it, fn runs again with the
// locks of the groups concerned, taken in order: so a full volume can be emptied by any node. The caller must not use
// any group, and fn must not wait for one: its transactions are promised nothing.
func (s *store) freeing(ctx context.Context, fn func() error) error {
	var groups []uint32
	var holds []hold
	release := func() {
		for _, h := range holds {
			h.unlock()
		}
		holds = nil
	}
	defer release()
	for {
		err := fn()
		var full *freeLogFull
		if !errors.As(err, &full) {
			return err
		}
		known := len(groups)
		for _, g := range full.groups {
			if !slices.Contains(groups, g) {
				groups = append(groups, g)
			}
		}
		if len(groups) == known {
			return err // held, and yet to be logged: the group is corrupt
		}
		release()
		slices.Sort(groups)
		for _, g := range groups {
			h, err := s.locks.lock(ctx, groupRes(g), useWrite)
			if err != nil {
				return err
			}
			holds = append(holds, h)
		}
	}
}

// freeLogNeed is how many blocks n more entries may need: none while they fit into the record; a leaf is cut at most
// once per entry.
func freeLogNeed(in *ondisk.Inode, n int) int {
	root := treeRoot(in)
	room := (n + 1) * ondisk.SlotCost(ondisk.FreeSize)
	if root.Level() > 0 {
		return n + n/50 + treeNeed(in)
	}
	if root.Need()+room <= in.AttrRoom() {
		return 0
	}
	return (root.Need()+room)/(ondisk.NodeSize/2) + treeNeed(in)
}

// freeLogSpare is how many blocks an essential transaction is promised for the free log.
func (a *allocator) freeLogSpare() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.logBig {
		return 16
	}
	return 0
}

// noteFreeLog looks at the newest record of the own free log: how much the next entries may need, and whether it is
// time to think of emptying it.
func (a *allocator) noteFreeLog(in *ondisk.Inode) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.logBig = freeLogNeed(in, 64) > 0
	a.logUsed = treeRoot(in).Count() > 0
	if a.logUsed && a.logTimer == nil && !a.draining && a.dead == nil {
		a.logTimer = a.s.sched.AfterFunc(drainAfter, a.drainDue)
	}
}

func (a *allocator) stopTimer() {
	a.mu.Lock()
	stop := a.logTimer
	a.logTimer = nil
	a.mu.Unlock()
	if stop != nil {
		stop()
	}
}

// drainDue empties the own free log in the background.
func (a *allocator) drainDue() {
	a.mu.Lock()
	a.logTimer = nil
	if a.dead != nil || a.draining {
		a.mu.Unlock()
		return
	}
	a.draining = true
	a.mu.Unlock()
	ctx := context.Background()
	err := a.drain(ctx, uint16(a.s.slot))
	a.mu.Lock()
	a.draining = false
	dead := a.dead
	a.mu.Unlock()
	if err != nil {
		if dead == nil {
			a.s.log.Warn("free log is not emptied", "err", err)
		}
		return // the next entry, or leaving the volume, tries again
	}
	if in, err := a.s.readFreeLog(ctx, a.s.j, uint16(a.s.slot)); err == nil {
		a.noteFreeLog(in)
	}
}

// drain gives back what the free log of a slot keeps, group by group. It waits for the locks of these groups. slot is
// the node's own, or that of a node that is gone, whose journal was replayed and whose slot nobody can claim meanwhile;
// its log is home when drain returns. Entries of groups that cannot be used stay.
func (a *allocator) drain(ctx context.Context, slot uint16) error {
	sb, from := a.s.sb, uint64(0)
	for {
		blk, ok, err := a.nextLogged(ctx, slot, from)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		idx, ok := sb.GroupOf(blk)
		if !ok {
			return &ondisk.Corrupt{Struct: "deferred free", Block: sb.FreeLogBlock(slot), Field: "first block", Got: blk}
		}
		from, err = a.drainGroup(ctx, slot, idx, blk)
		if errors.Is(err, errGroupBad) || errors.Is(err, ondisk.ErrCorrupt) {
			a.s.log.Error("deferred frees of a group are left", "slot", slot, "group", idx, "err", err)
			from = sb.GroupFirst(idx) + uint64(sb.GroupBlocks)
		} else if err != nil {
			return fmt.Errorf("drain free log of slot %d: %w", slot, err)
		}
	}
	if slot == uint16(a.s.slot) {
		return nil
	}
	owner := sb.FreeLogBlock(slot)
	if err := a.s.j.FlushOwner(ctx, owner); err != nil {
		return err
	}
	return a.s.j.Drop(owner)
}

// nextLogged is the first entry from block from on.
func (a *allocator) nextLogged(ctx context.Context, slot uint16, from uint64) (blk uint64, ok bool, err error) {
	if err := a.logLock.Lock(ctx); err != nil {
		return 0, false, err
	}
	defer a.logLock.Unlock()
	in, err := a.s.readFreeLog(ctx, a.s.j, slot)
	if err != nil {
		return 0, false, err
	}
	err = treeScan(ctx, a.s.j, in, from, func(key uint64, _ []byte) bool {
		blk, ok = key, true
		return false
	})
	return blk, ok, err
}

// drainGroup gives back a batch of entries of one group, from block from on, and returns where to go on.
func (a *allocator) drainGroup(ctx context.Context, slot uint16, idx uint32, from uint64) (next uint64, err error) {
	t := a.s.newTxn()
	u, err := t.join(ctx, idx, howWait)
	if err != nil {
		return 0, err
	}
	t.j = a.s.j.Begin()
	defer t.abort()
	if err := t.openFreeLog(ctx, slot); err != nil {
		return 0, err
	}
	frees, err := t.loggedIn(ctx, idx, from)
	if err != nil {
		return 0, err
	}
	sb := a.s.sb
	k := uint64(sb.ClusterBlocks())
	for _, f := range frees {
		rel := f.Block - sb.GroupFirst(idx)
		if f.Kind == ondisk.FreeMeta {
			u.change.clearMeta = append(u.change.clearMeta, bitRun{int(rel), 1})
		} else {
			u.change.clearClusters = append(u.change.clearClusters, bitRun{int(rel / k), int(uint64(f.Blocks) / k)})
		}
		if _, err := treeDelete(ctx, t, t.freeLog, f.Block); err != nil {
			return 0, err
		}
		next = f.Block + 1
	}
	if len(frees) == 0 {
		return sb.GroupFirst(idx) + uint64(sb.GroupBlocks), nil
	}
	t.freeLogNew = true
	_, err = t.commit(ctx)
	return next, err
}

// loggedIn are the first entries of the open free log in a group, from block from on.
func (t *txn) loggedIn(ctx context.Context, idx uint32, from uint64) ([]ondisk.Free, error) {
	sb := t.s.sb
	end := sb.GroupFirst(idx) + uint64(sb.GroupBlocks)
	var frees []ondisk.Free
	var bad error
	err := treeScan(ctx, t, t.freeLog, from, func(key uint64, v []byte) bool {
		if key >= end || len(frees) == drainBatch {
			return false
		}
		f, err := ondisk.DecodeFree(sb, t.freeLog.Ino, key, v)
		if err != nil {
			bad = err
			return false
		}
		frees = append(frees, f)
		return true
	})
	if err == nil {
		err = bad
	}
	return frees, err
}
