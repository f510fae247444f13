package journal

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/covol/covol/ondisk"
)

// Seq numbers published transactions of one Journal from 1, in order of publication.
type Seq uint64

// Txn is a private set of new versions of blocks. Nobody sees them before Publish, and then all at once. A Txn
// belongs to one procedure at a time and must end with Publish or Abort. The caller must hold whatever makes it the
// only writer of the owners it writes to, from before it reads them until after Publish; blocks that it only updates
// may be updated by others at the same time.
type Txn struct {
	j       *Journal
	ops     map[uint64]*op
	pinned  map[uint64]*entry
	ordered bool
	durable []func()
	err     error // a broken rule, told by Publish
	ended   bool
}

// op is what a transaction does to one block: free it, then give it new content, then update that.
type op struct {
	blk   uint64
	owner uint64
	free  bool
	base  []byte // nil: keep the newest published version
	fns   []func(b []byte)
}

// Begin starts a transaction.
func (j *Journal) Begin() *Txn {
	return &Txn{j: j, ops: map[uint64]*op{}, pinned: map[uint64]*entry{}}
}

func (t *Txn) op(blk, owner uint64) *op {
	o := t.ops[blk]
	if o == nil {
		o = &op{blk: blk}
		t.ops[blk] = o
	}
	o.owner = owner
	return o
}

// Read is Journal.Read that sees what the transaction itself has done to the block so far. The block stays cached
// until the transaction ends.
func (t *Txn) Read(ctx context.Context, blk uint64, want ondisk.Type, owner uint64) ([]byte, error) {
	o := t.ops[blk]
	if o != nil && o.free && o.base == nil {
		return nil, fmt.Errorf("read block %d: %w", blk, ErrFreed)
	}
	var b []byte
	if o != nil && o.base != nil {
		b = o.base
	} else {
		published, err := t.j.Read(ctx, blk, want, owner)
		if err != nil {
			return nil, err
		}
		t.pin(blk, owner, published)
		b = published
	}
	if o != nil && len(o.fns) > 0 {
		b = slices.Clone(b)
		for _, fn := range o.fns {
			fn(b)
		}
	}
	return typed(b, want, blk)
}

// pin keeps the block in the cache until the transaction ends. b is its content as just read, in case it has been
// evicted in between; it may be nil.
func (t *Txn) pin(blk, owner uint64, b []byte) bool {
	if t.pinned[blk] != nil {
		return true
	}
	j := t.j
	j.mu.Lock()
	defer j.mu.Unlock()
	e := j.entries[blk]
	if e == nil && b != nil {
		e = j.entryLocked(blk, owner)
		e.clean = b
	}
	if e == nil {
		return false
	}
	e.pins++
	j.settleLocked(e)
	t.pinned[blk] = e
	return true
}

// Write makes b the new content of block blk, for owner. b belongs to the journal from then on. The caller has set
// type, number, volume, owner and generation in its header; LSN, epoch, writer and CRC are stamped by Publish.
func (t *Txn) Write(blk, owner uint64, b []byte) {
	if err := checkHeader(t.j.cfg.Super, blk, b); err != nil {
		t.fail(fmt.Errorf("write block %d: %w", blk, err))
		return
	}
	o := t.op(blk, owner)
	o.base, o.fns = b, nil
}

// Update changes block blk of owner late: Publish applies fn to a copy of the newest version there is by then. Use it
// for changes that commute, like bits of a bitmap and counters, where other transactions may change the same block
// before this one is published. The block must have been read, in this transaction or just before. fn must not fail,
// must not call the journal, must leave the header alone, and may be called more than once.
func (t *Txn) Update(blk, owner uint64, fn func(b []byte)) {
	o := t.ops[blk]
	switch {
	case o != nil && o.base != nil:
	case o != nil && o.free:
		t.fail(misuse("update of block %d that the transaction has freed", blk))
		return
	case !t.pin(blk, owner, nil):
		t.fail(misuse("update of block %d that is not cached", blk))
		return
	}
	o = t.op(blk, owner)
	o.fns = append(o.fns, fn)
}

// Free says that blk is no metadata block of its old owner any more. Once the transaction is durable its old content
// is never written home again and never replayed. It may be written again, by this transaction or a later one. What
// lets others take the block, a clear bit or an index of free space, must be changed in this transaction or a later one,
// so that FlushOwner of that makes the free durable too.
func (t *Txn) Free(blk uint64) {
	if !journalled(t.j.cfg.Super, blk) {
		t.fail(misuse("free of block %d, which is no place for metadata", blk))
		return
	}
	o := t.op(blk, 0)
	o.free, o.base, o.fns = true, nil, nil
}

// Ordered says that file data was written to the device for this transaction. All that was written before Publish is
// stable before the transaction can count as durable.
func (t *Txn) Ordered() { t.ordered = true }

// OnDurable runs fn once the transaction is durable, in a procedure of the journal, one after the other in order of
// publication. It does not run if the journal stops before. fn may publish transactions but must not wait for OnDurable
// of others.
func (t *Txn) OnDurable(fn func()) { t.durable = append(t.durable, fn) }

// Abort forgets everything. It may be called after Publish and then does nothing.
func (t *Txn) Abort() {
	if !t.ended {
		t.j.mu.Lock()
		t.endLocked()
		t.j.mu.Unlock()
	}
}

func (t *Txn) endLocked() {
	t.ended = true
	for _, blk := range slices.Sorted(maps.Keys(t.pinned)) { // the order decides who is evicted first
		e := t.pinned[blk]
		e.pins--
		t.j.settleLocked(e)
	}
	t.pinned, t.ops, t.durable = nil, nil, nil
}

func (t *Txn) fail(err error) {
	if t.err == nil {
		t.err = err
	}
}
