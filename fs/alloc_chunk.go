package fs

import (
	"context"
	"fmt"
)

// makeChunk gives clusters of a group to metadata, so that at least blocks more metadata blocks are spare, as far as
// clusters are. It is a transaction of its own: a chunk without anything in it is as good as none. The caller uses the
// group. Clusters of metadata never become data again while the volume is mounted (F3).
func (a *allocator) makeChunk(ctx context.Context, g *group, blocks int) (made bool, err error) {
	if err := a.chunking.Lock(ctx); err != nil {
		return false, err
	}
	defer a.chunking.Unlock()
	k := int(a.s.sb.ClusterBlocks())
	a.mu.Lock()
	if g.spareMeta() >= blocks {
		a.mu.Unlock()
		return true, nil // another procedure was quicker
	}
	runs := a.pickChunk(g, (blocks-g.spareMeta()+k-1)/k)
	a.mu.Unlock()
	if len(runs) == 0 {
		return false, nil
	}
	c := groupChange{setClusters: runs}
	for _, r := range runs {
		c.clearMeta = append(c.clearMeta, bitRun{r.at * k, r.n * k})
	}
	j := a.s.j.Begin()
	defer j.Abort()
	err = a.s.applyChange(ctx, j, g.idx, &c)
	if err == nil {
		err = a.s.countSpace(ctx, j, -count(runs), 0)
	}
	if err == nil {
		_, err = j.Publish(ctx)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		for _, r := range runs {
			g.clusters.fill(r.at, r.n, false)
			g.free += r.n
		}
		return false, fmt.Errorf("metadata chunk in group %d: %w", g.idx, err)
	}
	for _, r := range c.clearMeta {
		g.meta.fill(r.at, r.n, false)
		g.freeMeta += r.n
	}
	return true, nil
}

// pickChunk takes clusters for metadata from the start of the group, where they stay together: n, or some chunks at
// once while the group is far from full. It holds a.mu.
func (a *allocator) pickChunk(g *group, n int) []bitRun {
	chunk := int(a.s.sb.MetaChunkClusters())
	if g.spare() > 64*len(g.clusters)/8 {
		chunk *= 4
	}
	n = min(max(n, chunk), g.spare())
	if g.free < n {
		a.dropWindowsLocked(g)
	}
	var runs []bitRun
	for n > 0 {
		at, got := g.clusters.find(0, n)
		if got == 0 {
			break
		}
		g.clusters.fill(at, got, true)
		g.free -= got
		runs = append(runs, bitRun{at, got})
		n -= got
	}
	return runs
}
