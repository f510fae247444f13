package fs

import (
	"context"
	"sync"
	"time"

	"github.com/covol/covol/dlm"
	"github.com/covol/covol/ondisk/sched"
)

// use is how an operation uses a glock.
type use uint8

const (
	useShared use = iota + 1 // cluster PR or better; many at once
	useWrite                 // cluster EX; many at once
	useExcl                  // cluster EX; alone on this node
)

// mode is the cluster mode that u needs.
func (u use) mode() dlm.Mode {
	if u == useShared {
		return dlm.PR
	}
	return dlm.EX
}

// phase is how far the lock is on its way to another node.
type phase uint8

const (
	phaseOpen     phase = iota // nobody asks, or it may still be kept
	phaseDraining              // users leave, no new ones but reads of pages
	phaseClosed                // no users at all: being written back and given away
)

// glock is this node's cached hold of one cluster lock.
//
//	          acquire                      demand (blocking callback)
//	NL ───────────────► PR/EX, open ─────────────────────────────► draining ──► closed ──► PR or NL, open
//	          keepAcquiring                  expire (hold time)        demote       demote
//
// Waiters are served first come, first served, and after a demotion they ask the cluster again, so that another node
// gets its turn.
type glock struct {
	t   *lockTable
	res dlm.Resource
	ops glops

	mu sync.Mutex
	// All below GUARDED_BY(mu).
	mode      dlm.Mode // held in the cluster
	shared    int      // local users, reads of pages included
	writers   int
	excl      bool
	pageUsers int         // of shared
	pageReads uint64      // grows with every page read admitted
	pageIdle  sched.Event // set when the last page read ends; nil unless emptyKernel waits for that
	uses      uint64      // grows with every use
	waiters   []*lockWaiter
	working   bool // a procedure of this glock runs: acquire or demote
	phase     phase
	demanded  bool     // somebody asks
	demandTo  dlm.Mode // what we may keep at most
	grantedAt time.Duration
	hold      time.Duration // how long to keep the lock after a grant though somebody asks; adapts
	usesSeen  uint64        // uses when the timer of the hold time last looked
	ticking   bool          // that timer runs
	err       error         // the lock cannot be had or given any more: the volume is withdrawing
	obj       any           // what the node caches under the lock; dropped on the way to NL
}

type lockWaiter struct {
	use  use
	page bool
	ev   sched.Event
	ok   bool
	err  error
}

// hold is one local use of a glock. The zero hold is none.
type hold struct {
	g    *glock
	use  use
	page bool
	ref  bool // unlock gives a reference back to the table
}

// lock waits until the glock can be used. page marks a read into the kernel's page cache: it is admitted while the
// lock is draining. The error is ctx.Err(), or why the volume is withdrawing.
func (g *glock) lock(ctx context.Context, u use, page bool) (hold, error) {
	g.mu.Lock()
	if g.admits(u, page) && (len(g.waiters) == 0 || page) {
		g.admit(u, page)
		g.mu.Unlock()
		return hold{g: g, use: u, page: page}, nil
	}
	if g.err != nil {
		defer g.mu.Unlock()
		return hold{}, g.err
	}
	ev := g.t.sched.NewEvent()
	w := &lockWaiter{use: u, page: page, ev: ev}
	g.waiters = append(g.waiters, w)
	g.pump()
	g.mu.Unlock()

	err := ev.Wait(ctx)
	g.mu.Lock()
	defer g.mu.Unlock()
	if w.ok {
		if err != nil {
			g.leave(u, page)
			return hold{}, err
		}
		return hold{g: g, use: u, page: page}, nil
	}
	if w.err != nil {
		return hold{}, w.err
	}
	for i, q := range g.waiters {
		if q == w {
			g.waiters = append(g.waiters[:i], g.waiters[i+1:]...)
			break
		}
	}
	g.pump()
	return hold{}, err
}

// tryLock uses the glock if that needs neither waiting on this node nor waiting for another node. With remote it may
// ask the cluster once, without queueing. It reports false if the lock is busy.
func (g *glock) tryLock(ctx context.Context, u use, remote bool) (hold, bool, error) {
	g.mu.Lock()
	switch {
	case g.err != nil:
		defer g.mu.Unlock()
		return hold{}, false, g.err
	case g.admits(u, false) && len(g.waiters) == 0:
		g.admit(u, false)
		g.mu.Unlock()
		return hold{g: g, use: u}, true, nil
	case !remote || g.working || g.phase != phaseOpen || len(g.waiters) > 0 || g.mode >= u.mode():
		g.mu.Unlock()
		return hold{}, false, nil
	}
	g.working = true
	g.mu.Unlock()
	grant, err := g.t.lm.Lock(ctx, g.res, u.mode(), dlm.Options{NoQueue: true})
	g.mu.Lock()
	defer g.mu.Unlock()
	g.working = false
	if err != nil {
		g.pump()
		if isBusy(err) {
			return hold{}, false, nil
		}
		return hold{}, false, err
	}
	g.granted(grant)
	ok := g.admits(u, false)
	if ok {
		g.admit(u, false)
	}
	g.pump()
	return hold{g: g, use: u}, ok, nil
}

// unlock ends the use.
func (h hold) unlock() {
	h.g.mu.Lock()
	h.g.leave(h.use, h.page)
	h.g.mu.Unlock()
	if h.ref {
		h.g.t.put(h.g)
	}
}

// admits says whether u could begin now, queue aside.
func (g *glock) admits(u use, page bool) bool {
	if g.err != nil || g.mode < u.mode() || g.excl {
		return false
	}
	if u == useExcl && (g.shared > 0 || g.writers > 0) {
		return false
	}
	return g.phase == phaseOpen || (page && g.phase == phaseDraining)
}

func (g *glock) admit(u use, page bool) {
	g.uses++
	switch u {
	case useShared:
		g.shared++
		if page {
			g.pageUsers++
			g.pageReads++
		}
	case useWrite:
		g.writers++
	case useExcl:
		g.excl = true
	}
}

func (g *glock) leave(u use, page bool) {
	switch u {
	case useShared:
		g.shared--
		if page {
			g.pageUsers--
			if g.pageUsers == 0 && g.pageIdle != nil {
				g.pageIdle.Set()
				g.pageIdle = nil
			}
		}
	case useWrite:
		g.writers--
	case useExcl:
		g.excl = false
	}
	g.pump()
}

// pump lets in who can be let in, and starts what must be started. It holds g.mu and never waits.
func (g *glock) pump() {
	if len(g.waiters) == 0 && !g.demanded {
		return
	}
	for i := 0; i < len(g.waiters); {
		w := g.waiters[i]
		switch {
		case g.err != nil:
			w.err = g.err
		case g.admits(w.use, w.page) && (i == 0 || w.page):
			g.admit(w.use, w.page)
			w.ok = true
		default:
			i++
			continue
		}
		g.waiters = append(g.waiters[:i], g.waiters[i+1:]...)
		w.ev.Set()
	}
	if g.err != nil || g.working {
		return
	}
	if g.demanded && g.phase == phaseOpen {
		g.considerDemand()
	}
	if g.phase == phaseDraining && g.drained() {
		g.working = true
		to := g.demandTo
		g.t.sched.Go("glock demote", func() { g.demote(to) })
		return
	}
	if len(g.waiters) > 0 && g.phase == phaseOpen && g.mode < g.waiters[0].use.mode() {
		g.working = true
		want := g.waiters[0].use.mode()
		g.t.sched.Go("glock acquire", func() { g.acquire(want) })
	}
}

// drained reports whether nobody is left who needs more than what may be kept.
func (g *glock) drained() bool {
	if g.excl || g.writers > 0 {
		return false
	}
	return g.demandTo == dlm.PR || g.shared == g.pageUsers
}

// acquire asks the cluster for want and lets the waiters in.
func (g *glock) acquire(want dlm.Mode) {
	ctx := context.Background()
	grant, err := g.t.lm.Lock(ctx, g.res, want, dlm.Options{})
	g.mu.Lock()
	defer g.mu.Unlock()
	g.working = false
	switch {
	case err == nil:
		g.granted(grant)
	case isDeadlock(err):
		// Another holder of PR wants EX as well and came first: step back to NL, then ask anew.
		g.demanded, g.demandTo, g.phase = true, dlm.NL, phaseDraining
	default:
		g.fail(err)
	}
	g.pump()
}

func (g *glock) granted(grant dlm.Grant) {
	now := g.t.sched.Now()
	g.mode = grant.Mode
	g.grantedAt = now
}

// demand is the blocking callback: another node wants want.
func (g *glock) demand(want dlm.Mode) {
	to := dlm.NL
	if want <= dlm.PR {
		to = dlm.PR
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err != nil || (g.mode <= to && !g.working) {
		return
	}
	if !g.demanded {
		g.adaptHold()
	}
	if !g.demanded || to < g.demandTo {
		g.demandTo = to
	}
	g.demanded = true
	g.pump()
}

// Bounds of the hold time. Nodes that keep taking a lock from each other get longer turns, all of the same length, so
// that work is done between two hand-overs; a lock that is asked for long after it was granted is given at once.
const (
	minHold   = 10 * time.Millisecond
	maxHold   = 100 * time.Millisecond
	contentIn = 250 * time.Millisecond // asked for within this of the grant: contended
	tickEvery = time.Millisecond       // how often a lock that is kept is looked at for use
)

// adaptHold sets the hold time when somebody begins to ask. It holds g.mu.
func (g *glock) adaptHold() {
	if g.t.sched.Now()-g.grantedAt > contentIn {
		g.hold = 0
		return
	}
	g.hold = min(max(2*g.hold, minHold), maxHold)
}

// considerDemand lets the demotion begin, or starts a timer if the lock may still be kept. It holds g.mu.
func (g *glock) considerDemand() {
	switch {
	case g.mode <= g.demandTo:
		g.demanded = false
	case g.ticking:
	case g.t.sched.Now() >= g.grantedAt+g.hold:
		g.phase = phaseDraining
	default:
		g.tick()
	}
}

// tick looks again after a while whether the lock may be given away: it is when its hold time is over, or when nobody
// used it since the last look. It holds g.mu.
func (g *glock) tick() {
	g.ticking = true
	g.usesSeen = g.uses
	g.t.sched.AfterFunc(tickEvery, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.ticking = false
		if g.uses == g.usesSeen {
			g.grantedAt -= g.hold
		}
		g.pump()
	})
}

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
