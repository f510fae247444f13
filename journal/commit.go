package journal

import (
	"context"
	"fmt"
)

// Sync returns once all transactions up to seq are durable. All who wait for the same group share its flush; who
// comes while a group is being written shares the next one. ctx ends the wait, not the commit.
func (j *Journal) Sync(ctx context.Context, seq Seq) error {
	j.mu.Lock()
	seq = min(seq, j.published)
	for waited := false; ; waited = true {
		if j.stop != nil {
			defer j.mu.Unlock()
			return j.stop
		}
		if seq <= j.durable {
			j.mu.Unlock()
			return nil
		}
		g := j.flight
		if g == nil || g.last < seq {
			g = j.run
			j.commitLocked(g)
		}
		if !waited {
			j.stats.SyncWaiters++
		}
		j.mu.Unlock()
		if err := g.done.Wait(ctx); err != nil {
			return err
		}
		j.mu.Lock()
		if err := g.err; err != nil {
			j.mu.Unlock()
			return err
		}
	}
}

// SyncAll returns once everything published before the call is durable.
func (j *Journal) SyncAll(ctx context.Context) error {
	j.mu.Lock()
	seq := j.published
	j.mu.Unlock()
	return j.Sync(ctx, seq)
}

// commitDue is the timer of a group.
func (j *Journal) commitDue(g *group) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.run == g && j.stop == nil {
		j.commitLocked(g)
	}
}

// commitLocked asks for the commit of the running group g.
func (j *Journal) commitLocked(g *group) {
	g.wanted = true
	if !j.committing {
		j.committing = true
		j.goLocked("journal commit", j.commitLoop)
	}
}

// commitLoop commits groups as long as someone wants one.
func (j *Journal) commitLoop() {
	for {
		g := j.seal()
		if g == nil {
			return
		}
		err := j.writeGroup(g)
		if err == nil {
			err = j.flush()
		}
		if err != nil {
			j.fail(fmt.Errorf("commit group %d: %w", g.seq, err))
			continue // seal ends the loop
		}
		j.committed(g)
	}
}

// seal ends the running group and gives it a place in the ring, once there is room. It returns nil, and the loop
// must end, when no commit is wanted or the journal has stopped.
func (j *Journal) seal() *group {
	j.mu.Lock()
	defer j.mu.Unlock()
	for {
		g := j.run
		if j.stop != nil || g == nil || !g.wanted {
			j.committing = false
			return nil
		}
		need := uint32(g.logBlocks())
		if j.used+need <= j.ring {
			j.sealLocked(g, need)
			return g
		}
		// Every durable block may go home whatever newer versions there are, so room can always be made.
		j.checkpointLocked(int(j.ring - need))
		_ = j.waitLocked(context.Background())
	}
}

func (j *Journal) sealLocked(g *group, need uint32) {
	g.stop()
	j.run, j.flight = nil, g
	if need > 0 {
		g.seq, g.pos, g.blocks = j.nextSeq, j.head, need
		j.nextSeq++
		j.head = (j.head + need) % j.ring
		j.used += need
	}
	for _, e := range g.entries {
		e.flight, e.run = e.run, nil
	}
	j.broadcastLocked()
}

// writeGroup writes a sealed group to the ring, after the file data that it speaks of is stable (J5).
func (j *Journal) writeGroup(g *group) error {
	if g.ordered && g.blocks > 0 {
		if err := j.flush(); err != nil {
			return err
		}
	}
	if g.blocks == 0 {
		return nil
	}
	blocks := j.encode(g, uint64(j.cfg.Epoch()))
	var runs []run
	for i, b := range blocks {
		runs = appendBlock(runs, j.ringBlock(g.pos+uint32(i)), b)
	}
	if err := j.writeRuns(runs); err != nil {
		return err
	}
	j.mu.Lock()
	j.stats.BlocksLogged += uint64(g.contents)
	j.stats.LogWrites += uint64(len(blocks))
	j.mu.Unlock()
	return nil
}

// committed makes the versions of a durable group those that go home, and tells who waits.
func (j *Journal) committed(g *group) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.stop != nil {
		return
	}
	var late []*round
	for _, e := range g.entries {
		if e.dur != nil {
			e.dur.g.pending--
		}
		e.dur, e.flight = e.flight, nil
		if e.dur.b != nil {
			g.pending++
			continue
		}
		e.dur = nil
		if e.homing != nil {
			late = append(late, e.homing)
		}
	}
	for _, e := range g.entries {
		j.settleLocked(e)
	}
	// An old content of a freed block may be on its way home. Nobody may learn that the block is free before that
	// write has ended: it could land on what the next user puts there (J6).
	for _, r := range late {
		j.mu.Unlock()
		_ = r.done.Wait(context.Background())
		j.mu.Lock()
	}
	if j.stop != nil {
		return
	}
	if g.blocks > 0 {
		j.groups = append(j.groups, g)
	}
	j.flight = nil
	j.durable = g.last
	j.stats.Commits++
	j.callbacksLocked(g.durable)
	g.durable = nil
	g.done.Set()
	j.broadcastLocked()
	j.armIdleLocked()
	if j.used > j.ring/2 {
		j.checkpointLocked(int(j.ring / 4))
	}
}

// callbacksLocked hands callbacks to the procedure that runs them.
func (j *Journal) callbacksLocked(fns []func()) {
	j.callbacks = append(j.callbacks, fns...)
	if len(j.callbacks) == 0 || j.calling {
		return
	}
	j.calling = true
	j.goLocked("journal durable", func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		for len(j.callbacks) > 0 && j.stop == nil {
			fn := j.callbacks[0]
			j.callbacks = j.callbacks[1:]
			j.mu.Unlock()
			fn()
			j.mu.Lock()
		}
		j.calling, j.callbacks = false, nil
		j.broadcastLocked()
	})
}
