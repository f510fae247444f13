package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/covol/covol/cluster/fence"
	"github.com/covol/covol/cluster/paxos"
	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
)

// lifeThatRecovers is the member that a holder's state names as the one that brings the journal home.
func lifeThatRecovers(v *ondisk.View, s ondisk.HolderState) (view.NodeID, bool) {
	k, ok := s.Recoverer()
	if !ok || int(k) >= len(v.Members) || v.Members[k] == 0 {
		return view.NodeID{}, false
	}
	return view.NodeID{Slot: view.Slot(k), Incarnation: view.Incarnation(v.Members[k])}, true
}

// after makes v the view that follows base: whose slots are is carried on, and a recoverer that is no member any more has
// no claim on a journal.
func after(base, v *ondisk.View) {
	if v.Holders == nil {
		v.Holders = slices.Clone(base.Holders)
	}
	for j := range v.Holders {
		if k, ok := v.Holders[j].State.Recoverer(); ok && (int(k) >= len(v.Members) || v.Members[k] != base.Members[k]) {
			v.Holders[j].State = ondisk.HolderDead
		}
	}
}

// holderBy is what a swap of a slot block means as a vote: what is to become of the holder. ok is false if the view im has
// it so already, or if it is not to be had.
func holderBy(im *image, e swapSlot, proof *fence.Proof) (h ondisk.Holder, ok bool) {
	was := im.view.Holders[e.slot]
	h = was
	if s := im.slots[e.slot].slot; s != nil {
		h.Incarnation = s.Incarnation
	}
	doomed := was.State == ondisk.HolderDoomed && was.Incarnation == h.Incarnation
	by, recovers := recoverer(e.new)
	switch {
	case e.new.State == ondisk.SlotFree:
		h.State = ondisk.HolderFree
	case recovers:
		h.State = ondisk.RecoveredBy(uint16(by.Slot))
		ok = im.view.Members[by.Slot] == uint32(by.Incarnation)
		return h, ok
	case isDead(e.new) && (doomed || proof != nil && proof.Method != fence.LeaseName):
		h.State = ondisk.HolderDead
	default: // its lease may have been renewed a moment ago: it cannot be again
		h.State = ondisk.HolderDoomed
	}
	return h, h != was
}

// voteSlot is swapSlot where the view says whose a slot is.
func (n *Node) voteSlot(ctx context.Context, e swapSlot) (bool, error) {
	if n.currentRenewer() == nil {
		return n.claimToVote(ctx, e)
	}
	n.mu.Lock()
	im, proof := n.core.im, n.core.watch[e.slot].proof
	n.mu.Unlock()
	h, ok := holderBy(im, e, proof)
	if !ok {
		return false, nil
	}
	want := nextOf(im.view)
	want.Holders[e.slot] = h
	return n.voteView(ctx, im.view, want, e.why)
}

// nextOf is a view like v, of the next epoch.
func nextOf(v *ondisk.View) *ondisk.View {
	return &ondisk.View{Epoch: v.Epoch + 1, Members: slices.Clone(v.Members), Recovering: slices.Clone(v.Recovering),
		Holders: slices.Clone(v.Holders)}
}

// voteView asks for the view want after base.
func (n *Node) voteView(ctx context.Context, base, want *ondisk.View, why string) (bool, error) {
	if n.agent.register == nil || !n.leased() {
		return false, nil
	}
	after(base, want)
	var err error
	if want.Writer, err = n.disk.writer(); err != nil {
		return false, err
	}
	n.agent.poke = true // also when the outcome is not known
	won, err := n.agent.register.Propose(ctx, base, want)
	switch {
	case errors.Is(err, paxos.ErrLease):
		return false, nil
	case errors.Is(err, blockdev.ErrFenced):
		n.withdraw(Reason{CauseFenced, err.Error()})
	}
	if err != nil {
		return false, fmt.Errorf("vote on epoch %d: %w", want.Epoch, err)
	}
	if won {
		n.cfg.Log.Info("view changed", "node", n.cfg.Name, "epoch", want.Epoch, "why", why)
	}
	return true, nil
}

// finishVote brings a vote to its end that hides the view before it.
func (n *Node) finishVote(ctx context.Context, im *image) error {
	if im.hidden && n.agent.register != nil && n.leased() {
		if err := n.agent.register.Finish(ctx); err != nil && !errors.Is(err, paxos.ErrLease) {
			return fmt.Errorf("finish a vote: %w", err)
		}
	}
	return nil
}
