package fs

import (
	"context"

	"github.com/covol/covol/dlm"
)

// demote gives the lock away down to mode to. The glock is drained; only reads of pages may still come and go.
func (g *glock) demote(to dlm.Mode) {
	ok, clean := g.t.beginDemote()
	if !ok {
		g.mu.Lock()
		g.working = false // lockTable.clean pumps again
		g.mu.Unlock()
		return
	}
	defer g.t.endDemote()
	if !clean {
		if err := g.bringHome(context.Background(), to); err != nil {
			g.failLocked(err)
			return
		}
	}
	g.mu.Lock()
	if err := g.t.lm.Downgrade(g.res, to, nil); err != nil {
		g.fail(err)
	} else {
		g.mode = to
		g.working, g.demanded, g.phase = false, g.demanded && g.demandTo < to, phaseOpen
	}
	if g.mode == dlm.NL {
		g.obj = nil
	}
	g.pump()
	g.mu.Unlock()
	g.t.forget(g)
}

// bringHome closes the glock and does all that must be done before another node may have the lock.
func (g *glock) bringHome(ctx context.Context, to dlm.Mode) error {
	if to == dlm.NL {
		if err := g.emptyKernel(ctx); err != nil {
			return err
		}
	} else {
		g.mu.Lock()
		g.phase = phaseClosed
		g.mu.Unlock()
	}
	if err := g.ops.writeback(ctx, g, to); err != nil {
		return err
	}
	if to == dlm.NL {
		g.ops.drop(g)
	}
	return nil
}

// emptyKernel makes the kernel forget what it caches under the lock, then closes the glock.
//
// The kernel keeps pages locked while it waits for us to read them, and waits for these locks when told to drop pages.
// So reads of pages are served during the invalidation; if one was, its pages may be back in the cache and it is all
// done again. It closes only when no such read ran from the beginning of an invalidation to its end. Passes get
// shorter, because each finds only what was read during the one before.
func (g *glock) emptyKernel(ctx context.Context) error {
	for {
		before, err := g.waitPageReads(ctx)
		if err != nil {
			return err
		}
		if err := g.ops.invalidate(ctx, g); err != nil {
			return err
		}
		g.mu.Lock()
		if g.pageUsers == 0 && g.pageReads == before {
			g.phase = phaseClosed
			g.mu.Unlock()
			return nil
		}
		g.mu.Unlock()
	}
}

// waitPageReads returns at a moment when no page read is running, with the number of those admitted so far.
func (g *glock) waitPageReads(ctx context.Context) (uint64, error) {
	g.mu.Lock()
	for g.pageUsers > 0 {
		ev := g.t.sched.NewEvent()
		g.pageIdle = ev
		g.mu.Unlock()
		if err := ev.Wait(ctx); err != nil {
			return 0, err
		}
		g.mu.Lock()
	}
	defer g.mu.Unlock()
	return g.pageReads, nil
}

// fail ends all use of the lock; waiters get err. It holds g.mu. The cluster lock stays held: what was changed under it
// may not be home.
func (g *glock) fail(err error) {
	if g.err == nil {
		g.err = err
	}
	g.working = false
}

func (g *glock) failLocked(err error) {
	g.mu.Lock()
	g.fail(err)
	g.pump()
	g.mu.Unlock()
	g.t.onError(err)
}
