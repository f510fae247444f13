package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/covol/covol/cluster"
	"github.com/covol/covol/cmd/covol/internal/events"
	"github.com/covol/covol/iscsi/reserve"
	"github.com/covol/covol/member"
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
	// Fence is how this node proves others dead, empty: auto. Watchdog is a device, empty: none.
	Fence    fencing
	Watchdog string
	Secure   security // how nodes know each other
	// StateDir is where the node keeps its events; empty or noState: nowhere.
	StateDir string
	Log      *slog.Logger
	// OnOpen is called with the node once its device is open and the volume known.
	OnOpen func(*node)
	// OnEvent takes what happens. It must not block. Nil: nobody is told.
	OnEvent func(events.Event)
	// OnWithdraw is called once when the node can use the volume no more.
	OnWithdraw func(error)
}

// node is a member of one volume with its device and its sockets.
type node struct {
	*member.Node
	cfg   nodeConfig
	super *ondisk.Super
	note  *volume.Note
	beat  device // heartbeats and views: a descriptor of its own
	data  device
	io    *counted // over data
	views disk     // over beat
	weak  string   // why there is no fencing by reservations where there might be; set before joining
	peers *peers
	up    atomic.Pointer[member.Node] // Node, while it joins already
}

// startNode joins the cluster of a volume and mounts the filesystem inside this process.
func startNode(ctx context.Context, cfg nodeConfig) (*node, error) {
	n := &node{cfg: cfg}
	if err := n.start(ctx); err != nil {
		n.closeAll()
		return nil, err
	}
	return n, nil
}

func (n *node) start(ctx context.Context) (err error) {
	if err := n.openDevice(ctx); err != nil {
		return err
	}
	if n.peers, err = listen(n); err != nil {
		return err
	}
	if n.cfg.OnOpen != nil {
		n.cfg.OnOpen(n)
	}
	if err := n.peers.probe(ctx); err != nil {
		return err
	}
	c, err := n.memberConfig(ctx, n.peers.addr)
	if err != nil {
		return err
	}
	c.Network, c.OnView, c.OnReplay = n.peers.start, n.peers.onView, n.replayed
	c.OnBegun, c.OnEvent = n.up.Store, n.happened
	if n.Node, err = member.Start(ctx, c); err != nil {
		return joinHint(fmt.Errorf("%s: %w", shown(n.cfg.Device), err))
	}
	n.peers.member.Store(n.Node)
	return nil
}

// openDevice opens the device twice and reads the superblock.
func (n *node) openDevice(ctx context.Context) (err error) {
	if n.data, err = openDevice(n.cfg.Device, filedev.Options{OneHost: n.cfg.OneHost}); err != nil {
		return err
	}
	if n.beat, err = openDevice(n.cfg.Device, filedev.Options{OneHost: n.cfg.OneHost}); err != nil {
		return err
	}
	data, beat, err := faultPaths(n.data, n.beat, n.cfg.Log)
	if err != nil {
		return err
	}
	n.io, n.views = &counted{disk: data}, beat
	if n.super, n.note, err = openSuper(ctx, n.data); err != nil {
		return err
	}
	if remote, ok := n.data.(remoteDevice); ok {
		ask := n.mayRepeat
		remote.begin.Store(&ask)
	}
	if n.note != nil {
		n.cfg.Log.Warn("volume on a copy of its superblock", "device", shown(n.cfg.Device), "note", n.note.String())
	}
	return nil
}

// memberConfig is the part of the wiring that all uses of a volume share.
func (n *node) memberConfig(ctx context.Context, addr string) (member.Config, error) {
	machine, err := cluster.LocalMachine()
	if err != nil {
		return member.Config{}, err
	}
	c := member.Config{
		Data: n.io, Beat: n.views, Super: n.super, Name: n.cfg.Name, Addr: addr, Machine: machine,
		Sched: sched.Real{}, Log: n.cfg.Log, Watchdog: watchdogOf(n.cfg.Watchdog), OnWithdraw: n.cfg.OnWithdraw,
	}
	pr, err := registrationsOf(ctx, n.beat, n.data)
	if err != nil {
		return c, fmt.Errorf("%s: %w", shown(n.cfg.Device), err)
	}
	if n.cfg.Fence.auto() && errors.Is(pr.why, reserve.ErrUnfit) {
		n.weak = pr.why.Error()
		n.cfg.Log.Warn("fencing by the lease alone", "device", shown(n.cfg.Device), "why", n.weak)
	}
	err = n.cfg.Fence.choose(&c, n.beat.hostLocks(), pr)
	return c, err
}

func joinHint(err error) error {
	switch {
	case errors.Is(err, cluster.ErrNameInUse):
		return hint(err, "Every node needs a name of its own: choose another --node.")
	case errors.Is(err, cluster.ErrTool):
		return hint(err, "Wait until covol fsck is done, then mount again.")
	case errors.Is(err, cluster.ErrNoSlot):
		return hint(err, "Unmount another node first. How many may be in is decided by mkfs --slots.")
	case errors.Is(err, cluster.ErrMixed):
		return hint(err, "All nodes must reach the device in the same way: with --one-host on every node or on none, and all by paths that compare and swap or none.")
	}
	return err
}

// leave gives everything up: files home, locks, slot, connections, device.
func (n *node) leave(ctx context.Context) error {
	err := n.Leave(ctx)
	n.closeAll()
	return err
}

// closeAll closes connections and devices.
func (n *node) closeAll() {
	if n.peers != nil {
		n.peers.close()
	}
	if n.data != nil {
		_ = n.data.Close()
	}
	if n.beat != nil {
		_ = n.beat.Close()
	}
}
