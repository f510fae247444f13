package fs

import (
	"context"
	"sync"

	"github.com/covol/covol/dlm"
	"github.com/covol/covol/ondisk"
)

// known counts, per inode, what this node still needs it for: references of the kernel and open files. A deleted inode
// is given back when no file of it is open. References of the kernel do not keep it: the kernel counts them per number,
// and may keep those of an earlier life of the number for as long as it likes; what it still asks about is then stale.
//
// Other nodes must not free an inode that is open here. While this node holds the inode's glock nobody else can, so
// the cluster is told only when that glock is given away: then the node takes the inode's open lock in mode PR and
// keeps it until the last close. Whoever frees an inode has its glock and, without having waited for it, its open lock
// in EX.
type known struct {
	mu sync.Mutex
	// GUARDED_BY(mu)
	m map[Ino]*reference
}

type reference struct {
	generation uint64
	lookups    uint64 // of the kernel
	opens      int    // open files and directories of this node
	openHold   hold   // of the open lock, taken when the inode's glock was given away
	orphan     bool   // deleted by this node: reclaim at the last close
}

func (k *known) get(ino Ino, generation uint64) *reference {
	r := k.m[ino]
	if r == nil || r.generation != generation {
		fresh := &reference{generation: generation}
		if r != nil {
			fresh.lookups = r.lookups // of an earlier life; the kernel counts per number
		}
		k.m[ino] = fresh
		return fresh
	}
	return r
}

// looked counts one reference that the kernel is given.
func (k *known) looked(ino Ino, generation uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.get(ino, generation).lookups++
}

// opened counts one open file.
func (k *known) opened(ino Ino, generation uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.get(ino, generation).opens++
}

// valid reports whether generation is the one under which this node learned of ino, or ino is not known.
func (k *known) valid(ino Ino, generation uint64) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	r := k.m[ino]
	return r == nil || r.generation == generation
}

// has reports whether this node has references to ino. The kernel knows the root without having looked it up.
func (k *known) has(ino Ino) bool {
	if ino == ondisk.RootBlock {
		return true
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.m[ino] != nil
}

// orphaned notes that this node has deleted the last name of ino. It reports whether it is not open.
func (k *known) orphaned(ino Ino, generation uint64) (reclaim bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	r := k.m[ino]
	if r == nil || r.generation != generation || r.opens == 0 {
		return true
	}
	r.orphan = true
	return false
}

// drop takes away lookups and opens. reclaim says that an inode which this node has deleted has seen its last close; open
// is the hold of the open lock that the caller must unlock, if any.
func (k *known) drop(ino Ino, generation uint64, lookups uint64, opens int) (reclaim bool, open hold) {
	k.mu.Lock()
	defer k.mu.Unlock()
	r := k.m[ino]
	if r == nil || (generation != 0 && r.generation != generation) {
		return false, hold{}
	}
	r.lookups -= min(lookups, r.lookups)
	r.opens -= opens
	if r.opens > 0 {
		return false, hold{}
	}
	open, r.openHold = r.openHold, hold{}
	reclaim, r.orphan = r.orphan, false
	if r.lookups == 0 {
		delete(k.m, ino)
	}
	return reclaim, open
}

// keepOpen takes the open lock of ino if it is open here and the lock is not held yet. It is called while the node
// still holds the glock of the inode, on the way to NL.
func (v *Volume) keepOpen(ctx context.Context, ino Ino) error {
	v.known.mu.Lock()
	r := v.known.m[ino]
	need := r != nil && r.opens > 0 && r.openHold.g == nil
	v.known.mu.Unlock()
	if !need {
		return nil
	}
	h, err := v.locks.lock(ctx, openRes(ino), useShared)
	if err != nil {
		return err
	}
	v.known.mu.Lock()
	if r.opens > 0 && r.openHold.g == nil {
		r.openHold, h = h, hold{}
	}
	v.known.mu.Unlock()
	if h.g != nil {
		h.unlock() // closed meanwhile
	}
	return nil
}

// openRes is the cluster lock that says "open on this node".
func openRes(ino Ino) dlm.Resource { return dlm.Resource{Kind: dlm.Open, ID: ino} }
