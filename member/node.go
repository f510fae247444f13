package member

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/covol/covol/cluster"
	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/dlm"
	"github.com/covol/covol/fs"
	"github.com/covol/covol/ondisk/sched"
)

// Node is one life of a node on one volume. All methods may be called at any time by anyone once Start has returned.
type Node struct {
	cfg   Config
	mem   atomic.Pointer[cluster.Node]
	begun atomic.Pointer[cluster.Node] // the same, before it has joined
	epoch atomic.Uint64
	// opened says that the filesystem was given the journal of the slot (W2).
	opened atomic.Bool
	told   sync.Once // of OnWithdraw

	mu sync.Mutex
	// GUARDED_BY(mu)
	replays []Replayed
	// GUARDED_BY(mu)
	locks *dlm.Node
	// GUARDED_BY(mu)
	net, control dlm.Transport
	// GUARDED_BY(mu)
	vol *fs.Volume
	// GUARDED_BY(mu): blocking callbacks that came before vol was there to take them
	early []demand
	// GUARDED_BY(mu): why the node can use the volume no more
	lost error
}

// Start joins the cluster of a volume and mounts the filesystem inside this process. After an error nothing of the node
// is left on the volume, or it is dead to the others.
func Start(ctx context.Context, cfg Config) (*Node, error) {
	cfg.fill()
	if cfg.Network == nil {
		return nil, errors.New("start node: it has no network")
	}
	n := &Node{cfg: cfg}
	err := n.start(ctx)
	if err == nil {
		return n, nil
	}
	if lost := n.Lost(); lost != nil {
		err = lost
	}
	n.abandon()
	return nil, err
}

func (n *Node) start(ctx context.Context) error {
	if err := n.enter(ctx); err != nil {
		return err
	}
	locks := n.LockManager()
	if locks == nil { // Network failed: Join tells of a view before it returns
		return n.Lost()
	}
	if err := locks.WaitRebuilt(ctx, n.View().Epoch); err != nil {
		return err
	}
	return n.mount(ctx, locks)
}

// enter claims a slot and returns once every journal that had to be replayed has been.
func (n *Node) enter(ctx context.Context) error {
	c := &n.cfg
	mem, err := cluster.Join(ctx, cluster.Config{
		Dev: c.Beat, Super: c.Super, Name: c.Name, Addr: c.Addr, Host: c.Host, Machine: c.Machine, Sched: c.Sched, Log: c.Log,
		Rand: c.Rand, Fencing: c.Fencing, Watchdog: c.Watchdog, OnEvent: c.OnEvent, OnView: n.onView, OnState: n.onState, Replay: n.replay,
		OnBegun: func(mem *cluster.Node) { n.begun.Store(mem); n.cfg.OnBegun(n) },
		Poke:    n.poke, Greet: n.greet,
	})
	if err != nil {
		return err
	}
	n.mem.Store(mem)
	return nil
}

// mount starts the filesystem and gives it the blocking callbacks that came too early.
func (n *Node) mount(ctx context.Context, locks *dlm.Node) error {
	mem := n.mem.Load()
	n.opened.Store(true)
	vol, err := fs.Mount(ctx, fs.Config{
		Dev: mem.Gate().Wrap(n.cfg.Data), Super: n.cfg.Super, ID: mem.ID(), Epoch: n.currentEpoch,
		Locks: n.cfg.Locks(mem.ID(), locks), Sched: n.cfg.Sched, Log: n.cfg.Log,
		CacheBytes: n.cfg.CacheBytes, IdleLocks: n.cfg.IdleLocks, OnWithdraw: n.volumeWithdrew,
	})
	if err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	n.mu.Lock()
	n.vol = vol
	early, lost := n.early, n.lost
	n.early = nil
	n.mu.Unlock()
	for _, d := range early {
		vol.Demand(d.res, d.want)
	}
	if lost != nil {
		vol.Withdraw(lost)
	}
	return lost
}

func (n *Node) currentEpoch() view.Epoch { return view.Epoch(n.epoch.Load()) }

// Volume is the filesystem.
func (n *Node) Volume() *fs.Volume {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.vol
}

// LockManager is the node's part of it, for those who ask what it does.
func (n *Node) LockManager() *dlm.Node {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.locks
}

// ID is this life of the node.
func (n *Node) ID() view.NodeID { return n.mem.Load().ID() }

// View is the view that the node has installed.
func (n *Node) View() view.View { return n.mem.Load().View() }

// Status is what the node knows of the cluster.
func (n *Node) Status() cluster.Status { return n.begun.Load().Status() }

// Fence declares another node dead on a person's word; see cluster.Node.Fence.
func (n *Node) Fence(ctx context.Context, name string) error { return n.begun.Load().Fence(ctx, name) }

// Refresh makes the node look at the view now. Before Start has returned it is looking anyway.
func (n *Node) Refresh() {
	if mem := n.mem.Load(); mem != nil {
		mem.Refresh()
	}
}

// Suspect is a hint that a node may be dead, from who cannot know. The disk is looked at sooner, nothing more.
func (n *Node) Suspect(name string) { n.mem.Load().Suspect(name) }

// Lost is why the node can use the volume no more, nil if it can.
func (n *Node) Lost() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.lost
}

// Done is set once the node has left or withdrawn and does not use Config.Beat any more.
func (n *Node) Done() sched.Event { return n.mem.Load().Done() }
