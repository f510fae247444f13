package fs

import (
	"log/slog"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/journal"
	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/sched"
)

// store is what every part of a mounted volume works on.
type store struct {
	dev   blockdev.Device // behind the gate: the only road to the medium
	sb    *ondisk.Super
	slot  view.Slot
	j     *journal.Journal
	locks *lockTable
	sched sched.Scheduler
	log   *slog.Logger
	alloc *allocator
	space *counters
}

// Owners of metadata blocks, as the journal keeps them apart for FlushOwner: an inode owns its record and tree under
// its own number.
const ownerSlot uint64 = 1 << 61 // space block, orphan index, deferred frees: never given away while mounted

// groupOwner is the owner of header and bitmaps of a group.
func groupOwner(g uint32) uint64 { return 1<<62 | uint64(g) }

const ownerGrow uint64 = 1 << 60 // grow block
