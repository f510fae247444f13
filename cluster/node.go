package cluster

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/sched"
)

// Node is this node's life on one volume. It is the shell around the core: three procedures, the agent (looks at the
// disk and does what the core decides), the renewer (the heartbeat) and the clock (notices what only time tells).
type Node struct {
	cfg    Config
	disk   *disk
	gate   *Gate
	joined sched.Event // joinErr is set
	over   sched.Event // the state is final
	quiet  sched.Event // and all procedures have ended: Dev is not used any more
	wake   wakeup      // of the agent

	ctx       context.Context // of all procedures
	stop      context.CancelFunc
	replayCtx context.Context
	endReplay context.CancelFunc

	agent agent // owned by the agent
	stall stall // owned by the clock

	mu sync.Mutex
	// GUARDED_BY(mu)
	core *core
	// GUARDED_BY(mu)
	events []event
	// GUARDED_BY(mu): procedures that run
	procs int
	// GUARDED_BY(mu)
	renewer *renewer
	// GUARDED_BY(mu): byte of the host that we hold, -1 for none
	locked int64
	// GUARDED_BY(mu)
	view view.View
	// GUARDED_BY(mu)
	joinErr error
	// GUARDED_BY(mu): of the agent's latest look or swap
	diskErr error
	// GUARDED_BY(mu): when the operation began that is overdue, 0 if none is
	overdue time.Duration
	state   stateKeeper
	news    teller // events

	hearMu sync.Mutex
	// GUARDED_BY(hearMu)
	heard hearing
}

// eventsKept is how many events may wait for a slow OnEvent.
const eventsKept = 1024

// Join claims a slot of the volume and enters its view. It returns once the node may work: every journal that had to be
// replayed has been, or is the business of a node that is at work. The first calls of OnView and OnState come before it
// returns.
//
// Errors: ErrNameInUse, ErrNoSlot, ErrMixed, ErrProfile, ondisk.ErrCorrupt, what Replay returned, ctx.Err(), or an
// error of the device. After an error nothing of the node is left on the volume, or it is dead to the others, and its I/O
// is over.
func Join(ctx context.Context, cfg Config) (*Node, error) { return join(ctx, cfg, func(*Node) {}) }

// join tells of the node before it has joined.
func join(ctx context.Context, cfg Config, begun func(*Node)) (*Node, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	d, err := openDisk(ctx, &cfg)
	if err != nil {
		return nil, fmt.Errorf("join: %w", err)
	}
	s := cfg.Sched
	n := &Node{cfg: cfg, disk: d, gate: newGate(s, gateMargin(cfg.Super.Profile)), joined: s.NewEvent(), over: s.NewEvent(),
		quiet: s.NewEvent(), locked: -1, heard: hearing{}}
	n.core = newCore(&n.cfg)
	if d.votes != nil {
		n.core.arbitration = ondisk.ByVote
	}
	n.wake.init(s)
	n.state.init(&n.cfg)
	n.news.s, n.news.name, n.news.most = s, "cluster events", eventsKept
	// Not the caller's context: that ends with the call.
	n.ctx, n.stop = context.WithCancel(context.Background())
	n.replayCtx, n.endReplay = context.WithCancel(n.ctx)
	begun(n)
	n.cfg.OnBegun(n)
	n.spawn("cluster agent", n.runAgent)
	n.spawn("cluster clock", n.runClock)
	if cfg.Greet != nil {
		n.spawn("cluster greeting", n.greet)
	}
	if err := n.joined.Wait(ctx); err != nil {
		what := n.waitingFor()
		n.abandon(err)
		return nil, fmt.Errorf("join: %s: %w", what, err)
	}
	n.mu.Lock()
	err = n.joinErr
	n.mu.Unlock()
	if err != nil {
		_ = n.quiet.Wait(context.Background()) // the caller may close the device
		return nil, fmt.Errorf("join: %w", err)
	}
	return n, nil
}

// abandon takes back a join that the caller does not want any more. It waits for what the disk allows within the time
// after which the others take the node for dead anyway.
func (n *Node) abandon(err error) {
	n.gate.close(fmt.Errorf("%w: %w", ErrLeft, err))
	n.endReplay()
	n.post(leaveAsked{err})
	stop := n.cfg.Sched.AfterFunc(n.cfg.Super.Profile.Wait(), n.Kill)
	_ = n.over.Wait(context.Background()) // Kill sets it
	stop()
	_ = n.quiet.Wait(context.Background())
}

// ID is the slot and the incarnation of this life.
func (n *Node) ID() view.NodeID {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.core.id
}

// View is the view that OnView was told last.
func (n *Node) View() view.View {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.view
}

// State is what the node may do, why, and since when on the scheduler's clock.
func (n *Node) State() (State, Reason, time.Duration) { return n.state.get() }

// Gate admits the I/O of this node.
func (n *Node) Gate() *Gate { return n.gate }

// Refresh makes the node look at the view block now: a peer has poked, or sent a message of a newer epoch. It never
// blocks.
func (n *Node) Refresh() { n.wake.now() }

// Leave takes the node out of the view and frees its slot. The callers must have given up all locks and closed the
// journal; I/O that still comes fails with ErrLeft. After an error the node is as dead as by Kill.
func (n *Node) Leave(ctx context.Context) error {
	n.gate.close(ErrLeft)
	n.endReplay()
	if err := n.gate.drain(ctx); err != nil {
		n.Kill()
		return fmt.Errorf("leave: I/O in flight: %w", err)
	}
	if !n.setState(StateLeaving, Reason{CauseAsked, ""}) {
		return n.notLeft()
	}
	n.mu.Lock()
	r := n.renewer
	n.mu.Unlock()
	r.publish(ondisk.SlotLeaving)
	n.post(leaveAsked{})
	if err := n.over.Wait(ctx); err != nil {
		what := n.waitingFor()
		n.Kill()
		return fmt.Errorf("leave: %s: %w", what, err)
	}
	if err := n.quiet.Wait(ctx); err != nil {
		return fmt.Errorf("leave: procedures to end: %w", err)
	}
	return n.notLeft()
}

func (n *Node) notLeft() error {
	if s, why, _ := n.state.get(); s != StateLeft {
		return fmt.Errorf("leave: %w: %s", ErrWithdrawn, why)
	}
	return nil
}

// Kill stops the node without leaving, as its death would: no more renewals, all I/O fails. The others find out.
func (n *Node) Kill() { n.withdraw(Reason{CauseKilled, ""}) }

// Done is set once the node has left or withdrawn and does not use Config.Dev any more.
func (n *Node) Done() sched.Event { return n.quiet }

// spawn runs fn as a procedure that belongs to the node. The agent starts first and ends last but for the clock, the
// heartbeat and a replay, so the count is zero only at the end.
func (n *Node) spawn(name string, fn func()) { n.cfg.Sched.Go(name, n.counted(fn)) }

func (n *Node) counted(fn func()) func() {
	n.mu.Lock()
	n.procs++
	n.mu.Unlock()
	return func() {
		defer n.ended()
		fn()
	}
}

func (n *Node) ended() {
	n.mu.Lock()
	n.procs--
	last := n.procs == 0
	n.mu.Unlock()
	if last {
		n.quiet.Set()
	}
}

// withdraw ends the life. It does not block, and only the first call counts.
func (n *Node) withdraw(why Reason) {
	s, err := StateWithdrawn, fmt.Errorf("%w: %s", ErrWithdrawn, why)
	if why.Cause.byAnother() {
		s, err = StateFenced, fmt.Errorf("%w: %w: %s", ErrWithdrawn, ErrFenced, why)
	}
	if !n.setState(s, why) {
		return
	}
	n.gate.close(err)
	n.cfg.Log.Error("withdrawn from the volume", "node", n.cfg.Name, "reason", why.String())
	n.post(lost{})
	n.settleJoin(err)
	n.spawn("cluster end", n.end)
}

// end stops the procedures and gives back the lock of the host, but not before the last write is over: that lock is
// the proof of our death.
func (n *Node) end() {
	n.endReplay()
	n.stop()
	n.mu.Lock()
	r := n.renewer
	n.mu.Unlock()
	if r != nil {
		r.stop()
	}
	n.wake.now()
	if n.gate.drained.IsSet() {
		n.stepDown() // before anyone who waits for the end comes back
		n.over.Set()
		return
	}
	n.over.Set()
	if n.gate.drain(context.Background()) == nil {
		n.stepDown()
	}
}

func (n *Node) unlock() {
	n.mu.Lock()
	b := n.locked
	n.locked = -1
	n.mu.Unlock()
	if b < 0 {
		return
	}
	if err := n.cfg.Host.UnlockByte(b); err != nil {
		n.cfg.Log.Warn("lock of the slot not given back", "slot", b, "err", err)
	}
}

// settleJoin lets Join return.
func (n *Node) settleJoin(err error) {
	n.mu.Lock()
	if !n.joined.IsSet() {
		n.joinErr = err
	}
	n.mu.Unlock()
	n.joined.Set()
}

// post hands an event to the core.
func (n *Node) post(ev event) {
	n.mu.Lock()
	n.events = append(n.events, ev)
	n.mu.Unlock()
	n.wake.now()
}

func (n *Node) hasEntered() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.core.entered
}

// waitingFor says in one line what the node waits for.
func (n *Node) waitingFor() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch w := n.core.waits.now; {
	case n.diskErr != nil:
		return n.diskErr.Error()
	case len(w) == 0:
		return "waiting for the disk"
	case w[0].Slot == view.NoSlot:
		return "waiting for: " + w[0].What
	default:
		return fmt.Sprintf("waiting for: %s (slot %d)", w[0].What, w[0].Slot)
	}
}
