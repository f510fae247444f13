package cluster

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/covol/covol/cluster/fence"
	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/sched"
)

// HostLocks are locks of this host's kernel on numbered bytes of the device, dropped by the kernel when their
// holder dies. filedev.Device has them. All nodes of one host must reach the same inode.
type HostLocks interface {
	// LockByte takes byte n; without wait a byte that is taken is an error.
	LockByte(n int64, wait bool) error
	// UnlockByte gives byte n back.
	UnlockByte(n int64) error
	// ByteLocked reports whether anyone on this host holds byte n.
	ByteLocked(n int64) (bool, error)
}

// Machine is where a node runs.
type Machine struct {
	Host [16]byte // machine-id
	Boot [16]byte // random id of this boot of the kernel
	Pid  uint32
}

// Config is what a node needs to join. Fields are read-only after Join.
type Config struct {
	// Dev is a path to the device for heartbeats and views alone: not behind the gate, and with a file descriptor
	// of its own, so that data in flight cannot starve it.
	Dev   blockdev.Device
	Super *ondisk.Super
	Name  string // unique on the volume, at most ondisk.NameSize bytes
	Addr  string // host:port of the lock manager, at most ondisk.AddrSize bytes
	// Host is nil if the device offers no locks of the host; then the death of a neighbour is proven by waiting only.
	Host    HostLocks
	Machine Machine // LocalMachine() in production
	Sched   sched.Scheduler
	Log     *slog.Logger // nil: slog.Default()
	Rand    io.Reader    // nil: crypto/rand
	// Fencing are the methods by which this node proves others dead, best first. nil: the lock of the host, if there is
	// Host, and the lease.
	Fencing []fence.Method
	// Watchdog resets this host if the node hangs or loses its lease. Nil: nothing does.
	Watchdog Watchdog
	// NoTakeover is for tools that must not replay the journals of others: a member that died stays in Recovering until
	// it is mounted again, or another node recovers it. A first mounter recovers everybody all the same.
	NoTakeover bool

	// OnBegun is given the node before it has joined, so that its Status can be seen while Join waits, and Fence can help
	// it on. Nil: nobody wants to know.
	OnBegun func(*Node)
	// OnView tells of a new view, in order of epochs, some may be skipped. A member that is dead already may have
	// neither name nor address. The node does nothing in the new epoch
	// before it returns. It is not called for views that do not contain this node. It must not call Leave or Kill.
	OnView func(view.View)
	// OnState tells of each change of state, in order, one call at a time. Do not call Leave or Kill inside.
	OnState func(State, Reason)
	// OnEvent tells of what happens to the nodes of the volume, in order, one call at a time, on a procedure of its own.
	// Nobody waits for it; if it falls far behind, events are dropped. Nil: nobody listens.
	OnEvent func(Event)
	// Replay brings the journal of slot home and leaves it clean; with a clean journal it does nothing. All its writes
	// must go through gate.Wrap: the lease of this node covers them. Nil: there are no journals.
	Replay func(ctx context.Context, gate *Gate, slot view.Slot) error
	// Greet sends the members a sign of life over the network, whose arrival they tell their nodes by Heard. It is called
	// every heartbeat and must not block. Nil: this node does not say whom it hears, and nobody is put out for not
	// hearing it.
	Greet func(members []view.Member)
	// Poke tells the members to call Refresh now. It must not block. Nil: they notice within a heartbeat.
	Poke func(members []view.Member)
}

func (c *Config) check() error {
	switch {
	case c.Dev == nil || c.Super == nil || c.Sched == nil:
		return errors.New("join: Dev, Super and Sched are needed")
	case c.Name == "":
		return errors.New("join: the node needs a name")
	case len(c.Name) > ondisk.NameSize:
		return fmt.Errorf("join: node name of %d bytes, at most %d", len(c.Name), ondisk.NameSize)
	case len(c.Addr) > ondisk.AddrSize:
		return fmt.Errorf("join: address of %d bytes, at most %d", len(c.Addr), ondisk.AddrSize)
	}
	for _, r := range c.Name {
		if r <= ' ' || r == 0x7f {
			return fmt.Errorf("join: node name %q has blanks or control characters", c.Name)
		}
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	if c.OnBegun == nil {
		c.OnBegun = func(*Node) {}
	}
	if c.OnView == nil {
		c.OnView = func(view.View) {}
	}
	if c.OnState == nil {
		c.OnState = func(State, Reason) {}
	}
	if c.Replay == nil {
		c.Replay = func(context.Context, *Gate, view.Slot) error { return nil }
	}
	if c.Poke == nil {
		c.Poke = func([]view.Member) {}
	}
	if c.Host == nil {
		// Whoever sees our ids believes that we hold the lock of our slot.
		c.Machine.Host, c.Machine.Boot = [16]byte{}, [16]byte{}
	}
	if c.Fencing == nil {
		if c.Host != nil {
			c.Fencing = append(c.Fencing, fence.HostLock{Locks: c.Host, Host: c.Machine.Host, Boot: c.Machine.Boot})
		}
		c.Fencing = append(c.Fencing, fence.Lease{Wait: c.Super.Profile.Wait()})
	}
	return nil
}
