package member

import (
	"io"
	"log/slog"

	"github.com/covol/covol/cluster"
	"github.com/covol/covol/cluster/fence"
	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/dlm"
	"github.com/covol/covol/fs"
	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/sched"
)

// Config is what a node is given. Fields are read-only after Start. The devices stay the caller's: the node closes
// neither, and uses none after Leave has returned, or after Done is set.
type Config struct {
	Data  blockdev.Device // journal and files; the node puts its gate before it
	Beat  blockdev.Device // heartbeats and views: a path of its own, as cluster.Config.Dev
	Super *ondisk.Super
	Name  string // unique on the volume
	Addr  string // where other nodes reach Network
	// Host is nil if the device offers no locks of the host.
	Host    cluster.HostLocks
	Machine cluster.Machine
	Sched   sched.Scheduler
	Log     *slog.Logger // nil: slog.Default()
	Rand    io.Reader    // nil: crypto/rand
	// Fencing are the methods by which this node proves others dead, as cluster.Config has them.
	Fencing []fence.Method
	// Watchdog resets this host if the node hangs or loses its lease. Nil: nothing does.
	Watchdog cluster.Watchdog
	// Network is called once, when it is known who we are.
	Network Network

	CacheBytes int64 // as fs.Config
	IdleLocks  int   // as fs.Config
	// Locks puts something between filesystem and lock manager, to count or to watch; nil for nothing.
	Locks func(view.NodeID, fs.LockManager) fs.LockManager

	// OnBegun is given the node while Start still works on it. Until Start has returned only Status and Fence may be used.
	OnBegun func(*Node)
	// OnView tells of each view before the lock manager learns of it, after Network. It must not block, nor call Leave.
	OnView func(view.View)
	// OnState tells of each change of state, one call at a time. It must not block, nor call Leave or Kill.
	OnState func(cluster.State, cluster.Reason)
	// OnReplay tells of each journal that had to be brought home, and was. It must not block.
	OnReplay func(Replayed)
	// OnEvent tells of what happens to the nodes of the volume, as cluster.Config.OnEvent.
	OnEvent func(cluster.Event)
	// OnWithdraw is called once if the node can use the volume no more. It must not block.
	OnWithdraw func(error)
}

// Network opens the ways to the other nodes as the given life of this one: one for the lock manager, one for control
// messages. The node names their receivers, tells them the members, and closes both. refresh makes the node look at
// the view now; the network calls it when it meets someone it does not know.
type Network func(self view.NodeID, refresh func()) (locks, control dlm.Transport, err error)

func (c *Config) fill() {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.OnBegun == nil {
		c.OnBegun = func(*Node) {}
	}
	if c.OnView == nil {
		c.OnView = func(view.View) {}
	}
	if c.OnState == nil {
		c.OnState = func(cluster.State, cluster.Reason) {}
	}
	if c.OnReplay == nil {
		c.OnReplay = func(Replayed) {}
	}
	if c.OnWithdraw == nil {
		c.OnWithdraw = func(error) {}
	}
	if c.Locks == nil {
		c.Locks = func(_ view.NodeID, l fs.LockManager) fs.LockManager { return l }
	}
}
