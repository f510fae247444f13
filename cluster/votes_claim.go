package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/covol/covol/cluster/fence"
	"github.com/covol/covol/cluster/paxos"
	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/ondisk"
)

// errNotOurs is why a claim is given up.
var errNotOurs = errors.New("another node has come first")

// voteClaim is one claim of a slot by write-delay-read, and then by a vote.
type voteClaim struct {
	n     *Node
	slot  *ondisk.Slot
	raw   []byte // that we wrote last
	delay time.Duration
	was   ondisk.Holder
	end   time.Duration // of the lease under which the vote is held
}

// claimByVote claims a slot: a plain write, a delay in which whoever wrote at the same time shows himself, a renewal, and
// a vote. It takes D + g at least. A claim that is given up leaves the slot free.
func (n *Node) claimByVote(ctx context.Context, e claimSlot, delay time.Duration) (bool, error) {
	if ok, err := n.mayClaimByVote(); !ok {
		return err != nil, nil
	}
	if err := n.lock(int64(e.slot)); err != nil {
		n.cfg.Log.Info("slot not claimed", "node", n.cfg.Name, "slot", e.slot, "err", err)
		n.post(lockTaken{e.slot})
		return false, nil
	}
	id := view.NodeID{Slot: e.slot, Incarnation: view.Incarnation(e.new.Incarnation)}
	if err := n.register(ctx, id); err != nil {
		return false, fmt.Errorf("claim slot %d: %w", e.slot, err)
	}
	if err := n.disk.settle(ctx); err != nil { // an earlier claim
		return false, err
	}
	c := &voteClaim{n: n, slot: e.new, delay: delay}
	c.slot.Arbitration = ondisk.ByVote
	written, err := c.write(n.replayCtx, e.old)
	if written && err == nil {
		err = c.confirm(n.replayCtx)
	}
	if err == nil && written {
		n.begin(id, c.raw, c.slot)
		return true, nil
	}
	n.agent.register = nil
	if written {
		c.giveUp(ctx)
	}
	if errors.Is(err, errNotOurs) || n.replayCtx.Err() != nil {
		return true, nil
	}
	return err == nil, err
}

// mayClaimByVote refuses to vote where others swap.
func (n *Node) mayClaimByVote() (bool, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := n.core
	for j := range c.watch {
		w := &c.watch[j]
		if w.slot == nil || w.slot.Arbitration == ondisk.ByVote {
			continue
		}
		switch w.verdict(c.profile) {
		case slotAlive:
			err := fmt.Errorf("%w: node %s in slot %d", ErrMixed, w.slot.Name, j)
			n.events = append(n.events, leaveAsked{err})
			return false, err
		case slotUnknown:
			c.waits.add("is this node alive", view.Slot(j))
			return false, nil
		}
	}
	return true, nil
}

// write writes the claim, if the slot is still as it was when it was chosen. The write begins within g of the look:
// whoever reads our claim after the delay can rely on it that older ones have landed.
func (c *voteClaim) write(ctx context.Context, old []byte) (written bool, err error) {
	n, p := c.n, c.n.cfg.Super.Profile
	start := n.cfg.Sched.Now()
	im, err := n.disk.look(ctx)
	if err != nil {
		return false, err
	}
	if im.view == nil || !bytes.Equal(im.slots[c.slot.Index].raw, old) {
		return false, nil
	}
	c.was = im.view.Holders[c.slot.Index]
	if took := n.cfg.Sched.Now() - start; took > p.Guard {
		return false, fmt.Errorf("claim slot %d: the look took %v, the guard is %v", c.slot.Index, took, p.Guard)
	}
	return true, c.put(ctx)
}

// put writes our block, as a renewal.
func (c *voteClaim) put(ctx context.Context) error {
	n, p := c.n, c.n.cfg.Super.Profile
	w, err := n.disk.writer()
	if err != nil {
		return err
	}
	start := n.cfg.Sched.Now()
	c.slot.Writer = w
	c.raw = ondisk.EncodeSlot(n.cfg.Super, c.slot)
	if err := n.disk.write(ctx, n.cfg.Super.SlotBlock(c.slot.Index), c.raw); err != nil {
		return fmt.Errorf("claim slot %d: %w", c.slot.Index, err)
	}
	if took := n.cfg.Sched.Now() - start; took > p.IOBound {
		return fmt.Errorf("claim slot %d: the write took %v, the bound is %v", c.slot.Index, took, p.IOBound)
	}
	c.end = start + p.Lease
	return nil
}

// confirm waits for others to show themselves, renews, and has the claim voted on.
func (c *voteClaim) confirm(ctx context.Context) error {
	n := c.n
	if err := n.cfg.Sched.Sleep(ctx, c.delay); err != nil {
		return err
	}
	if err := c.ours(ctx); err != nil {
		return err
	}
	c.slot.Seq++
	if err := c.put(ctx); err != nil {
		return err
	}
	leased := func() bool {
		if n.currentRenewer() != nil {
			return n.gate.covers(n.gate.margin)
		}
		return n.cfg.Sched.Now()+n.gate.margin <= c.end
	}
	n.agent.register = paxos.NewRegister(n.disk.votes.reader, c.slot.Index, c.slot.Incarnation, n.disk, leased)
	mine := ondisk.Holder{Incarnation: c.slot.Incarnation, State: ondisk.HolderHeld}
	for {
		im, err := n.disk.look(ctx)
		switch {
		case err != nil:
			return err
		case im.view == nil:
			return im.viewErr
		case im.view.Holders[c.slot.Index] == mine: // also when it was reported as an error
			return c.ours(ctx) // nobody has renewed the life before since the delay, and now nobody can
		case im.view.Holders[c.slot.Index] != c.was:
			return errNotOurs
		}
		want := nextOf(im.view)
		want.Holders[c.slot.Index] = mine
		why := fmt.Sprintf("slot %d.%d is claimed", c.slot.Index, c.slot.Incarnation)
		if !leased() {
			return paxos.ErrLease
		}
		if _, err := n.voteView(ctx, im.view, want, why); err != nil {
			return err
		}
	}
}

// ours returns nil if the slot block is what we wrote last.
func (c *voteClaim) ours(ctx context.Context) error {
	im, err := c.n.disk.readSlot(ctx, c.slot.Index)
	if err == nil && !bytes.Equal(im.raw, c.raw) {
		err = errNotOurs
	}
	return err
}

// giveUp frees the slot again if it is ours. Who fails in that is found dead.
func (c *voteClaim) giveUp(ctx context.Context) {
	if c.n.disk.settle(ctx) != nil {
		return
	}
	im, err := c.n.disk.readSlot(ctx, c.slot.Index)
	if err != nil || !bytes.Equal(im.raw, c.raw) {
		return
	}
	free := freeOf(c.slot)
	free.Name = "" // we may come by another slot
	if err := c.n.disk.write(ctx, c.n.cfg.Super.SlotBlock(c.slot.Index), ondisk.EncodeSlot(c.n.cfg.Super, free)); err != nil {
		c.n.cfg.Log.Warn("claimed slot not freed", "node", c.n.cfg.Name, "slot", c.slot.Index, "err", err)
	}
}

// claimToVote is for a node that wants to declare another one dead and has no slot yet, and so no ballot. It takes a free
// slot, or the victim's if there is none and nobody else is alive who could do it. The victim may have renewed its lease
// between our look and our write; then it shows itself or its lease has ended after W.
func (n *Node) claimToVote(ctx context.Context, e swapSlot) (bool, error) {
	now, p := n.cfg.Sched.Now(), n.cfg.Super.Profile
	n.mu.Lock()
	c, slot, delay := n.core, n.core.findFree(now), p.IOBound+p.Guard
	if slot == view.NoSlot {
		slot = e.slot
		if proof := c.watch[slot].proof; proof == nil || proof.Method == fence.LeaseName {
			delay = p.Wait()
		}
		for j := range c.watch {
			if v := c.watch[j].verdict(p); v == slotAlive || v == slotUnknown {
				c.waits.add("others to declare a node dead", e.slot)
				n.mu.Unlock()
				return false, nil
			}
		}
	}
	inc := max(c.im.view.Members[slot], c.im.view.Recovering[slot], c.im.view.Holders[slot].Incarnation)
	if s := c.watch[slot].slot; s != nil {
		inc = max(inc, s.Incarnation)
	}
	claim := claimSlot{slot: slot, old: c.watch[slot].raw, new: c.self(slot, inc+1)}
	n.mu.Unlock()
	return n.claimByVote(ctx, claim, delay)
}
