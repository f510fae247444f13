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
