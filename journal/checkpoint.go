package journal

import (
	"context"
	"fmt"
	"time"

	"github.com/covol/covol/ondisk"
)

// maxRound bounds how many blocks one round writes home, so that FlushOwner never waits long for one, and that
// room in the ring comes in portions.
const maxRound = 1024

// Checkpoint writes home everything that is durable and empties the log up to what is being committed.
func (j *Journal) Checkpoint(ctx context.Context) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	for {
		if j.stop != nil {
			return j.stop
		}
		if len(j.groups) == 0 && !j.checkpointing {
			return nil
		}
		j.checkpointLocked(0)
		if err := j.waitLocked(ctx); err != nil {
			return err
		}
	}
}

// checkpointLocked asks for a checkpoint that leaves at most goal blocks of committed groups in the ring.
func (j *Journal) checkpointLocked(goal int) {
	j.goal = min(j.goal, goal)
	if !j.checkpointing {
		j.checkpointing = true
		j.goLocked("journal checkpoint", j.checkpointLoop)
	}
}

func (j *Journal) checkpointLoop() {
	for {
		r, others := j.claimOldest()
		if r == nil {
			return
		}
		if err := j.writeHome(r); err != nil {
			continue // the journal has stopped, claimOldest ends the loop
		}
		for _, o := range others {
			_ = o.done.Wait(context.Background())
		}
		if err := j.moveTail(); err != nil {
			j.fail(fmt.Errorf("checkpoint: %w", err))
		}
	}
}

// claimOldest makes a round of what keeps the oldest groups in the ring. It returns nil, and the loop must end, when
// the goal is reached.
func (j *Journal) claimOldest() (r *round, others []*round) {
	j.mu.Lock()
	defer j.mu.Unlock()
	left := int(j.used)
	if j.stop != nil || left <= j.goal || len(j.groups) == 0 {
		j.checkpointing, j.goal = false, int(j.ring)
		j.broadcastLocked()
		return nil, nil
	}
	r = j.newRound()
	for _, g := range j.groups {
		if left <= j.goal || len(r.blocks) >= maxRound {
			break
		}
		for _, e := range g.entries {
			if e.dur == nil || e.dur.g != g {
				continue
			}
			if o := r.claimLocked(e); o != nil && o != r {
				others = append(others, o)
			}
		}
		left -= int(g.blocks)
	}
	return r, others
}

// moveTail gives the space of groups whose blocks are all home back, once a head on disk says so: until then replay
// begins at the old tail and must find there what it expects.
func (j *Journal) moveTail() error {
	j.mu.Lock()
	n, freed := 0, uint32(0)
	for n < len(j.groups) && j.groups[n].pending == 0 {
		freed += j.groups[n].blocks
		n++
	}
	if n == 0 {
		j.mu.Unlock()
		return nil
	}
	h := ondisk.JournalHead{TailSeq: j.nextSeq, Tail: j.head}
	if n < len(j.groups) {
		h.TailSeq, h.Tail = j.groups[n].seq, j.groups[n].pos
	} else if f := j.flight; f != nil && f.blocks > 0 {
		h.TailSeq, h.Tail = f.seq, f.pos
	}
	j.mu.Unlock()
	if err := j.alive(); err != nil {
		return err
	}
	if err := j.writeHead(j.ctx, h); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.groups = append([]*group(nil), j.groups[n:]...)
	j.used -= freed
	j.stats.Checkpoints++
	j.broadcastLocked()
	return nil
}

// writeHead writes the head block whose turn it is, and returns once it is stable. Only the checkpoint, Open and
// Close call it, never at the same time. Slot, incarnation, number and LSN are filled in.
func (j *Journal) writeHead(ctx context.Context, h ondisk.JournalHead) error {
	j.mu.Lock()
	j.headSeq++
	h.Slot, h.Incarnation, h.Seq, h.LSN = uint16(j.cfg.Slot), uint32(j.cfg.Incarnation), j.headSeq, j.lsn
	j.headTurn = 1 - j.headTurn
	which := j.headTurn
	j.mu.Unlock()
	return putHead(ctx, j.cfg.Dev, j.cfg.Super, &h, which)
}

// armIdleLocked starts the timer that empties the log after a time without commits, so that a node that dies at rest
// leaves nothing to replay.
func (j *Journal) armIdleLocked() {
	j.lastCommit = j.cfg.Sched.Now()
	if j.idleStop == nil {
		j.idleAfterLocked(j.cfg.CheckpointIdle)
	}
}

func (j *Journal) idleAfterLocked(d time.Duration) {
	j.idleStop = j.cfg.Sched.AfterFunc(d, func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.idleStop = nil
		if j.stop != nil || len(j.groups) == 0 {
			return
		}
		if rest := j.cfg.CheckpointIdle - (j.cfg.Sched.Now() - j.lastCommit); rest > 0 {
			j.idleAfterLocked(rest)
			return
		}
		j.checkpointLocked(0)
	})
}
