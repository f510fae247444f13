package fs

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/dlm"
	"github.com/covol/covol/journal"
	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/sched"
)

// Config is what a mount is given. Dev must be behind the gate of the cluster: fs writes nowhere else.
type Config struct {
	Dev   blockdev.Device
	Super *ondisk.Super
	ID    view.NodeID
	// Epoch is the epoch that the node has installed, stamped on every metadata block (C3).
	Epoch func() view.Epoch
	Locks LockManager
	Sched sched.Scheduler
	Log   *slog.Logger
	// CacheBytes bounds clean metadata in memory; 0 for the journal's default.
	CacheBytes int64
	// IdleLocks bounds the cluster locks kept without use; 0 for a default.
	IdleLocks int
	// OnWithdraw is told once why the node has stopped using the volume.
	OnWithdraw func(error)
}

// defaultIdleLocks is how many cluster locks a node keeps without using them.
const defaultIdleLocks = 100_000

// Volume is a volume as mounted by this node. All methods may be called concurrently.
type Volume struct {
	store
	cfg      Config
	known    known
	orphans  *orphans
	jobs     *workers
	notifier atomic.Pointer[Notifier]

	mu sync.Mutex
	// GUARDED_BY(mu)
	withdrawn error
}

// Mount opens the volume for a node whose slot is claimed and whose journal is clean. Work that an earlier life of the
// slot left behind (deleted files, deferred frees) goes on in the background.
func Mount(ctx context.Context, cfg Config) (*Volume, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.IdleLocks == 0 {
		cfg.IdleLocks = defaultIdleLocks
	}
	v := &Volume{cfg: cfg, known: known{m: map[Ino]*reference{}}}
	v.store = store{dev: cfg.Dev, sb: cfg.Super, slot: cfg.ID.Slot, sched: cfg.Sched, log: cfg.Log}
	v.locks = newLockTable(cfg.Locks, cfg.Sched, cfg.IdleLocks, v.opsFor, v.Withdraw)
	v.jobs = newWorkers(cfg.Sched, cfg.Log)
	v.orphans = &orphans{v: v, lock: sched.NewLock(cfg.Sched), jobs: v.jobs}
	j, err := journal.Open(ctx, journal.Config{
		Dev: cfg.Dev, Super: cfg.Super, Slot: cfg.ID.Slot, Incarnation: cfg.ID.Incarnation, Epoch: cfg.Epoch,
		Sched: cfg.Sched, Log: cfg.Log, CacheBytes: cfg.CacheBytes, OnError: v.Withdraw,
	})
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	v.j = j
	if err := v.start(ctx); err != nil {
		j.Kill()
		return nil, err
	}
	return v, nil
}

// start makes the allocator and takes up what an earlier life of the slot left.
func (v *Volume) start(ctx context.Context) error {
	alloc, err := newAllocator(ctx, &v.store)
	if err != nil {
		return fmt.Errorf("start allocator: %w", err)
	}
	v.alloc = alloc
	pending, err := v.orphans.pending(ctx)
	if err != nil {
		return err
	}
	for _, ino := range slices.Sorted(maps.Keys(pending)) {
		v.orphans.reclaimSoon(ino, pending[ino])
	}
	return nil
}

// Demand is the blocking callback of the lock manager; it does not block.
func (v *Volume) Demand(r dlm.Resource, want dlm.Mode) { v.locks.demand(r, want) }

// SetNotifier names the transport that can empty the kernel's caches; nil when there is none any more.
func (v *Volume) SetNotifier(n Notifier) {
	if n == nil {
		v.notifier.Store(nil)
		return
	}
	v.notifier.Store(&n)
}

// Withdraw stops all use of the volume by this node, because it cannot be sure any more: a write ended with an error, a
// lock could not be given away, or the cluster says that the node is out. Nothing is written any more; operations
// return ErrWithdrawn. Only the first reason counts.
func (v *Volume) Withdraw(reason error) {
	v.mu.Lock()
	if v.withdrawn != nil {
		v.mu.Unlock()
		return
	}
	err := fmt.Errorf("%w: %w", ErrWithdrawn, reason)
	v.withdrawn = err
	v.mu.Unlock()
	v.log.Error("volume withdrawn", "reason", reason)
	if v.j != nil {
		v.j.Kill()
	}
	v.alloc.kill(err)
	v.locks.fail(err)
	if v.cfg.OnWithdraw != nil {
		v.cfg.OnWithdraw(reason)
	}
}

// failed is why the volume is withdrawn, nil if it is not.
func (v *Volume) failed() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.withdrawn
}

// Unmount brings everything home and marks the journal clean. No operation may be running or follow. The cluster locks
// are still held afterwards; the caller lets the lock manager leave.
func (v *Volume) Unmount(ctx context.Context) error {
	v.notifier.Store(nil)
	if err := v.jobs.stop(ctx); err != nil {
		return err
	}
	if err := v.failed(); err != nil {
		return err
	}
	if err := v.alloc.close(ctx); err != nil {
		return fmt.Errorf("close allocator: %w", err)
	}
	for _, g := range v.locks.all() {
		if n := g.inode(); n != nil {
			if err := v.writeTimes(ctx, n); err != nil {
				return fmt.Errorf("write times of inode %d: %w", g.res.ID, err)
			}
		}
	}
	if err := v.locks.closing(ctx); err != nil {
		return err
	}
	if err := v.j.Close(ctx); err != nil {
		return fmt.Errorf("close journal: %w", err)
	}
	v.locks.clean()
	return nil
}

// SyncAll makes everything stable that was changed on this node.
func (v *Volume) SyncAll(ctx context.Context) error {
	if err := v.failed(); err != nil {
		return err
	}
	return v.j.SyncData(ctx)
}
