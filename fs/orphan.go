package fs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/journal"
	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/sched"
)

// orphanNeed is how many metadata blocks one entry in the index of orphans can take.
const orphanNeed = 4

// orphans is the index of inodes that this node has deleted and not given back yet: they may be open, here or
// elsewhere, or have too many clusters for one transaction. It is on disk, in a record of the slot, so that whoever
// uses the slot next can finish the work.
type orphans struct {
	v *Volume
	// lock is held from the first look at the index until the transaction that changes it is published.
	lock *sched.Lock
	jobs *workers
}

// add enters a record into the index and leaves the index locked; the caller unlocks it once the transaction is
// published or aborted. After an error it is not locked.
func (o *orphans) add(ctx context.Context, tx *txn, rec *ondisk.Inode) error {
	if err := o.lock.Lock(ctx); err != nil {
		return err
	}
	err := o.change(ctx, tx, o.v.slot, func(idx *ondisk.Inode) error {
		return treePut(ctx, tx, idx, rec.Ino, ondisk.EncodeOrphan(ondisk.Orphan{Ino: rec.Ino, Generation: rec.Generation}))
	})
	if err != nil {
		o.lock.Unlock()
	}
	return err
}

// change rewrites the index record of a slot. The index is locked.
func (o *orphans) change(ctx context.Context, tx *txn, slot view.Slot, fn func(idx *ondisk.Inode) error) error {
	idx, err := o.read(ctx, tx, slot)
	if err != nil {
		return err
	}
	if err := fn(idx); err != nil {
		return err
	}
	tx.Write(idx.Ino, ownerSlot, ondisk.EncodeInode(o.v.sb.UUID, idx))
	return nil
}

// read is a private copy of the index record of a slot.
func (o *orphans) read(ctx context.Context, r blockReader, slot view.Slot) (*ondisk.Inode, error) {
	blk := o.v.sb.OrphanBlock(uint16(slot))
	b, err := r.Read(ctx, blk, ondisk.TypeInode, ownerSlot)
	if err != nil {
		return nil, fmt.Errorf("read index of orphans of slot %d: %w", slot, err)
	}
	rec, err := ondisk.DecodeInode(b)
	if err != nil {
		return nil, err
	}
	return cloneRecord(rec), nil
}

// reclaimSoon reclaims an orphan on a procedure of its own. What cannot be done for want of space is tried again.
func (o *orphans) reclaimSoon(ino Ino, generation uint64) {
	o.jobs.start("reclaim", func(ctx context.Context) error {
		err := o.reclaim(ctx, ino, generation)
		if errors.Is(err, ErrNoSpace) {
			o.jobs.after(reclaimAgain, "reclaim", func(context.Context) error {
				o.reclaimSoon(ino, generation)
				return nil
			})
		}
		return err
	})
}

// reclaimAgain is how long a reclaim that found no space waits.
const reclaimAgain = 5 * time.Second

// reclaim gives back all that an orphan of this node's slot has, once no node has it open any more. An inode that is in
// the index but has names was being cut short: that is finished and its entry removed.
//
// The open lock is not waited for under the inode, nor the inode under the open lock: a node that has the file open
// takes the one while it gives the other away.
func (o *orphans) reclaim(ctx context.Context, ino Ino, generation uint64) error {
	for {
		done, err := o.tryReclaim(ctx, ino, generation)
		if done || err != nil {
			return err
		}
		open, err := o.v.locks.lock(ctx, openRes(ino), useExcl) // the last close
		if err != nil {
			return err
		}
		open.unlock()
	}
}

// tryReclaim is reclaim, unless some node has the inode open.
func (o *orphans) tryReclaim(ctx context.Context, ino Ino, generation uint64) (done bool, err error) {
	v := o.v
	h, n, err := v.acquire(ctx, lockReq{ino: ino, use: useExcl, named: true}, false)
	if errors.Is(err, ErrStale) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	defer h.unlock()
	rec := n.record()
	if rec.Generation != generation {
		return true, nil
	}
	if rec.Nlink > 0 {
		if err := v.cutTail(ctx, n); err != nil {
			return false, err
		}
		return true, o.forget(ctx, n, nil)
	}
	open, free, err := v.locks.tryLock(ctx, openRes(ino), useExcl, true)
	if err != nil || !free {
		return false, err
	}
	defer open.unlock()
	n.win.release(v)
	if !isDir(rec) {
		if err := v.freeFrom(ctx, n, 0); err != nil {
			return false, err
		}
	}
	return true, o.forget(ctx, n, v.freeRecord)
}

// forget removes an inode from the index in one transaction with last, which may change its record.
func (o *orphans) forget(ctx context.Context, n *inode, last func(context.Context, *txn, *ondisk.Inode) error) error {
	err := o.v.freeing(ctx, func() error { return o.forgetOnce(ctx, n, last) })
	if err == nil && last != nil {
		n.mu.Lock()
		n.dead = true
		n.mu.Unlock()
	}
	return err
}

func (o *orphans) forgetOnce(ctx context.Context, n *inode, last func(context.Context, *txn, *ondisk.Inode) error) error {
	rec := n.snapshot()
	tx, err := o.v.begin(ctx, need{essential: true})
	if err != nil {
		return err
	}
	if err := o.lock.Lock(ctx); err != nil {
		tx.abort()
		return err
	}
	defer o.lock.Unlock()
	err = o.change(ctx, tx, o.v.slot, func(idx *ondisk.Inode) error {
		_, err := treeDelete(ctx, tx, idx, rec.Ino)
		return err
	})
	if err == nil && last != nil {
		err = last(ctx, tx, rec)
	}
	if err != nil {
		tx.abort()
		return err
	}
	_, err = commitInodes(ctx, tx, change{n, rec})
	return err
}

// freeRecord turns rec into a tombstone and gives its block back. A tombstone belongs to the group, so that it is home
// before another node can use the block for something else.
func (v *Volume) freeRecord(_ context.Context, tx *txn, rec *ondisk.Inode) error {
	if rec.Meta != 0 {
		// An empty tree has no nodes but its root.
		return &ondisk.Corrupt{Struct: "inode", Block: rec.Ino, Field: "tree blocks of an empty tree", Got: rec.Meta, Want: 0}
	}
	*rec = ondisk.Inode{Ino: rec.Ino, Generation: rec.Generation, Change: rec.Change + 1, Ctime: v.now()}
	g, _ := v.sb.GroupOf(rec.Ino)
	tx.Write(rec.Ino, groupOwner(g), ondisk.EncodeInode(v.sb.UUID, rec))
	tx.freeInode(rec.Ino)
	tx.countInode(-1)
	return nil
}

// dropReference takes back references and reclaims an inode that was waiting for the last of them.
func (v *Volume) dropReference(ino Ino, generation uint64, lookups uint64, opens int) {
	reclaim, open := v.known.drop(ino, generation, lookups, opens)
	if open.g != nil {
		open.unlock()
	}
	if reclaim {
		v.orphans.reclaimSoon(ino, generation)
	}
}

// pending are the entries of the index of this node's slot.
func (o *orphans) pending(ctx context.Context) (map[Ino]uint64, error) {
	idx, err := o.read(ctx, o.v.j, o.v.slot)
	if err != nil {
		return nil, err
	}
	found := map[Ino]uint64{}
	var bad error
	err = treeScan(ctx, o.v.j, idx, 0, func(ino uint64, value []byte) bool {
		entry, err := ondisk.DecodeOrphan(o.v.sb, idx.Ino, ino, value)
		if err != nil {
			bad = err
			return false
		}
		found[ino] = entry.Generation
		return true
	})
	return found, errors.Join(err, bad)
}

var _ blockReader = (*journal.Journal)(nil)
