package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
)

// renewer is the only writer of our own slot block, on a procedure of its own. Each renewal is a swap of exactly what
// we wrote last, so that it cannot succeed once somebody has marked us dead.
type renewer struct {
	n  *Node
	id view.NodeID

	// Owned by run.
	cur     []byte // what we last knew to be on the disk
	slot    *ondisk.Slot
	pending []uint64 // writers of our writes whose outcome is not known
	armed   bool     // the watchdog

	mu sync.Mutex
	// GUARDED_BY(mu)
	state ondisk.SlotState
	// GUARDED_BY(mu)
	epoch uint64
	// GUARDED_BY(mu): 0 renew, 1 free the slot and end, 2 leave it marked dead and end
	final int
	// GUARDED_BY(mu)
	stopped bool
	wake    wakeup
	// GUARDED_BY(mu): start of the last renewal that counted
	last time.Duration
	// GUARDED_BY(mu): why the latest one did not, nil if it did
	err error
}

func newRenewer(n *Node, id view.NodeID, cur []byte, slot *ondisk.Slot) *renewer {
	r := &renewer{n: n, id: id, cur: cur, slot: slot, state: slot.State, epoch: slot.Epoch}
	r.wake.init(n.cfg.Sched)
	return r
}

// publish renews now, with another state.
func (r *renewer) publish(state ondisk.SlotState) {
	r.mu.Lock()
	r.state = state
	r.mu.Unlock()
	r.wake.now()
}

// installed renews now, with the epoch of the view that this node has installed.
func (r *renewer) installed(epoch view.Epoch) {
	r.mu.Lock()
	r.epoch = max(r.epoch, uint64(epoch))
	r.mu.Unlock()
	r.wake.now()
}

// finish ends the life: the slot is freed, or left marked dead, and then the core is told.
func (r *renewer) finish(dead bool) {
	r.mu.Lock()
	if r.final = 1; dead {
		r.final = 2
	}
	r.mu.Unlock()
	r.wake.now()
}

func (r *renewer) stop() {
	r.mu.Lock()
	r.stopped = true
	r.mu.Unlock()
	r.wake.now()
}

func (r *renewer) health() (last time.Duration, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last, r.err
}

func (r *renewer) run(ctx context.Context) {
	h := r.n.cfg.Super.Profile.Heartbeat
	for {
		r.mu.Lock()
		stopped, final := r.stopped, r.final
		r.mu.Unlock()
		if stopped || ctx.Err() != nil {
			return
		}
		start := r.n.cfg.Sched.Now()
		err := r.once(ctx, start, final)
		r.mu.Lock()
		if r.err = err; err == nil {
			r.last = start
		}
		r.mu.Unlock()
		if err == nil && final != 0 {
			r.n.post(released{})
			return
		}
		pause := h - (r.n.cfg.Sched.Now() - start)
		if err != nil {
			r.n.cfg.Log.Warn("heartbeat not renewed", "slot", r.id.Slot, "err", err)
			pause = h / 2
		}
		r.wake.wait(ctx, max(pause, 0))
	}
}

// once writes the slot block once. It returns nil only if the write counts: it took effect, within the bound of one
// I/O.
func (r *renewer) once(ctx context.Context, start time.Duration, final int) error {
	d, p := r.n.disk, r.n.cfg.Super.Profile
	if d.votes != nil {
		return r.onceByVote(ctx, start, final)
	}
	if len(r.pending) > 0 {
		if mine, err := r.reread(ctx); !mine || err != nil {
			return err
		}
	}
	next := r.next(final)
	if r.slot.State == ondisk.SlotFree || isDead(r.slot) {
		return nil // the end took effect though it was reported as an error
	}
	var err error
	if next.Writer, err = d.writer(); err != nil {
		return err
	}
	raw := ondisk.EncodeSlot(r.n.cfg.Super, next)
	r.pending = append(r.pending, next.Writer)
	swapped, err := d.swap(ctx, r.n.cfg.Super.SlotBlock(uint16(r.id.Slot)), r.cur, raw)
	switch {
	case errors.Is(err, blockdev.ErrFenced):
		r.n.withdraw(Reason{CauseFenced, err.Error()})
		return err
	case err != nil:
		return fmt.Errorf("write slot %d: %w", r.id.Slot, err)
	case !swapped:
		if mine, err := r.reread(ctx); !mine || err != nil {
			return err
		}
		return fmt.Errorf("slot %d: an earlier write of ours landed late", r.id.Slot)
	}
	r.landed(raw, next)
	if final != 0 {
		return nil
	}
	if took := d.sched.Now() - start; took > p.IOBound {
		return fmt.Errorf("write slot %d took %v, the bound is %v", r.id.Slot, took, p.IOBound)
	}
	if err := r.feed(); err != nil {
		return err
	}
	if err := r.lateCheck(ctx); err != nil {
		return err
	}
	open := r.n.gate.covers(r.n.gate.margin)
	r.n.gate.extend(start + p.Lease)
	if !open {
		r.n.wake.now() // the agent may act again
	}
	return nil
}

func (r *renewer) next(final int) *ondisk.Slot {
	hears := r.n.hears()
	r.mu.Lock()
	defer r.mu.Unlock()
	s := *r.slot
	s.Seq, s.State, s.Epoch = s.Seq+1, r.state, r.epoch
	s.Hears = hears
	switch final {
	case 1:
		return freeOf(&s)
	case 2:
		s.Seq = deadBit
	}
	return &s
}

// landed takes in that raw is on the disk: no other write of ours can land any more.
func (r *renewer) landed(raw []byte, s *ondisk.Slot) { r.cur, r.slot, r.pending = raw, s, nil }

// reread finds out what is in our slot. mine is false if somebody else has written it; then we withdraw.
func (r *renewer) reread(ctx context.Context) (mine bool, err error) {
	im, err := r.n.disk.readSlot(ctx, uint16(r.id.Slot))
	if err != nil {
		return false, err
	}
	switch {
	case bytes.Equal(im.raw, r.cur):
		return true, nil
	case im.slot != nil && slices.Contains(r.pending, im.slot.Writer):
		r.landed(im.raw, im.slot)
		return true, nil
	}
	err = fmt.Errorf("slot %d was written by another node", r.id.Slot)
	cause := CauseSlotTaken
	switch {
	case im.slot != nil && isDead(im.slot):
		err = fmt.Errorf("slot %d was marked dead by another node", r.id.Slot)
	case im.slot != nil && isExpelled(im.slot):
		cause = CauseCutOff
		err = fmt.Errorf("put out by the node in slot %d: the network between this node and those who stay is cut", expeller(im.slot))
	}
	r.n.withdraw(Reason{cause, err.Error()})
	return false, err
}

// lateCheck is for a renewal after the lease ran out. The swap itself has shown that nobody has declared us dead; that
// the view still lists us is looked at all the same, before the gate opens again.
func (r *renewer) lateCheck(ctx context.Context) error {
	deadline, ok := r.n.gate.Deadline()
	if !ok || r.n.cfg.Sched.Now() <= deadline {
		return nil
	}
	if err := r.n.checkFenced(ctx); err != nil {
		return err
	}
	entered := r.n.hasEntered() // before the look, which may be older than the entering otherwise
	im, err := r.n.disk.look(ctx)
	if err != nil {
		return err
	}
	if im.view == nil {
		return fmt.Errorf("view: %w", im.viewErr)
	}
	if entered && im.view.Members[r.id.Slot] != uint32(r.id.Incarnation) {
		r.n.withdraw(Reason{CauseRemoved, fmt.Sprintf("epoch %d lists this node no more", im.view.Epoch)})
		return errors.New("not in the view")
	}
	return nil
}
