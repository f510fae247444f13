package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/covol/covol/cluster/paxos"
	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
)

// onceByVote writes the slot block once, where nobody compares. The write counts only if a look at the view that began
// after it landed shows that we hold the slot: whoever has us doomed looks at the slot block after that, and sees either
// this renewal, or that there can be none any more.
func (r *renewer) onceByVote(ctx context.Context, start time.Duration, final int) error {
	d, p := r.n.disk, r.n.cfg.Super.Profile
	late := r.lateNow()
	if late || final != 0 { // the slot may be another life's by now
		if done, err := r.beforeWrite(ctx, final); done || err != nil {
			return err
		}
		start = d.sched.Now()
	}
	next := r.next(final)
	var err error
	if next.Writer, err = d.writer(); err != nil {
		return err
	}
	raw := ondisk.EncodeSlot(r.n.cfg.Super, next)
	switch err := d.write(ctx, r.n.cfg.Super.SlotBlock(uint16(r.id.Slot)), raw); {
	case errors.Is(err, blockdev.ErrFenced):
		r.n.withdraw(Reason{CauseFenced, err.Error()})
		return err
	case err != nil:
		return fmt.Errorf("write slot %d: %w", r.id.Slot, err)
	}
	r.cur, r.slot = raw, next
	if final != 0 {
		return nil
	}
	if took := d.sched.Now() - start; took > p.IOBound {
		return fmt.Errorf("write slot %d took %v, the bound is %v", r.id.Slot, took, p.IOBound)
	}
	if err := r.stillHeld(ctx, late || r.lateNow()); err != nil {
		return err
	}
	if err := r.feed(); err != nil {
		return err
	}
	open := r.n.gate.covers(r.n.gate.margin)
	r.n.gate.extend(start + p.Lease)
	if !open {
		r.n.wake.now() // the agent may act again
	}
	return nil
}

// lateNow reports whether the lease has run out.
func (r *renewer) lateNow() bool {
	deadline, ok := r.n.gate.Deadline()
	return ok && r.n.cfg.Sched.Now() > deadline
}

// beforeWrite looks whether the slot is still ours, before a write that nobody counts on any more. done is true if the end
// took effect though it was reported as an error.
func (r *renewer) beforeWrite(ctx context.Context, final int) (done bool, err error) {
	if final != 0 { // what frees the slot is the last that lands
		if err := r.n.disk.settle(ctx); err != nil {
			return false, err
		}
		im, err := r.n.disk.readSlot(ctx, uint16(r.id.Slot))
		if err != nil {
			return false, err
		}
		if s := im.slot; s != nil && (s.Incarnation > uint32(r.id.Incarnation) || s.State == ondisk.SlotFree || isDead(s)) {
			return true, nil
		}
	}
	s, err := r.n.disk.votes.reader.Read(ctx)
	if err != nil {
		return false, err
	}
	return false, r.holds(s)
}

// stillHeld looks at the view. After the lease has run out the storage is asked as well, and whether the view lists us.
func (r *renewer) stillHeld(ctx context.Context, late bool) error {
	if late {
		if err := r.n.checkFenced(ctx); err != nil {
			return err
		}
	}
	entered := r.n.hasEntered() // before the look, which may be older than the entering otherwise
	s, err := r.n.disk.votes.reader.Read(ctx)
	if err != nil {
		return err
	}
	if err := r.holds(s); err != nil {
		return err
	}
	if late && entered && s.View.Members[r.id.Slot] != uint32(r.id.Incarnation) {
		r.n.withdraw(Reason{CauseRemoved, fmt.Sprintf("epoch %d lists this node no more", s.View.Epoch)})
		return errors.New("not in the view")
	}
	return nil
}

// holds returns nil if we hold our slot by the newest view, and ends our life if we do not by any view.
func (r *renewer) holds(s *paxos.State) error {
	if s.View == nil {
		return fmt.Errorf("view: %w", s.Err)
	}
	h, inc := s.View.Holders[r.id.Slot], uint32(r.id.Incarnation)
	switch {
	case h.Incarnation > inc || h.Incarnation == inc && h.State != ondisk.HolderHeld:
		err := fmt.Errorf("epoch %d has this node dead, or cut off from the others", s.View.Epoch)
		r.n.withdraw(Reason{CauseSlotTaken, err.Error()})
		return err
	case !s.Clear() || h.Incarnation < inc:
		return errors.New("a vote is under way: the newest view is not known")
	}
	return nil
}
