package fs

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/covol/covol/journal"
	"github.com/covol/covol/ondisk"
)

// need is what a transaction may take. It is promised before anything changes (F5).
type need struct {
	meta     int // metadata blocks
	clusters int
	// essential transactions give space back. They may use what is kept from all others, so that a full volume can be
	// emptied.
	essential bool
	win       *window // of the file that the clusters are for, so that it can be released; may be nil
}

// run is a row of clusters of the volume.
type run struct {
	Start uint64 // absolute number of the first cluster
	Len   uint32
}

// txn is a transaction of the journal with its space: what it takes was promised by begin, what it gives back is
// usable again once it is durable (F2). Groups whose bitmaps it changes stay locked until it ends. It belongs to one
// procedure and must end with commit or abort.
type txn struct {
	s    *store
	j    *journal.Txn
	uses []*groupUse // ascending
	win  *window

	written    map[uint64]bool // blocks that have been written
	freedData  []run
	freedMeta  []uint64
	inodes     int
	freeLog    *ondisk.Inode // private copy of the record, while the lock of the free logs is held
	freeLogNew bool          // it has changed
	freeLogOf  uint16        // slot that it belongs to
	ended      bool
}

// groupUse is what a transaction has of one group.
type groupUse struct {
	g        *group
	hold     hold
	clusters int // promised and not taken yet
	meta     int
	change   groupChange
}

// begin promises the need and opens a transaction. It may wait for locks of groups and for the journal, and returns
// ErrNoSpace when the volume does not have so much, unless the transaction is essential and takes no clusters: it then has nothing
// promised, and may still end with ErrNoSpace. One that needs nothing beforehand waits for nothing. No transaction may be
// open in the same procedure.
func (s *store) begin(ctx context.Context, n need) (*txn, error) {
	t := s.newTxn()
	if n.essential && n.meta > 0 {
		n.meta += s.alloc.freeLogSpare()
	}
	err := s.alloc.reserve(ctx, t, n)
	if err != nil {
		t.release()
		if !n.essential || n.clusters > 0 || !errors.Is(err, ErrNoSpace) {
			return nil, err
		}
		// Deletes mostly need none of what they might need. Let this one try with nothing promised.
		t = s.newTxn()
	}
	t.j, t.win = s.j.Begin(), n.win
	return t, nil
}

func (s *store) newTxn() *txn { return &txn{s: s, written: map[uint64]bool{}} }

// Read sees what the transaction itself has written.
func (t *txn) Read(ctx context.Context, blk uint64, want ondisk.Type, owner uint64) ([]byte, error) {
	return t.j.Read(ctx, blk, want, owner)
}

// Write gives a block new content; b belongs to the journal from then on.
func (t *txn) Write(blk, owner uint64, b []byte) {
	t.written[blk] = true
	t.j.Write(blk, owner, b)
}

// Update changes a block late, see journal.Txn.
func (t *txn) Update(blk, owner uint64, fn func(b []byte)) { t.j.Update(blk, owner, fn) }

// OnDurable runs fn once the transaction is durable, see journal.Txn.
func (t *txn) OnDurable(fn func()) { t.j.OnDurable(fn) }

// ordered says that file data was written for this transaction and must be stable before it counts.
func (t *txn) ordered() { t.j.Ordered() }

// countInode counts inodes made or deleted.
func (t *txn) countInode(delta int) { t.inodes += delta }

// allocMeta takes a metadata block that was promised. One more than that is taken only if it can be had without waiting.
func (t *txn) allocMeta(ctx context.Context) (uint64, error) {
	a := t.s.alloc
	if t.promised().meta == 0 {
		if err := a.more(ctx, t, need{meta: 1}); err != nil {
			return 0, err
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, u := range t.uses {
		if u.meta > 0 {
			return a.takeMeta(u)
		}
	}
	return 0, fmt.Errorf("metadata block: %w", ErrNoSpace)
}

// freeMeta gives a tree node back: it is never written home or replayed any more once the transaction counts.
func (t *txn) freeMeta(blk uint64) {
	if t.written[blk] || !t.picked(blk) {
		t.j.Free(blk)
	}
	t.freedMeta = append(t.freedMeta, blk)
}

// freeInode gives the block of an inode back. The caller has written a tombstone over the record, with the group as
// owner, so that it is home before another node can use the block.
func (t *txn) freeInode(blk uint64) { t.freedMeta = append(t.freedMeta, blk) }

// picked reports whether the transaction itself took the block.
func (t *txn) picked(blk uint64) bool {
	idx, ok := t.s.sb.GroupOf(blk)
	if !ok {
		return false
	}
	u := t.use(idx)
	bit := int(blk - t.s.sb.GroupFirst(idx))
	return u != nil && slices.ContainsFunc(u.change.setMeta, func(r bitRun) bool { return r.at == bit })
}

// freeData gives n clusters back. Their content may be overwritten or discarded once the transaction is durable.
func (t *txn) freeData(_ context.Context, start uint64, n uint32) error {
	sb := t.s.sb
	k := uint64(sb.ClusterBlocks())
	for n > 0 {
		idx, ok := sb.GroupOf(start * k)
		if !ok {
			return &ondisk.Corrupt{Struct: "extent", Block: start * k, Field: "freed cluster", Got: start}
		}
		part := uint32(min(uint64(n), sb.GroupFirst(idx)/k+uint64(sb.GroupClusters(idx))-start))
		if !sb.IsDataPlace(start, part) {
			return &ondisk.Corrupt{Struct: "extent", Block: start * k, Field: "freed cluster", Got: start}
		}
		t.freedData = append(t.freedData, run{start, part})
		start, n = start+uint64(part), n-part
	}
	return nil
}

// use is what the transaction has of a group, nil if nothing.
func (t *txn) use(idx uint32) *groupUse {
	for _, u := range t.uses {
		if u.g.idx == idx {
			return u
		}
	}
	return nil
}

// join adds a group to the transaction.
func (t *txn) join(ctx context.Context, idx uint32, h how) (*groupUse, error) {
	if u := t.use(idx); u != nil {
		return u, nil
	}
	g, hd, err := t.s.alloc.useGroup(ctx, idx, h)
	if err != nil {
		return nil, err
	}
	u := &groupUse{g: g, hold: hd}
	t.uses = append(t.uses, u)
	slices.SortFunc(t.uses, func(x, y *groupUse) int { return int(x.g.idx) - int(y.g.idx) })
	return u, nil
}

// leave ends the use of a group of which the transaction has nothing.
func (t *txn) leave(u *groupUse) {
	t.uses = slices.DeleteFunc(t.uses, func(x *groupUse) bool { return x == u })
	u.hold.unlock()
}

// leaveAll gives back everything that was promised. Nothing has been taken yet.
func (t *txn) leaveAll() {
	a := t.s.alloc
	a.mu.Lock()
	for _, u := range t.uses {
		u.g.promised -= u.clusters
		u.g.promisedMeta -= u.meta
	}
	a.mu.Unlock()
	for _, u := range t.uses {
		u.hold.unlock()
	}
	t.uses = nil
}

// promised is what the transaction may still take.
func (t *txn) promised() need {
	var n need
	for _, u := range t.uses {
		n.meta += u.meta
		n.clusters += u.clusters
	}
	return n
}

// abort forgets the transaction; it does nothing after commit. All it took is free again.
func (t *txn) abort() {
	if t.ended {
		return
	}
	t.j.Abort()
	t.release()
}

// release gives back what was promised and taken, and ends the transaction.
func (t *txn) release() {
	a := t.s.alloc
	a.mu.Lock()
	for _, u := range t.uses {
		for _, r := range u.change.setClusters {
			u.g.clusters.fill(r.at, r.n, false)
			u.g.free += r.n
		}
		for _, r := range u.change.setMeta {
			u.g.meta.fill(r.at, r.n, false)
			u.g.freeMeta += r.n
		}
	}
	a.mu.Unlock()
	t.end()
}

// end gives promises and locks back.
func (t *txn) end() {
	t.ended = true
	if t.freeLog != nil {
		t.freeLog = nil
		t.s.alloc.logLock.Unlock()
	}
	t.leaveAll()
}
