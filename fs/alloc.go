package fs

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"

	"github.com/covol/covol/ondisk/sched"
)

// keepBack is how many metadata blocks, or clusters worth as much, a node leaves to essential transactions: it refuses
// all others before it has less. Deleting a file may have to cut a directory or the index of orphans in two.
const keepBack = 64

// allocator finds space for the transactions of a node, in groups whose locks it keeps.
//
// Promising comes before changing (F5): reserve promises numbers of blocks and clusters in groups that stay locked
// until the transaction ends; which ones they are is decided by allocMeta and allocData. It looks in this order:
//
//	groups that the node holds                   no message
//	others that nobody else holds                one message each, no waiting
//	groups that were never formatted             under the lock of the volume
//	what this node itself has freed lately       waits for the journal and for groups in the free log
//	all others, ascending                        waits for other nodes
//
// Locks: chunking, growing and logLock may be held across I/O, but nobody waits for the lock of a group under chunking
// or logLock. mu is for memory only.
type allocator struct {
	s        *store
	loading  *sched.Lock // one group is read at a time
	chunking *sched.Lock // one metadata chunk is made at a time
	growing  *sched.Lock // one procedure formats groups
	logLock  *sched.Lock // free logs: own, and leftovers of others while they are drained

	mu sync.Mutex
	// All below GUARDED_BY(mu).
	groups   map[uint32]*group
	bad      map[uint32]bool // corrupt groups
	ready    uint32          // groups that are known to be formatted
	cur      uint32          // group that served last
	windows  map[uint64]*ahead
	tick     uint64 // of the use of windows
	freed    []freedSpace
	settling bool
	changed  sched.Event // set and replaced when freed space has become free
	dead     error
	logBig   bool // own free log may need blocks for its next entry
	logUsed  bool // own free log is not empty
	logTimer func() bool
	draining bool
}

// newAllocator learns how many groups there are and what the free log of the slot holds.
func newAllocator(ctx context.Context, s *store) (*allocator, error) {
	a := &allocator{
		s: s, loading: sched.NewLock(s.sched), chunking: sched.NewLock(s.sched), growing: sched.NewLock(s.sched),
		logLock: sched.NewLock(s.sched), groups: map[uint32]*group{}, bad: map[uint32]bool{}, windows: map[uint64]*ahead{},
		changed: s.sched.NewEvent(),
	}
	if err := a.readReady(ctx); err != nil {
		return nil, err
	}
	in, err := s.readFreeLog(ctx, s.j, uint16(s.slot))
	if err != nil {
		return nil, err
	}
	a.cur = uint32(uint64(s.slot) * uint64(a.ready) / uint64(s.sb.Slots))
	a.noteFreeLog(in)
	s.space = newCounters(s)
	return a, nil
}

// close ends the background work once no transaction that takes or frees space is open any more: the free log is
// emptied, and what was freed is discarded. The journal must still work and is synced. Entries that cannot be drained
// stay for the next life of the slot.
func (a *allocator) close(ctx context.Context) error {
	a.stopTimer()
	if err := a.drain(ctx, uint16(a.s.slot)); err != nil {
		a.s.log.Warn("free log is not emptied", "err", err)
	}
	err := a.settle(ctx)
	a.kill(errors.New("allocation has ended"))
	return err
}

// kill ends the background work at once and lets everybody go who waits for freed space.
func (a *allocator) kill(err error) {
	if a == nil {
		return // withdrawn before the volume was mounted
	}
	a.stopTimer()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.dead == nil {
		a.dead = err
	}
	a.broadcastLocked()
}

// reserve promises n to t, or returns ErrNoSpace and has changed nothing but the locks that the node holds. Space for
// metadata may have been set aside in groups; it is counted as free metadata blocks.
func (a *allocator) reserve(ctx context.Context, t *txn, n need) error {
	if n.meta <= 0 && n.clusters <= 0 {
		return nil
	}
	left, full := n, map[uint32]bool{}
	for {
		if done, err := a.gatherNow(ctx, t, &left, full); done || err != nil {
			return err
		}
		if grown, err := a.grow(ctx); err != nil {
			return err
		} else if !grown {
			break
		}
	}
	// From here on other locks are waited for, which must be taken in order: start again with none.
	t.leaveAll()
	again, err := a.reclaim(ctx)
	if err != nil {
		return err
	}
	if again {
		left, full = n, map[uint32]bool{}
		if done, err := a.gatherNow(ctx, t, &left, full); done || err != nil {
			return err
		}
		t.leaveAll()
	}
	left = n
	done, err := a.gather(ctx, t, &left, a.all(), howWait, full)
	if err == nil && !done {
		err = ErrNoSpace
	}
	return err
}

// more promises n to a transaction that has begun, as far as that goes without waiting for other nodes.
func (a *allocator) more(ctx context.Context, t *txn, n need) error {
	done, err := a.gatherNow(ctx, t, &n, map[uint32]bool{})
	if err == nil && !done {
		err = ErrNoSpace
	}
	return err
}

// gatherNow promises what can be had without waiting for another node.
func (a *allocator) gatherNow(ctx context.Context, t *txn, n *need, full map[uint32]bool) (done bool, err error) {
	for _, u := range slices.Clone(t.uses) {
		if err := a.fill(ctx, u, n); err != nil || n.met() {
			return true, err
		}
	}
	a.mu.Lock()
	cur := a.cur
	held := slices.Sorted(maps.Keys(a.groups))
	a.mu.Unlock()
	if done, err := a.gather(ctx, t, n, []uint32{cur}, howHeld, full); done || err != nil {
		return done, err
	}
	if done, err := a.gather(ctx, t, n, held, howHeld, full); done || err != nil {
		return done, err
	}
	return a.gather(ctx, t, n, a.others(cur), howTry, full)
}

// met reports whether nothing is left to be promised.
func (n *need) met() bool { return n.meta <= 0 && n.clusters <= 0 }

// gather promises what is left of n in the given groups. full collects those that had nothing.
func (a *allocator) gather(ctx context.Context, t *txn, n *need, idxs []uint32, h how, full map[uint32]bool) (done bool, err error) {
	for _, idx := range idxs {
		if full[idx] || t.use(idx) != nil {
			continue
		}
		u, err := t.join(ctx, idx, h)
		if errors.Is(err, errGroupBusy) || errors.Is(err, errGroupBad) {
			continue
		}
		if err != nil {
			return false, err
		}
		if err := a.fill(ctx, u, n); err != nil {
			return false, err
		}
		if u.clusters == 0 && u.meta == 0 {
			a.mu.Lock()
			full[idx] = u.g.spare() == 0 && u.g.spareMeta() == 0
			a.mu.Unlock()
			t.leave(u)
		}
		if n.met() {
			a.mu.Lock()
			a.cur = idx
			a.mu.Unlock()
			return true, nil
		}
	}
	return n.met(), nil
}

// fill promises to u what its group has of n.
func (a *allocator) fill(ctx context.Context, u *groupUse, n *need) error {
	k := int(a.s.sb.ClusterBlocks())
	for {
		a.mu.Lock()
		budget := a.budgetLocked(n)
		m := max(min(n.meta, u.g.spareMeta(), budget), 0)
		u.meta, u.g.promisedMeta, n.meta, budget = u.meta+m, u.g.promisedMeta+m, n.meta-m, budget-m
		blocks := min(n.meta, budget, u.g.spare()*k) // to be had from a new chunk
		if blocks <= 0 && n.clusters > 0 {
			c := max(min(n.clusters, u.g.spare(), budget/k), 0)
			u.clusters, u.g.promised, n.clusters = u.clusters+c, u.g.promised+c, n.clusters-c
		}
		a.mu.Unlock()
		if blocks <= 0 {
			return nil
		}
		if made, err := a.makeChunk(ctx, u.g, blocks); err != nil || !made {
			return err
		}
	}
}

// budgetLocked is how many blocks may be promised to n before less than keepBack is left in the groups of this node.
func (a *allocator) budgetLocked(n *need) int {
	k := int(a.s.sb.ClusterBlocks())
	most := n.meta + n.clusters*k
	if n.essential {
		return most
	}
	have := 0
	for _, g := range a.groups {
		have += g.spareMeta() + g.spare()*k
		if have >= most+keepBack {
			return most
		}
	}
	return have - keepBack
}

// others are the formatted groups that the node does not hold, from start on and round.
func (a *allocator) others(start uint32) []uint32 {
	a.mu.Lock()
	defer a.mu.Unlock()
	var idxs []uint32
	for i := range a.ready {
		idx := uint32((uint64(start) + uint64(i)) % uint64(a.ready))
		if a.groups[idx] == nil && !a.bad[idx] {
			idxs = append(idxs, idx)
		}
	}
	return idxs
}

// all are the formatted groups, ascending.
func (a *allocator) all() []uint32 {
	a.mu.Lock()
	defer a.mu.Unlock()
	idxs := make([]uint32, a.ready)
	for i := range idxs {
		idxs[i] = uint32(i)
	}
	return idxs
}
