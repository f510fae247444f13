package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/covol/covol/cluster/paxos"
	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/sched"
)

// agent is what the procedure of the same name remembers from look to look.
type agent struct {
	claims []claimTry // claims whose outcome is not known
	poke   bool       // we changed the view: tell the others once we know it ourselves

	register *paxos.Register // our part in the votes, nil with compare-and-write and before our claim

	checked time.Duration // when the storage was asked whether we are fenced
}

type claimTry struct {
	id     view.NodeID
	writer uint64
}

// runAgent looks at the disk once per heartbeat, or when woken, and does what the core decides. Everything that
// changes the core happens on this procedure.
func (n *Node) runAgent() {
	h := n.cfg.Super.Profile.Heartbeat
	for n.ctx.Err() == nil {
		again, err := n.turn(n.ctx)
		n.mu.Lock()
		n.diskErr = err
		over := n.core.phase == phaseOver
		n.mu.Unlock()
		if err != nil {
			n.cfg.Log.Warn("cluster disk", "node", n.cfg.Name, "err", err)
		}
		if over {
			return
		}
		if !again || err != nil {
			n.wake.wait(n.ctx, h)
		}
	}
}

// turn is one look and what follows. again asks for another one at once, because something has changed.
func (n *Node) turn(ctx context.Context) (again bool, err error) {
	again, err = n.handle(ctx, nil)
	if err != nil {
		return false, err
	}
	if now := n.cfg.Sched.Now(); n.currentRenewer() != nil && now-n.agent.checked >= n.cfg.Super.Profile.Lease/2 {
		n.agent.checked = now
		if err := n.checkFenced(ctx); err != nil { // a renewal that is late does not count then
			n.cfg.Log.Warn("the storage does not say whether this node is fenced", "node", n.cfg.Name, "err", err)
		}
	}
	im, err := n.disk.look(ctx)
	if err != nil {
		return false, err
	}
	if n.foundClaim(im) {
		return true, nil
	}
	if err := n.finishVote(ctx, im); err != nil {
		return false, err
	}
	more, err := n.handle(ctx, looked{im})
	if err == nil {
		n.pokeOthers()
	}
	return again || more, err
}

// handle gives the core the events that have come in and then ev, and runs the effects.
func (n *Node) handle(ctx context.Context, ev event) (again bool, err error) {
	n.mu.Lock()
	events := n.events
	n.events = nil
	if ev != nil {
		events = append(events, ev)
	}
	var out []effect
	for _, e := range events {
		out = n.core.step(n.cfg.Sched.Now(), e, out)
	}
	n.mu.Unlock()
	for _, e := range out { // all of them: the core counts on it
		more, failed := n.run(ctx, e)
		if failed != nil && err == nil {
			err = failed
		}
		again = again || more
	}
	return again, err
}

func (n *Node) run(ctx context.Context, e effect) (again bool, err error) {
	switch e := e.(type) {
	case prove:
		return n.prove(ctx, e), nil
	case tell:
		n.cfg.Log.Info("cluster: "+e.ev.String(), "node", n.cfg.Name, "epoch", e.ev.Epoch)
		n.emit(e.ev)
	case swapSlot:
		return n.swapSlot(ctx, e)
	case swapView:
		return n.swapView(ctx, e)
	case claimSlot:
		return n.claimSlot(ctx, e)
	case replay:
		n.spawn("cluster replay", func() {
			n.cfg.Log.Info("replaying the journal", "slot", e.slot)
			n.post(replayed{e.slot, n.cfg.Replay(n.replayCtx, n.gate, e.slot)})
		})
	case install:
		n.install(e.v)
	case activate:
		n.currentRenewer().publish(ondisk.SlotActive)
		n.setState(StateActive, Reason{})
		n.settleJoin(nil)
	case giveUp:
		n.gate.close(fmt.Errorf("%w: %w", ErrLeft, e.err))
		n.endReplay()
		return true, nil
	case release:
		if err := n.gate.drain(ctx); err != nil {
			return false, err
		}
		n.currentRenewer().finish(e.dead)
	case left:
		n.setState(StateLeft, Reason{CauseAsked, ""})
		n.settleJoin(e.err)
		n.end()
	case withdraw:
		n.withdraw(e.reason)
	}
	return false, nil
}

func (n *Node) currentRenewer() *renewer {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.renewer
}

// install makes v the view of this node.
func (n *Node) install(v view.View) {
	n.cfg.Log.Info("new view", "node", n.cfg.Name, "epoch", v.Epoch, "members", len(v.Members), "recovering", len(v.Recovering))
	n.mu.Lock()
	n.view = v
	r := n.renewer
	n.mu.Unlock()
	n.cfg.OnView(v)
	r.installed(v.Epoch)
}

// leased reports whether we may still act on what we have seen: a life that others may have buried must not change
// the view. The renewer wakes the agent when there is a lease again.
func (n *Node) leased() bool { return n.currentRenewer() == nil || n.gate.covers(n.gate.margin) }

func (n *Node) swapSlot(ctx context.Context, e swapSlot) (bool, error) {
	if n.disk.votes != nil {
		return n.voteSlot(ctx, e)
	}
	if !n.leased() {
		return false, nil
	}
	w, err := n.disk.writer()
	if err != nil {
		return false, err
	}
	e.new.Writer = w
	ok, err := n.disk.swap(ctx, n.cfg.Super.SlotBlock(uint16(e.slot)), e.old, ondisk.EncodeSlot(n.cfg.Super, e.new))
	if err != nil {
		return false, fmt.Errorf("change slot %d: %w", e.slot, err)
	}
	if ok {
		n.cfg.Log.Info("slot changed", "node", n.cfg.Name, "slot", e.slot, "why", e.why)
	}
	return true, nil
}

func (n *Node) swapView(ctx context.Context, e swapView) (bool, error) {
	if n.disk.votes != nil {
		return n.voteView(ctx, e.base, e.new, e.why)
	}
	if !n.leased() {
		return false, nil
	}
	w, err := n.disk.writer()
	if err != nil {
		return false, err
	}
	e.new.Writer = w
	n.agent.poke = true // also when the outcome is not known
	ok, err := n.disk.swap(ctx, ondisk.ViewBlock, e.old, ondisk.EncodeView(n.cfg.Super, e.new))
	if errors.Is(err, blockdev.ErrFenced) {
		n.withdraw(Reason{CauseFenced, err.Error()})
	}
	if err != nil {
		return false, fmt.Errorf("change the view: %w", err)
	}
	if ok {
		n.cfg.Log.Info("view changed", "node", n.cfg.Name, "epoch", e.new.Epoch, "why", e.why)
	}
	return true, nil
}

// pokeOthers tells the members that there is a view that we have made.
func (n *Node) pokeOthers() {
	if !n.agent.poke {
		return
	}
	n.mu.Lock()
	v, ok := n.core.build()
	self := n.core.id
	n.mu.Unlock()
	if !ok {
		return
	}
	n.agent.poke = false
	others := make([]view.Member, 0, len(v.Members))
	for _, m := range v.Members {
		if m.NodeID != self {
			others = append(others, m)
		}
	}
	if len(others) > 0 {
		n.cfg.Poke(others)
	}
}

// claimSlot takes the lock of the host and then the slot, in this order: nobody may ever see our claim without the lock.
func (n *Node) claimSlot(ctx context.Context, e claimSlot) (bool, error) {
	if p := n.cfg.Super.Profile; n.disk.votes != nil {
		return n.claimByVote(ctx, e, p.IOBound+p.Guard)
	}
	if err := n.lock(int64(e.slot)); err != nil {
		n.cfg.Log.Info("slot not claimed", "node", n.cfg.Name, "slot", e.slot, "err", err)
		n.post(lockTaken{e.slot})
		return false, nil
	}
	w, err := n.disk.writer()
	if err != nil {
		return false, err
	}
	if err := n.register(ctx, view.NodeID{Slot: e.slot, Incarnation: view.Incarnation(e.new.Incarnation)}); err != nil {
		return false, fmt.Errorf("claim slot %d: %w", e.slot, err)
	}
	e.new.Writer = w
	raw := ondisk.EncodeSlot(n.cfg.Super, e.new)
	try := claimTry{view.NodeID{Slot: e.slot, Incarnation: view.Incarnation(e.new.Incarnation)}, w}
	n.agent.claims = append(n.agent.claims, try)
	ok, err := n.disk.swap(ctx, n.cfg.Super.SlotBlock(uint16(e.slot)), e.old, raw)
	if err != nil {
		return false, fmt.Errorf("claim slot %d: %w", e.slot, err)
	}
	if !ok {
		return true, nil
	}
	n.begin(try.id, raw, e.new)
	return true, nil
}

// lock takes byte b of the host and gives back the one that an earlier try took.
func (n *Node) lock(b int64) error {
	n.mu.Lock()
	held := n.locked
	n.mu.Unlock()
	if n.cfg.Host == nil || held == b {
		return nil
	}
	n.unlock()
	if err := n.cfg.Host.LockByte(b, false); err != nil {
		return err
	}
	n.mu.Lock()
	n.locked = b
	n.mu.Unlock()
	if err := n.ctx.Err(); err != nil { // the end may have looked before
		n.unlock()
		return err
	}
	return nil
}

// foundClaim finds a claim of ours that was reported as an error and took effect all the same.
func (n *Node) foundClaim(im *image) bool {
	if n.currentRenewer() != nil {
		return false
	}
	for _, try := range n.agent.claims {
		s := im.slots[try.id.Slot].slot
		if s == nil || s.Writer != try.writer || s.State != ondisk.SlotJoining || isDead(s) {
			continue
		}
		if n.lock(int64(try.id.Slot)) != nil {
			continue // left to be found dead
		}
		n.begin(try.id, im.slots[try.id.Slot].raw, s)
		return true
	}
	return false
}

// begin starts the life that a claim has made. The claim itself gives no lease, the first renewal does.
func (n *Node) begin(id view.NodeID, raw []byte, s *ondisk.Slot) {
	n.cfg.Log.Info("slot claimed", "node", n.cfg.Name, "slot", id.Slot, "incarnation", id.Incarnation)
	r := newRenewer(n, id, raw, s)
	n.mu.Lock()
	n.renewer = r
	n.mu.Unlock()
	n.post(claimed{id})
	sched.GoUrgent(n.cfg.Sched, "cluster heartbeat", n.counted(func() { r.run(n.ctx) }))
}
