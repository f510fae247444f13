package fs

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/covol/covol/journal"
	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/sched"
)

// countSpace adds a late update of the slot's space block to a transaction: clusters given back minus taken, inodes
// made minus deleted.
func (s *store) countSpace(ctx context.Context, j *journal.Txn, clusters, inodes int) error {
	if clusters == 0 && inodes == 0 {
		return nil
	}
	slot := uint16(s.slot)
	if _, err := j.Read(ctx, s.sb.SpaceBlock(slot), ondisk.TypeSpace, ownerSlot); err != nil {
		return err
	}
	j.Update(s.sb.SpaceBlock(slot), ownerSlot, func(b []byte) {
		sp := ondisk.DecodeSpace(slot, b)
		sp.Clusters += int64(clusters)
		sp.Inodes += int64(inodes)
		sp.Put(b)
	})
	return nil
}

// spaceEvery is how often the counters of other slots are read at most.
const spaceEvery = time.Second

// counters adds up what all slots have taken and given back. Other nodes' changes show once they are home and the last
// look is a second ago.
type counters struct {
	s    *store
	lock *sched.Lock
	due  atomic.Bool // the own counters are about to be brought home
	// All below GUARDED_BY(lock).
	slots []ondisk.Space
	read  time.Duration
	known bool
}

func newCounters(s *store) *counters {
	return &counters{s: s, lock: sched.NewLock(s.sched), slots: make([]ondisk.Space, s.sb.Slots)}
}

// changed sees to it that the own counters are home soon, where other nodes read them.
func (c *counters) changed() {
	if c.due.Swap(true) {
		return
	}
	c.s.sched.AfterFunc(homeAfter, func() {
		c.due.Store(false)
		if err := c.s.j.FlushBlocks(context.Background(), c.s.sb.SpaceBlock(uint16(c.s.slot))); err != nil {
			c.s.log.Debug("counters stay in the journal", "err", err) // it has stopped
		}
	})
}

// homeAfter is how long changed counters may stay in the journal.
const homeAfter = 2 * time.Second

// sum is the number of free clusters and of inodes of the volume, as far as this node knows.
func (c *counters) sum(ctx context.Context) (free, inodes uint64, err error) {
	if err := c.lock.Lock(ctx); err != nil {
		return 0, 0, err
	}
	defer c.lock.Unlock()
	sb := c.s.sb
	if now := c.s.sched.Now(); !c.known || now-c.read >= spaceEvery {
		if err := c.readOthers(ctx); err != nil {
			return 0, 0, err
		}
		c.read, c.known = now, true
	}
	own := uint16(c.s.slot)
	b, err := c.s.j.Read(ctx, sb.SpaceBlock(own), ondisk.TypeSpace, ownerSlot)
	if err != nil {
		return 0, 0, err
	}
	c.slots[own] = *ondisk.DecodeSpace(own, b)
	f, n := int64(sb.FreeClusters), int64(0)
	for _, sp := range c.slots {
		f += sp.Clusters
		n += sp.Inodes
	}
	most := int64(sb.Blocks / uint64(sb.ClusterBlocks()))
	return uint64(min(max(f, 0), most)), uint64(max(n, 0)), nil
}

// readOthers reads the space blocks of all slots from the device. One that is torn or corrupt keeps its last value:
// statfs need not be exact.
func (c *counters) readOthers(ctx context.Context) error {
	sb := c.s.sb
	b := blockdev.Alloc(int(sb.Slots) * ondisk.BlockSize)
	if err := c.s.dev.ReadAt(ctx, b, int64(sb.SpaceBlock(0))*ondisk.BlockSize); err != nil {
		return err
	}
	for i := range c.slots {
		slot := uint16(i)
		one := b[i*ondisk.BlockSize : (i+1)*ondisk.BlockSize]
		if ondisk.CheckHeader(one, ondisk.TypeSpace, sb.SpaceBlock(slot), sb.UUID) == nil {
			c.slots[i] = *ondisk.DecodeSpace(slot, one)
		}
	}
	return nil
}
