package dlm

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/ondisk/sched"
)

// Config is what a Node needs. All fields but Log and OnBlocking must be set.
type Config struct {
	ID        view.NodeID // this life of the node
	Sched     sched.Scheduler
	Transport Transport
	Log       *slog.Logger // nil: no log
	// OnBlocking says that another node waits for want on r, which the mode held here does not allow: the user
	// does what the lock protected and calls Downgrade. It is called in order by one procedure and must not
	// block. It may come before the Lock that it concerns has returned. It is repeated when a stronger mode is
	// wanted, and after a Downgrade that did not make enough room, not otherwise.
	OnBlocking func(r Resource, want Mode)
}

// Options modify a request.
type Options struct {
	// NoQueue answers ErrBusy rather than wait for anyone.
	NoQueue bool
}

// Node is the lock manager of one node: a Core with its clock, transport and waiting procedures. All methods may be
// called by any number of procedures at once.
type Node struct {
	cfg Config

	mu sync.Mutex
	// GUARDED_BY(mu)
	core *Core
	// GUARDED_BY(mu)
	nextID uint64
	// GUARDED_BY(mu)
	pending map[uint64]*pending
	// GUARDED_BY(mu)
	out []EffSend // not given to the transport yet
	// GUARDED_BY(mu)
	sending bool // a procedure is emptying out
	// GUARDED_BY(mu)
	callbacks []EffBlocking
	// GUARDED_BY(mu)
	calling bool // a procedure is emptying callbacks
	// GUARDED_BY(mu)
	stopTimer func() bool
	// GUARDED_BY(mu)
	effects []Effect // scratch
	// GUARDED_BY(mu)
	rebuilt view.Epoch
	// GUARDED_BY(mu)
	waiting []rebuiltWaiter
	// GUARDED_BY(mu)
	left sched.Event
}

type pending struct {
	done  sched.Event
	grant Grant
	err   error
}

type rebuiltWaiter struct {
	epoch view.Epoch
	done  sched.Event
}

// NewNode makes a node that waits for its first view. It takes the transport's receiver.
func NewNode(cfg Config) *Node {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	n := &Node{cfg: cfg, core: NewCore(cfg.ID), pending: map[uint64]*pending{}, left: cfg.Sched.NewEvent()}
	cfg.Transport.Handle(func(from view.Slot, msg []byte) { n.step(EvFrame{From: from, Data: msg}) })
	return n
}

// SetView tells the node who is in. Views of the same or an older epoch are ignored. A view without this life of
// the node stops it.
func (n *Node) SetView(v view.View) {
	n.cfg.Transport.SetMembers(v.Members)
	n.step(EvView{View: v})
	n.cfg.Log.Info("lock manager: new view", "epoch", v.Epoch, "members", len(v.Members), "recovering", len(v.Recovering))
}

// Lock acquires r in mode m, or converts up what the node holds to a mode that covers both. It returns at once and
// sends nothing if what is held covers m. Errors: ErrBusy, ErrDeadlock, ErrStopped, or ctx.Err() after which
// nothing more is held than before. A grant is kept until Downgrade gives it up, however often Lock returned it.
func (n *Node) Lock(ctx context.Context, r Resource, m Mode, o Options) (Grant, error) {
	n.mu.Lock()
	if l := n.core.locks[r]; l != nil && l.mode.Covers(m) && !n.core.leaving && !n.core.stopped {
		n.core.stats.LocalGrants++
		g := l.grant()
		n.mu.Unlock()
		return g, nil
	}
	n.nextID++
	id := n.nextID
	p := &pending{done: n.cfg.Sched.NewEvent()}
	n.pending[id] = p
	n.run(EvLock{ID: id, Res: r, Mode: m, NoQueue: o.NoQueue})
	n.flush()
	if err := p.done.Wait(ctx); err != nil {
		n.step(EvCancel{ID: id, Res: r}) // answers p, unless it was answered meanwhile
		if p.err == nil && p.grant.Mode == NL {
			return Grant{}, err
		}
	}
	if p.err != nil {
		return Grant{}, fmt.Errorf("lock %s %s: %w", r, m, p.err)
	}
	return p.grant, nil
}

// Downgrade converts r down to m; NL unlocks. It returns at once; the message goes out in order with later
// requests for r. A value other than nil, of at most MaxValue bytes, becomes the value block if the node held PW or
// EX (an empty one makes it invalid); nil leaves the block as it was. Errors: ErrNotHeld, ErrValueSize.
func (n *Node) Downgrade(r Resource, m Mode, value []byte) error {
	if len(value) > MaxValue {
		return fmt.Errorf("downgrade %s to %s: %w: %d bytes", r, m, ErrValueSize, len(value))
	}
	n.mu.Lock()
	l := n.core.locks[r]
	if l == nil || l.mode == NL || !l.mode.Covers(m) {
		n.mu.Unlock()
		return fmt.Errorf("downgrade %s to %s: %w", r, m, ErrNotHeld)
	}
	n.run(EvDowngrade{Res: r, Mode: m, Value: value})
	n.flush()
	return nil
}

// Leave gives up all that is held, refuses requests from now on and returns when every peer knows. The node goes
// on serving the others until a view without it is made; then Stop.
func (n *Node) Leave(ctx context.Context) error {
	n.step(EvLeave{})
	if err := n.left.Wait(ctx); err != nil {
		return fmt.Errorf("give up locks: %w", err)
	}
	return nil
}

// WaitRebuilt returns once the rebuild for epoch or a later one is finished: nothing waits for that view change any
// more, only for the recovery of the dead. ErrStopped if it never will be.
func (n *Node) WaitRebuilt(ctx context.Context, epoch view.Epoch) error {
	w := rebuiltWaiter{epoch: epoch, done: n.cfg.Sched.NewEvent()}
	n.mu.Lock()
	n.waiting = append(n.waiting, w)
	n.wakeRebuilt()
	n.mu.Unlock()
	if err := w.done.Wait(ctx); err != nil {
		return fmt.Errorf("rebuild locks for epoch %d: %w", epoch, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.rebuilt < epoch {
		return fmt.Errorf("rebuild locks for epoch %d: %w", epoch, ErrStopped)
	}
	return nil
}

// Stop ends all pending requests with ErrStopped and falls silent. It does not close the transport.
func (n *Node) Stop() { n.step(EvStop{}) }

// Stats returns the counters.
func (n *Node) Stats() Stats {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.core.stats
}

func (n *Node) step(ev Event) {
	n.mu.Lock()
	n.run(ev)
	n.flush()
}

// run steps the core and does all that does not leave the node. It must be called with mu held.
func (n *Node) run(ev Event) {
	now := n.cfg.Sched.Now()
	n.effects = n.core.Step(now, ev, n.effects[:0])
	for i, e := range n.effects {
		n.effects[i] = nil
		switch e := e.(type) {
		case EffSend:
			n.out = append(n.out, e)
		case EffGrant:
			n.answer(e.ID, e.Grant, nil)
		case EffRefuse:
			n.answer(e.ID, Grant{}, e.Err)
		case EffBlocking:
			n.callbacks = append(n.callbacks, e)
		case EffTimer:
			n.setTimer(e.At - now)
		case EffRebuilt:
			n.rebuilt = e.Epoch
		case EffLeft:
			n.left.Set()
		}
	}
	if n.core.stopped {
		n.disarm()
		n.left.Set()
	}
	n.wakeRebuilt()
}

func (n *Node) answer(id uint64, g Grant, err error) {
	p := n.pending[id]
	delete(n.pending, id)
	p.grant, p.err = g, err
	p.done.Set()
}

func (n *Node) wakeRebuilt() {
	rest := n.waiting[:0]
	for _, w := range n.waiting {
		if n.rebuilt >= w.epoch || n.core.stopped {
			w.done.Set()
			continue
		}
		rest = append(rest, w)
	}
	n.waiting = rest
}

func (n *Node) setTimer(d time.Duration) {
	n.disarm()
	n.stopTimer = n.cfg.Sched.AfterFunc(max(d, 0), func() { n.step(EvTimer{}) })
}

func (n *Node) disarm() {
	if n.stopTimer != nil {
		n.stopTimer()
		n.stopTimer = nil
	}
}

// flush gives what has gathered to the transport and to the dispatcher of callbacks. It is called with mu held and
// returns without it. One procedure at a time does the work, so that order is kept while mu is free.
func (n *Node) flush() {
	if len(n.callbacks) > 0 && !n.calling {
		n.calling = true
		n.cfg.Sched.Go("dlm callbacks", n.dispatch)
	}
	if n.sending {
		n.mu.Unlock()
		return
	}
	n.sending = true
	for len(n.out) > 0 {
		out := n.out
		n.out = nil
		n.mu.Unlock()
		for _, e := range out {
			n.cfg.Transport.Send(e.To, e.Data)
		}
		n.mu.Lock()
	}
	n.sending = false
	n.mu.Unlock()
}

// dispatch calls OnBlocking until there is nothing left to call it for.
func (n *Node) dispatch() {
	n.mu.Lock()
	for len(n.callbacks) > 0 {
		callbacks := n.callbacks
		n.callbacks = nil
		n.mu.Unlock()
		for _, e := range callbacks {
			if n.cfg.OnBlocking != nil {
				n.cfg.OnBlocking(e.Res, e.Want)
			}
		}
		n.mu.Lock()
	}
	n.calling = false
	n.mu.Unlock()
}
