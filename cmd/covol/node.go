package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/covol/covol/cluster"
	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/dlm"
	"github.com/covol/covol/fs"
	"github.com/covol/covol/journal"
	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev/filedev"
	"github.com/covol/covol/ondisk/sched"
	"github.com/covol/covol/ondisk/volume"
)

// nodeConfig is what a node of a volume needs to be told.
type nodeConfig struct {
	Device  string
	Name    string
	Bind    string   // host:port to listen on; empty: any port of the address that fits the device
	Join    []string // addresses of nodes to tell of this one at once
	OneHost bool     // no other host sees the device
	Log     *slog.Logger
	// OnWithdraw is called once when the node can use the volume no more.
	OnWithdraw func(error)
}

// node is one node of one volume: device, membership, locks and filesystem, wired together.
//
//	cluster ──OnView──► dlm ──OnBlocking──► fs ──► gate ──► device
//	   └─── Poke over the lock manager's connections ───┘
//
// The lock manager starts with the first view, inside Join: from then on the others wait for what it has to say.
type node struct {
	cfg   nodeConfig
	super *ondisk.Super
	note  *volume.Note
	beat  *filedev.Device // heartbeats and views: a descriptor of its own
	data  *filedev.Device
	io    *counted
	peers *peers

	mem   atomic.Pointer[cluster.Node]
	epoch atomic.Uint64
	// journal says that the filesystem was given the journal of the slot.
	journal atomic.Bool
	once    sync.Once // of OnWithdraw
	stop    context.CancelCauseFunc

	mu sync.Mutex
	// GUARDED_BY(mu)
	locks *dlm.Node
	// GUARDED_BY(mu)
	vol *fs.Volume
	// GUARDED_BY(mu): blocking callbacks that came before vol was there to take them
	early []demand
	// GUARDED_BY(mu)
	lost error
}

type demand struct {
	res  dlm.Resource
	want dlm.Mode
}

// startNode joins the cluster of a volume and mounts the filesystem inside this process.
func startNode(ctx context.Context, cfg nodeConfig) (*node, error) {
	n := &node{cfg: cfg}
	ctx, n.stop = context.WithCancelCause(ctx)
	err := n.start(ctx)
	if err == nil {
		return n, nil
	}
	if cause := context.Cause(ctx); cause != nil && errors.Is(err, context.Canceled) {
		err = cause
	}
	n.abandon()
	return nil, err
}

func (n *node) start(ctx context.Context) (err error) {
	if err := n.openDevice(ctx); err != nil {
		return err
	}
	if n.peers, err = listen(n); err != nil {
		return err
	}
	if err := n.enter(ctx, n.peers.addr); err != nil {
		return err
	}
	locks := n.lockManager() // there is one: Join tells of a view before it returns
	go n.peers.announce(ctx)
	if err := locks.WaitRebuilt(ctx, n.member().View().Epoch); err != nil {
		return err
	}
	return n.mountVolume(ctx, locks)
}

func (n *node) member() *cluster.Node    { return n.mem.Load() }
func (n *node) currentEpoch() view.Epoch { return view.Epoch(n.epoch.Load()) }

func (n *node) lockManager() *dlm.Node {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.locks
}

func (n *node) volume() *fs.Volume {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.vol
}

// openDevice opens the device twice and reads the superblock.
func (n *node) openDevice(ctx context.Context) (err error) {
	if n.data, err = openDevice(n.cfg.Device, filedev.Options{OneHost: n.cfg.OneHost}); err != nil {
		return err
	}
	if n.beat, err = openDevice(n.cfg.Device, filedev.Options{OneHost: n.cfg.OneHost}); err != nil {
		return err
	}
	n.io = &counted{Device: n.data}
	if n.super, n.note, err = openSuper(ctx, n.data); err != nil {
		return err
	}
	if n.note != nil {
		n.cfg.Log.Warn("volume on a copy of its superblock", "device", n.cfg.Device, "note", n.note.String())
	}
	return nil
}

// enter claims a slot and returns once every journal that had to be replayed has been.
func (n *node) enter(ctx context.Context, addr string) error {
	machine, err := cluster.LocalMachine()
	if err != nil {
		return err
	}
	mem, err := cluster.Join(ctx, cluster.Config{
		Dev: n.beat, Super: n.super, Name: n.cfg.Name, Addr: addr, Host: n.beat, Machine: machine,
		Sched: sched.Real{}, Log: n.cfg.Log, OnView: n.onView, OnState: n.onState, Replay: n.replay, Poke: n.poke,
	})
	if err != nil {
		return joinHint(fmt.Errorf("join %s: %w", n.cfg.Device, err))
	}
	n.mem.Store(mem)
	return nil
}

func joinHint(err error) error {
	switch {
	case errors.Is(err, cluster.ErrNameInUse):
		return hint(err, "Every node needs a name of its own: choose another --node.")
	case errors.Is(err, cluster.ErrTool):
		return hint(err, "Wait until covol fsck is done, then mount again.")
	case errors.Is(err, cluster.ErrNoSlot):
		return hint(err, "Unmount another node first. How many may be in is decided by mkfs --slots.")
	case errors.Is(err, cluster.ErrSecondNode):
		return hint(err, "If no other host sees this device, say so with --one-host, on every node.")
	}
	return err
}

// replay brings home what a dead owner of a slot left in its journal.
func (n *node) replay(ctx context.Context, gate *cluster.Gate, slot view.Slot) error {
	stats, err := journal.Replay(ctx, gate.Wrap(n.io), n.super, slot, journal.ReplayOptions{Sched: sched.Real{}, Log: n.cfg.Log})
	if err != nil || stats.Clean {
		return err
	}
	n.cfg.Log.Info("journal replayed", "slot", slot, "transactions", stats.Groups, "blocks", stats.Applied)
	return nil
}

// mountVolume starts the filesystem and gives it the blocking callbacks that came too early.
func (n *node) mountVolume(ctx context.Context, locks *dlm.Node) error {
	mem := n.member()
	n.journal.Store(true)
	vol, err := fs.Mount(ctx, fs.Config{
		Dev: mem.Gate().Wrap(n.io), Super: n.super, ID: mem.ID(), Epoch: n.currentEpoch, Locks: locks,
		Sched: sched.Real{}, Log: n.cfg.Log, OnWithdraw: n.withdrawn,
	})
	if err != nil {
		return fmt.Errorf("mount %s: %w", n.cfg.Device, err)
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

// demand is the blocking callback of the lock manager. None may be lost: it is not repeated.
func (n *node) demand(r dlm.Resource, want dlm.Mode) {
	n.mu.Lock()
	vol := n.vol
	if vol == nil {
		n.early = append(n.early, demand{r, want})
	}
	n.mu.Unlock()
	if vol != nil {
		vol.Demand(r, want)
	}
}
