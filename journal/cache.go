package journal

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/sched"
)

// entry is one block of the cache. It holds at most three versions that are not home, newest first: of the running
// group, of the group being committed, and the newest durable one. Without any of them it is clean, and what it
// holds equals what is on disk. Guarded by Journal.mu.
type entry struct {
	blk    uint64
	owner  uint64
	run    *version
	flight *version
	dur    *version
	clean  []byte
	homing *round // writes a version home right now; no other round may take the block meanwhile
	pins   int    // transactions with a late update of it

	inLRU      bool
	prev, next *entry // ring of clean entries, Journal.lru is the anchor
}

// newest is the content that readers see. ok is false if there is none; b is nil if the block is free.
func (e *entry) newest() (b []byte, ok bool) {
	for _, v := range [...]*version{e.run, e.flight, e.dur} {
		if v != nil {
			return v.b, true
		}
	}
	return e.clean, e.clean != nil
}

func (e *entry) dirty() bool { return e.run != nil || e.flight != nil || e.dur != nil }

// load is a read from the device that several readers may wait for.
type load struct {
	want  ondisk.Type
	owner uint64
	done  sched.Event
	stale bool // the block was published or dropped meanwhile: what was read must not enter the cache
	err   error
}

// Read returns the newest published content of metadata block blk: a block of type want, checked by
// ondisk.CheckHeader. It must not be changed and stays as it is forever. The caller must hold whatever makes it the
// rightful reader of owner. Errors of the device and ondisk.ErrCorrupt concern this call only.
func (j *Journal) Read(ctx context.Context, blk uint64, want ondisk.Type, owner uint64) ([]byte, error) {
	if blk >= j.cfg.Super.Blocks {
		return nil, &ondisk.Corrupt{Struct: want.String(), Block: blk, Field: "block number", Got: blk}
	}
	for first := true; ; first = false {
		j.mu.Lock()
		if j.stop != nil {
			defer j.mu.Unlock()
			return nil, j.stop
		}
		if e := j.entries[blk]; e != nil {
			if b, ok := e.newest(); ok {
				if first {
					j.stats.Hits++
				}
				b, err := typed(b, want, blk)
				if err == nil {
					// A reader who is mistaken about the block must not take it from its owner: Drop would miss it.
					j.touchLocked(e, owner)
				}
				j.mu.Unlock()
				return b, err
			}
		}
		if l := j.loads[blk]; l != nil {
			j.mu.Unlock()
			if err := l.done.Wait(ctx); err != nil {
				return nil, err
			}
			if l.err != nil && l.want == want && !errors.Is(l.err, context.Canceled) && !errors.Is(l.err, context.DeadlineExceeded) {
				return nil, l.err
			}
			continue
		}
		l := &load{want: want, owner: owner, done: j.cfg.Sched.NewEvent()}
		j.loads[blk] = l
		j.stats.Misses++
		j.mu.Unlock()
		b, again, err := j.load(ctx, blk, l)
		if !again {
			return b, err
		}
	}
}

// load reads the block from the device for l, whose waiters it wakes. again says that the result is out of date.
func (j *Journal) load(ctx context.Context, blk uint64, l *load) (b []byte, again bool, err error) {
	b = make([]byte, ondisk.BlockSize)
	err = j.cfg.Dev.ReadAt(ctx, b, int64(blk)*ondisk.BlockSize)
	if err != nil {
		err = fmt.Errorf("read block %d: %w", blk, err)
	} else {
		err = ondisk.CheckHeader(b, l.want, blk, j.cfg.Super.UUID)
	}
	j.mu.Lock()
	delete(j.loads, blk)
	l.err = err
	if err == nil {
		j.lsn = max(j.lsn, ondisk.LSN(b))
		if !l.stale && j.stop == nil {
			e := j.entryLocked(blk, l.owner)
			e.clean = b
			j.settleLocked(e)
		}
	}
	again = l.stale
	j.mu.Unlock()
	l.done.Set()
	if again {
		return nil, true, nil
	}
	if err != nil {
		return nil, false, err
	}
	return b, false, nil
}

// typed holds cached content to the type that the reader expects, as CheckHeader does for content from disk.
func typed(b []byte, want ondisk.Type, blk uint64) ([]byte, error) {
	if b == nil {
		return nil, fmt.Errorf("read block %d: %w", blk, ErrFreed)
	}
	if t := ondisk.GetHeader(b).Type; t != want {
		return nil, &ondisk.Corrupt{Struct: want.String(), Block: blk, Field: "type", Got: t.String(), Want: want.String()}
	}
	return b, nil
}

// Peek returns the newest published content of a block if it is cached, without any I/O.
func (j *Journal) Peek(blk uint64) ([]byte, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	e := j.entries[blk]
	if e == nil || j.stop != nil {
		return nil, false
	}
	b, _ := e.newest()
	return b, b != nil
}

// Drop forgets the clean blocks of these owners, because another node may change them from now on. Blocks that are
// not home yet, or that a transaction has a late update of, stay, and ErrMisuse names one: the caller must
// FlushOwner first.
func (j *Journal) Drop(owners ...uint64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	var kept []uint64
	for _, o := range owners {
		for blk, e := range j.owners[o] {
			if e.dirty() || e.pins > 0 || e.homing != nil {
				kept = append(kept, blk)
				continue
			}
			e.clean = nil
			j.settleLocked(e)
		}
	}
	for _, l := range j.loads {
		if slices.Contains(owners, l.owner) {
			l.stale = true
		}
	}
	if len(kept) > 0 {
		err := misuse("drop of %d blocks that are not home, first block %d", len(kept), slices.Min(kept))
		j.cfg.Log.Error("journal: drop refused", "slot", j.cfg.Slot, "err", err)
		return err
	}
	return nil
}

// entryLocked returns the entry of blk, made for owner if there is none.
func (j *Journal) entryLocked(blk, owner uint64) *entry {
	e := j.entries[blk]
	if e == nil {
		e = &entry{blk: blk, owner: owner}
		j.entries[blk] = e
		j.indexLocked(e)
	}
	return e
}

func (j *Journal) indexLocked(e *entry) {
	m := j.owners[e.owner]
	if m == nil {
		m = map[uint64]*entry{}
		j.owners[e.owner] = m
	}
	m[e.blk] = e
}

func (j *Journal) unindexLocked(e *entry) {
	m := j.owners[e.owner]
	delete(m, e.blk)
	if len(m) == 0 {
		delete(j.owners, e.owner)
	}
}

// ownLocked makes the block one of owner's.
func (j *Journal) ownLocked(e *entry, owner uint64) {
	if e.owner != owner {
		j.unindexLocked(e)
		e.owner = owner
		j.indexLocked(e)
	}
}

// touchLocked notes a use of the block by a reader of owner.
func (j *Journal) touchLocked(e *entry, owner uint64) {
	if !e.dirty() {
		j.ownLocked(e, owner)
	}
	if e.inLRU {
		j.lruRemove(e)
		j.lruAdd(e)
	}
}

// settleLocked puts the entry where its state wants it: with versions, a pin or a round it stays; clean it waits in
// the LRU ring; empty it goes.
func (j *Journal) settleLocked(e *entry) {
	switch {
	case e.dirty():
		e.clean = nil
		j.lruRemove(e)
	case e.pins > 0 || e.homing != nil:
		j.lruRemove(e)
	case e.clean == nil:
		j.lruRemove(e)
		j.unindexLocked(e)
		delete(j.entries, e.blk)
	default:
		j.lruAdd(e)
		for j.cleanBlocks > j.cleanLimit {
			old := j.lru.next
			old.clean = nil
			j.settleLocked(old)
		}
	}
}

func (j *Journal) lruAdd(e *entry) {
	if e.inLRU {
		return
	}
	a := &j.lru
	e.inLRU, e.prev, e.next = true, a.prev, a
	a.prev.next, a.prev = e, e
	j.cleanBlocks++
}

func (j *Journal) lruRemove(e *entry) {
	if !e.inLRU {
		return
	}
	e.prev.next, e.next.prev = e.next, e.prev
	e.inLRU, e.prev, e.next = false, nil, nil
	j.cleanBlocks--
}
