package fs

import (
	"context"
	"slices"
)

// freedSpace is what one transaction has freed in one group. It is usable again in these steps (F2):
//
//	published ──OnDurable──► durable ──settleLoop──► tombstones home, clusters discarded ──► clear in memory
//
// A node that still knows the number of a deleted inode may look at its block at any time. It must find the tombstone
// or whatever the block became since, never the old record: so tombstones are home before their blocks are used again.
type freedSpace struct {
	g              *group
	clusters, meta []bitRun
}

// expectFrees registers what a transaction frees, before it is published. undo takes that back if publishing fails.
func (a *allocator) expectFrees(t *txn) (undo func()) {
	var items []freedSpace
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, u := range t.uses {
		if c := &u.change; len(c.clearClusters)+len(c.clearMeta) > 0 {
			items = append(items, freedSpace{u.g, c.clearClusters, c.clearMeta})
			u.g.issued++
		}
	}
	if len(items) == 0 {
		return func() {}
	}
	t.j.OnDurable(func() { a.durable(items) })
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		for _, it := range items {
			it.g.settled++
		}
		a.broadcastLocked()
	}
}

// durable sends what was freed on its way to be used again.
func (a *allocator) durable(items []freedSpace) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.freed = append(a.freed, items...)
	if !a.settling && a.dead == nil {
		a.settling = true
		a.s.sched.Go("settle freed space", a.settleLoop)
	}
}

// settleLoop brings tombstones home, discards freed clusters, adjacent runs together, and makes all of it usable. It
// ends when there is nothing more.
func (a *allocator) settleLoop() {
	ctx := context.Background()
	for {
		a.mu.Lock()
		items := a.freed
		a.freed = nil
		if len(items) == 0 || a.dead != nil {
			a.settling = false
			a.mu.Unlock()
			return
		}
		a.mu.Unlock()
		if err := a.s.j.FlushBlocks(ctx, a.freedBlocks(items)...); err != nil {
			continue // the journal has stopped and the volume withdraws: kill ends the loop
		}
		for _, r := range a.merged(items) {
			size := int64(a.s.sb.ClusterSize)
			if err := a.s.dev.Discard(ctx, int64(r.Start)*size, int64(r.Len)*size); err != nil {
				// The space is free all the same; the device only does not know.
				a.s.log.Warn("discard", "cluster", r.Start, "clusters", r.Len, "err", err)
			}
		}
		a.mu.Lock()
		for _, it := range items {
			for _, r := range it.clusters {
				it.g.clusters.fill(r.at, r.n, false)
				it.g.free += r.n
			}
			for _, r := range it.meta {
				it.g.meta.fill(r.at, r.n, false)
				it.g.freeMeta += r.n
			}
			it.g.settled++
		}
		a.broadcastLocked()
		a.mu.Unlock()
	}
}

// freedBlocks are the freed metadata blocks.
func (a *allocator) freedBlocks(items []freedSpace) (blks []uint64) {
	for _, it := range items {
		for _, r := range it.meta {
			for i := range r.n {
				blks = append(blks, a.s.sb.GroupFirst(it.g.idx)+uint64(r.at+i))
			}
		}
	}
	return blks
}

// merged are the freed clusters as few runs, ascending.
func (a *allocator) merged(items []freedSpace) []run {
	var all []run
	for _, it := range items {
		first := a.firstCluster(it.g)
		for _, r := range it.clusters {
			all = append(all, run{first + uint64(r.at), uint32(r.n)})
		}
	}
	slices.SortFunc(all, func(x, y run) int {
		if x.Start < y.Start {
			return -1
		}
		return 1
	})
	var out []run
	for _, r := range all {
		out = appendRun(out, r.Start, int(r.Len))
	}
	return out
}

// broadcastLocked tells those who wait for freed space to look again.
func (a *allocator) broadcastLocked() {
	ev := a.changed
	a.changed = a.s.sched.NewEvent()
	ev.Set()
}

// waitUntil waits until ok, which is called with a.mu held.
func (a *allocator) waitUntil(ctx context.Context, ok func() bool) error {
	for {
		a.mu.Lock()
		done, err, ev := ok(), a.dead, a.changed
		a.mu.Unlock()
		if done {
			return nil
		}
		if err != nil {
			return err
		}
		if err := ev.Wait(ctx); err != nil {
			return err
		}
	}
}

// waitSettled waits until nothing that was freed in a group is on its way. It must be durable already.
func (a *allocator) waitSettled(ctx context.Context, idx uint32) error {
	return a.waitUntil(ctx, func() bool { return a.groups[idx] == nil || a.groups[idx].pending() == 0 })
}

// settle makes all that was freed so far usable.
func (a *allocator) settle(ctx context.Context) error {
	if err := a.s.j.SyncAll(ctx); err != nil {
		return err
	}
	a.mu.Lock()
	target := map[*group]uint64{}
	for _, g := range a.groups {
		target[g] = g.issued
	}
	a.mu.Unlock()
	return a.waitUntil(ctx, func() bool {
		for g, n := range target {
			if g.settled < n && a.groups[g.idx] == g {
				return false
			}
		}
		return true
	})
}

// reclaim makes space usable that this node has freed: not durable yet, or waiting in its free log. It reports whether
// there was any. The caller holds no lock of a group.
func (a *allocator) reclaim(ctx context.Context) (some bool, err error) {
	a.mu.Lock()
	logged := a.logUsed
	for _, g := range a.groups {
		some = some || g.pending() > 0
	}
	a.mu.Unlock()
	if logged {
		if err := a.drain(ctx, uint16(a.s.slot)); err != nil {
			return false, err
		}
	}
	if some || logged {
		return true, a.settle(ctx)
	}
	return false, nil
}
