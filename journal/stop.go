package journal

import (
	"context"
	"fmt"

	"github.com/covol/covol/ondisk"
)

// Close makes everything durable, writes it home and marks the journal clean. The caller must have ended all
// transactions. After an error the journal is stopped and stays dirty.
func (j *Journal) Close(ctx context.Context) error {
	err := j.drain(ctx)
	if err == nil {
		// Both heads: if the one that counts rots, the other must not send replay to records of blocks that
		// others have changed since.
		h := ondisk.JournalHead{TailSeq: j.nextSeq, Tail: j.head, Clean: true}
		for range ondisk.JournalHeads {
			if err = j.writeHead(ctx, h); err != nil {
				break
			}
		}
	}
	if err != nil {
		j.Kill()
		return fmt.Errorf("close journal: %w", err)
	}
	j.cancel()
	return j.Wait(ctx)
}

// drain brings everything home and then stops the journal for all others.
func (j *Journal) drain(ctx context.Context) error {
	for {
		if err := j.SyncAll(ctx); err != nil {
			return err
		}
		if err := j.Checkpoint(ctx); err != nil {
			return err
		}
		j.mu.Lock()
		switch {
		case j.stop != nil:
			defer j.mu.Unlock()
			return j.stop
		case j.run != nil || j.flight != nil || len(j.groups) > 0 || j.checkpointing:
			j.mu.Unlock()
		case j.calling:
			err := j.waitLocked(ctx)
			j.mu.Unlock()
			if err != nil {
				return err
			}
		default:
			j.haltLocked(errClosed)
			j.mu.Unlock()
			return nil
		}
	}
}

// Kill stops the journal without writing anything more: everybody who waits and every later call gets ErrStopped.
// Writes that the device was given before may still land; Wait returns after them.
func (j *Journal) Kill() {
	j.mu.Lock()
	j.haltLocked(errKilled)
	j.mu.Unlock()
	j.cancel()
}

// Wait returns once no procedure of a journal that was closed or killed is running any more, and so no I/O either.
// OnError and OnDurable must not call it.
func (j *Journal) Wait(ctx context.Context) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	for j.procs > 0 {
		if err := j.waitLocked(ctx); err != nil {
			return err
		}
	}
	return nil
}

// fail stops the journal for good after an error that leaves open what is on disk.
func (j *Journal) fail(err error) {
	j.mu.Lock()
	if j.stop != nil {
		j.mu.Unlock()
		return
	}
	j.haltLocked(fmt.Errorf("%w: %w", ErrStopped, err))
	j.mu.Unlock()
	j.cancel()
	j.cfg.Log.Error("journal: stopped", "slot", j.cfg.Slot, "err", err)
	if j.cfg.OnError != nil {
		j.cfg.Sched.Go("journal error", func() { j.cfg.OnError(err) })
	}
}

// haltLocked lets everybody go who waits, and ends the timers. The first reason stays.
func (j *Journal) haltLocked(reason error) {
	if j.stop != nil {
		return
	}
	j.stop = reason
	for _, g := range [...]*group{j.run, j.flight} {
		if g != nil {
			g.stop()
			g.err = reason
			g.done.Set()
		}
	}
	if j.idleStop != nil {
		j.idleStop()
		j.idleStop = nil
	}
	j.broadcastLocked()
}

// alive is the reason why the journal has stopped, nil while it works.
func (j *Journal) alive() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.stop
}

// goLocked starts a procedure that Wait waits for.
func (j *Journal) goLocked(name string, fn func()) {
	j.procs++
	j.cfg.Sched.Go(name, func() {
		fn()
		j.mu.Lock()
		j.procs--
		j.broadcastLocked()
		j.mu.Unlock()
	})
}

// waitLocked gives the mutex up until something changes that someone may wait for: a group is sealed or durable, the
// tail moves, a procedure ends, the journal stops. The caller looks again at what it waits for.
func (j *Journal) waitLocked(ctx context.Context) error {
	e := j.changed
	j.mu.Unlock()
	err := e.Wait(ctx)
	j.mu.Lock()
	return err
}

func (j *Journal) broadcastLocked() {
	e := j.changed
	j.changed = j.cfg.Sched.NewEvent()
	e.Set()
}

// ObserveLSN raises the clock to an LSN that was seen elsewhere than in Read, as in the value of a lock.
func (j *Journal) ObserveLSN(lsn uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lsn = max(j.lsn, lsn)
}

// LSN is the highest LSN seen so far; the next transaction gets a higher one.
func (j *Journal) LSN() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.lsn
}
