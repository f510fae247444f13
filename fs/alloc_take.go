package fs

import (
	"context"
	"fmt"
)

// window is the space reserved ahead for a file that grows. It is kept in memory only: on disk the clusters are free.
// The zero window is none. A window may be lost at any time, when space is short or its group is given away.
type window struct {
	next uint64 // cluster that the file would grow into; key of the allocator's windows
}

// release gives the space back, when the file is closed or given away.
func (w *window) release(d interface{ dropWindow(next uint64) }) {
	if w.next != 0 {
		d.dropWindow(w.next)
		w.next = 0
	}
}

// dropWindow gives the window in front of cluster next back, if there is one.
func (s *store) dropWindow(next uint64) {
	s.alloc.mu.Lock()
	defer s.alloc.mu.Unlock()
	if w := s.alloc.windows[next]; w != nil {
		s.alloc.endWindowLocked(w)
	}
}

// ahead is a window as the allocator keeps it, under the absolute number of next.
type ahead struct {
	g         *group
	next, end int // bits of g.clusters
	size      int // of the next window of this file
	used      uint64
}

// maxWindows bounds how many windows there are; the one used longest ago goes.
const maxWindows = 256

// Sizes of windows in bytes: each is twice as large as the one before.
const (
	minAhead = 1 << 20
	maxAhead = 64 << 20
)

// allocData takes n clusters that were promised; more than that only if they can be had without waiting. goal is the
// cluster behind the last one of the file, 0 if there is none: a file that goes on there gets space reserved ahead, so
// that files growing at the same time do not interleave. The runs are as few and long as possible.
func (t *txn) allocData(ctx context.Context, n int, goal uint64) ([]run, error) {
	a, sb := t.s.alloc, t.s.sb
	if extra := n - t.promised().clusters; extra > 0 {
		if err := a.more(ctx, t, need{clusters: extra}); err != nil {
			return nil, err
		}
	}
	var near *groupUse
	if idx, ok := sb.GroupOf(goal * uint64(sb.ClusterBlocks())); ok && goal != 0 {
		var err error
		if near, err = t.joinHeld(ctx, idx); err != nil {
			return nil, err
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []run
	if near != nil {
		bit := int(goal - a.firstCluster(near.g))
		out = a.takeData(t, near, n, bit, true, out)
	}
	for _, u := range t.uses {
		if left := n - length(out); left > 0 && u.clusters > 0 {
			out = a.takeData(t, u, left, -1, goal != 0, out)
		}
	}
	if got := length(out); got < n {
		return nil, fmt.Errorf("%d of %d promised clusters are gone: %w", n-got, n, ErrNoSpace)
	}
	if len(out) > 0 {
		t.follow(out, goal)
	}
	return out, nil
}

// follow keeps the file's window pointing at the clusters behind what it was given last.
func (t *txn) follow(out []run, goal uint64) {
	last := out[len(out)-1]
	next := last.Start + uint64(last.Len)
	if t.win == nil || next == t.win.next {
		return
	}
	if w := t.s.alloc.windows[t.win.next]; w != nil && t.win.next != goal {
		t.s.alloc.endWindowLocked(w)
	}
	t.win.next = next
}

func length(rs []run) (n int) {
	for _, r := range rs {
		n += int(r.Len)
	}
	return n
}

// firstCluster is the absolute number of bit 0 of a group.
func (a *allocator) firstCluster(g *group) uint64 {
	return a.s.sb.GroupFirst(g.idx) / uint64(a.s.sb.ClusterBlocks())
}

// takeData takes up to n clusters of a group, at bit at if it is not negative, and appends them to out. What it takes
// beyond u's own promise must be spare and is taken off the promises of the other groups. It holds a.mu.
func (a *allocator) takeData(t *txn, u *groupUse, n, at int, grows bool, out []run) []run {
	g := u.g
	n = min(n, u.clusters+g.spare())
	size := a.s.clustersOf(minAhead)
	for n > 0 {
		w := a.windowAt(g, at)
		if w != nil {
			if size = w.size; w.next == w.end {
				a.endWindowLocked(w)
			}
		}
		var got int
		switch {
		case w != nil && w.next < w.end:
			got = min(n, w.end-w.next)
			a.advanceLocked(w, got)
		case at >= 0 && at < 64*len(g.clusters) && !g.clusters.has(at):
			got = g.clusters.run(at, n)
			g.clusters.fill(at, got, true)
			g.free -= got
		case g.free == 0:
			a.dropWindowsLocked(g)
			if g.free == 0 {
				return out
			}
			continue
		default:
			want, from := n, g.cursor
			if grows {
				want += size
			}
			if at >= 0 && at < 64*len(g.clusters) {
				from = at
			}
			at, _ = g.clusters.find(from, want)
			continue
		}
		a.consume(t, u, bitRun{at, got})
		out = appendRun(out, a.firstCluster(g)+uint64(at), got)
		at, n = at+got, n-got
		g.cursor = at % (64 * len(g.clusters))
	}
	if w := a.windowAt(g, at); grows && at >= 0 && (w == nil || w.next == w.end) {
		a.openWindow(g, at, size)
	}
	return out
}

// consume notes that a transaction has taken clusters in u's group.
func (a *allocator) consume(t *txn, u *groupUse, r bitRun) {
	u.change.setClusters = append(u.change.setClusters, r)
	left := r.n
	own := min(left, u.clusters)
	u.clusters -= own
	u.g.promised -= own
	left -= own
	for _, o := range t.uses {
		k := min(left, o.clusters)
		o.clusters -= k
		o.g.promised -= k
		left -= k
	}
}

func appendRun(out []run, start uint64, n int) []run {
	if l := len(out) - 1; l >= 0 && out[l].Start+uint64(out[l].Len) == start {
		out[l].Len += uint32(n)
		return out
	}
	return append(out, run{start, uint32(n)})
}

// takeMeta takes one of the metadata blocks promised to u. It holds a.mu.
func (a *allocator) takeMeta(u *groupUse) (uint64, error) {
	g := u.g
	at := g.meta.nextClear(g.metaCursor)
	if at < 0 {
		at = g.meta.nextClear(0)
	}
	if at < 0 {
		return 0, fmt.Errorf("promised metadata block of group %d is gone: %w", g.idx, ErrNoSpace)
	}
	g.meta.fill(at, 1, true)
	g.freeMeta--
	g.promisedMeta--
	u.meta--
	g.metaCursor = at + 1
	u.change.setMeta = append(u.change.setMeta, bitRun{at, 1})
	return a.s.sb.GroupFirst(g.idx) + uint64(at), nil
}

// clustersOf is how many clusters hold that many bytes, at least one.
func (s *store) clustersOf(bytes int) int { return max(bytes/int(s.sb.ClusterSize), 1) }

func (a *allocator) windowAt(g *group, at int) *ahead {
	if at < 0 {
		return nil
	}
	return a.windows[a.firstCluster(g)+uint64(at)]
}

// advanceLocked takes n clusters out of a window. One that is used up stays, because it knows how large the next one is to
// be, unless a window with clusters begins right behind it.
func (a *allocator) advanceLocked(w *ahead, n int) {
	delete(a.windows, a.firstCluster(w.g)+uint64(w.next))
	w.g.ahead -= n
	w.next += n
	a.tick++
	w.used = a.tick
	key := a.firstCluster(w.g) + uint64(w.next)
	if o := a.windows[key]; o == nil || o.next == o.end {
		a.windows[key] = w
	}
}

// openWindow reserves what is clear from bit at on, up to size clusters and a quarter of what is spare.
func (a *allocator) openWindow(g *group, at, size int) {
	key := a.firstCluster(g) + uint64(at)
	if w := a.windows[key]; w != nil {
		a.endWindowLocked(w) // used up
	}
	n, next := 0, size
	if at < 64*len(g.clusters) {
		n = g.clusters.run(at, min(size, g.spare()/4))
	}
	if n > 0 {
		next = min(2*size, a.s.clustersOf(maxAhead))
	}
	if len(a.windows) >= maxWindows {
		var oldest *ahead
		for _, w := range a.windows {
			if oldest == nil || w.used < oldest.used {
				oldest = w
			}
		}
		a.endWindowLocked(oldest)
	}
	g.clusters.fill(at, n, true)
	g.free -= n
	g.ahead += n
	a.tick++
	a.windows[key] = &ahead{g: g, next: at, end: at + n, size: next, used: a.tick}
}

func (a *allocator) endWindowLocked(w *ahead) {
	n := w.end - w.next
	w.g.clusters.fill(w.next, n, false)
	w.g.free += n
	w.g.ahead -= n
	delete(a.windows, a.firstCluster(w.g)+uint64(w.next))
}

func (a *allocator) dropWindowsLocked(g *group) {
	for _, w := range a.windows {
		if w.g == g {
			a.endWindowLocked(w)
		}
	}
}

// dropWindows gives all windows of a group back.
func (a *allocator) dropWindows(idx uint32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if g := a.groups[idx]; g != nil {
		a.dropWindowsLocked(g)
	}
}
