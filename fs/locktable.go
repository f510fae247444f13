package fs

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/covol/covol/dlm"
	"github.com/covol/covol/ondisk/sched"
)

// LockManager is what fs needs of the lock manager; *dlm.Node is one.
type LockManager interface {
	// Lock acquires r, or converts what is held up to m. With NoQueue it returns dlm.ErrBusy at once if another node
	// stands in the way; dlm.ErrDeadlock if a conversion could never be granted.
	Lock(ctx context.Context, r dlm.Resource, m dlm.Mode, o dlm.Options) (dlm.Grant, error)
	// Downgrade converts down to m, NL to give r back. It does not wait.
	Downgrade(r dlm.Resource, m dlm.Mode, value []byte) error
}

// glops is what a kind of glock does when it is given away. All are called without users on the glock, one at a time
// per glock. An error withdraws the volume.
type glops interface {
	// invalidate empties the kernel's caches of what the lock covers. Page reads may run meanwhile.
	invalidate(ctx context.Context, g *glock) error
	// writeback brings home all that was changed under the lock and makes it stable (J2).
	writeback(ctx context.Context, g *glock, to dlm.Mode) error
	// drop forgets all that was cached under the lock.
	drop(g *glock)
}

func isBusy(err error) bool     { return errors.Is(err, dlm.ErrBusy) }
func isDeadlock(err error) bool { return errors.Is(err, dlm.ErrDeadlock) }

// lockTable holds the glocks of a volume: those in use, and those that the node still holds in the cluster.
type lockTable struct {
	lm      LockManager
	sched   sched.Scheduler
	ops     func(dlm.Resource) glops
	onError func(error) // withdraws the volume
	limit   int         // idle glocks to keep

	mu sync.Mutex
	// GUARDED_BY(mu)
	locks map[dlm.Resource]*tableEntry
	// GUARDED_BY(mu): least recently released first
	idle idleList
	// GUARDED_BY(mu): why no lock can be had any more
	err error
	// GUARDED_BY(mu): see closing
	phase    closingPhase
	demoting int
	quiet    sched.Event
}

// closingPhase is how far the unmount of the volume is. Locks are given away until it begins, wait while the journal
// is closed, and after that are given away as they are: everything is home.
type closingPhase uint8

const (
	tableOpen closingPhase = iota
	tableClosing
	tableClean
)

type tableEntry struct {
	g          *glock
	refs       int
	prev, next *tableEntry // in idle while refs is 0
}

// newLockTable makes an empty table. ops tells what each kind of lock does on demotion.
func newLockTable(lm LockManager, s sched.Scheduler, limit int, ops func(dlm.Resource) glops, onError func(error)) *lockTable {
	t := &lockTable{lm: lm, sched: s, ops: ops, onError: onError, limit: limit, locks: map[dlm.Resource]*tableEntry{}}
	t.idle.init()
	return t
}

// get returns the glock of res with a reference that put gives back.
func (t *lockTable) get(res dlm.Resource) *glock {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.locks[res]
	if e == nil {
		e = &tableEntry{g: &glock{t: t, res: res, ops: t.ops(res), err: t.err}}
		t.locks[res] = e
	} else if e.refs == 0 {
		t.idle.remove(e)
	}
	e.refs++
	return e.g
}

// put gives a reference back. The glock stays while the node holds it in the cluster, up to the limit of idle ones.
func (t *lockTable) put(g *glock) {
	t.mu.Lock()
	e := t.locks[g.res]
	e.refs--
	var victim *glock
	if e.refs == 0 {
		t.idle.push(e)
		victim = t.surplusLocked()
	}
	t.mu.Unlock()
	if victim != nil {
		t.release(victim)
	}
}

// surplusLocked is the glock that was idle longest, if there are more than the limit. It is moved behind the others, so
// that the next look does not find it again while it is being given away.
func (t *lockTable) surplusLocked() *glock {
	if t.idle.n <= t.limit {
		return nil
	}
	e := t.idle.head.next
	t.idle.remove(e)
	t.idle.push(e)
	return e.g
}

// release begins to give an idle glock back to the cluster, or forgets it if it is not held.
func (t *lockTable) release(g *glock) {
	g.mu.Lock()
	held := g.mode != dlm.NL || g.working
	if held && !g.demanded && g.err == nil {
		g.demanded, g.demandTo, g.hold = true, dlm.NL, 0
		g.pump()
	}
	g.mu.Unlock()
	if !held {
		t.forget(g)
	}
}

// forget removes a glock that nobody uses and that is not held, and goes on with the next surplus one: those that were
// found while they were busy are found again.
func (t *lockTable) forget(g *glock) {
	if victim := t.removed(g); victim != nil {
		t.release(victim)
	}
}

func (t *lockTable) removed(g *glock) (next *glock) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.locks[g.res]
	if e == nil || e.g != g || e.refs > 0 {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.mode != dlm.NL || g.working || len(g.waiters) > 0 {
		return nil
	}
	t.idle.remove(e)
	delete(t.locks, g.res)
	return t.surplusLocked()
}

// lock waits for the glock of res; unlock gives the reference back too.
func (t *lockTable) lock(ctx context.Context, res dlm.Resource, u use) (hold, error) {
	g := t.get(res)
	h, err := g.lock(ctx, u, false)
	if err != nil {
		t.put(g)
		return hold{}, err
	}
	h.ref = true
	return h, nil
}

// tryLock is glock.tryLock on res; unlock gives the reference back too.
func (t *lockTable) tryLock(ctx context.Context, res dlm.Resource, u use, remote bool) (hold, bool, error) {
	g := t.get(res)
	h, ok, err := g.tryLock(ctx, u, remote)
	if !ok || err != nil {
		t.put(g)
		return hold{}, false, err
	}
	h.ref = true
	return h, true, nil
}

// demand is the blocking callback of the lock manager: another node wants res in mode want.
func (t *lockTable) demand(res dlm.Resource, want dlm.Mode) {
	t.mu.Lock()
	e := t.locks[res]
	t.mu.Unlock()
	if e != nil {
		e.g.demand(want)
	}
}

// beginDemote asks whether a lock may be given away now, and whether everything is home already. If it may, endDemote
// must follow.
func (t *lockTable) beginDemote() (ok, clean bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.phase == tableClosing {
		return false, false
	}
	t.demoting++
	return true, t.phase == tableClean
}

func (t *lockTable) endDemote() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.demoting--
	if t.demoting == 0 && t.quiet != nil {
		t.quiet.Set()
	}
}

// closing stops the giving away of locks and waits until none is being given away.
func (t *lockTable) closing(ctx context.Context) error {
	t.mu.Lock()
	t.phase = tableClosing
	ev := t.sched.NewEvent()
	t.quiet = ev
	if t.demoting == 0 {
		ev.Set()
	}
	t.mu.Unlock()
	return ev.Wait(ctx)
}

// clean lets locks go as they are: the journal is closed, everything is home.
func (t *lockTable) clean() {
	t.mu.Lock()
	t.phase = tableClean
	t.mu.Unlock()
	for _, g := range t.all() {
		g.mu.Lock()
		g.pump()
		g.mu.Unlock()
	}
}

// fail ends all use of all locks with err, now and later: the volume has withdrawn.
func (t *lockTable) fail(err error) {
	t.mu.Lock()
	t.err = err
	t.mu.Unlock()
	for _, g := range t.all() {
		g.mu.Lock()
		g.fail(err)
		g.pump()
		g.mu.Unlock()
	}
}

// all are the glocks in the table, ascending: what is done to them wakes others, and a simulator wants the same order
// each time.
func (t *lockTable) all() []*glock {
	t.mu.Lock()
	defer t.mu.Unlock()
	gs := make([]*glock, 0, len(t.locks))
	for _, e := range t.locks {
		gs = append(gs, e.g)
	}
	slices.SortFunc(gs, func(a, b *glock) int {
		return cmp.Or(cmp.Compare(a.res.Kind, b.res.Kind), cmp.Compare(a.res.ID, b.res.ID))
	})
	return gs
}

// idleList is a ring of entries, least recently released first.
type idleList struct {
	head tableEntry
	n    int
}

func (l *idleList) init() { l.head.prev, l.head.next = &l.head, &l.head }

func (l *idleList) push(e *tableEntry) {
	e.prev, e.next = l.head.prev, &l.head
	e.prev.next, e.next.prev = e, e
	l.n++
}

func (l *idleList) remove(e *tableEntry) {
	if e.prev == nil {
		return
	}
	e.prev.next, e.next.prev = e.next, e.prev
	e.prev, e.next = nil, nil
	l.n--
}
