package fs

import (
	"context"
	"errors"
	"fmt"

	"github.com/covol/covol/dlm"
	"github.com/covol/covol/ondisk"
)

// group is what this node keeps of an allocation group while it holds its lock. All fields are guarded by
// allocator.mu.
//
// A bit of clusters or meta is clear while the space may be promised and taken. It is set while the space is taken on
// disk, picked by an open transaction, reserved ahead by a window, or freed by a transaction that is not durable yet
// or whose clusters have not been discarded yet (F2).
//
//	promised <= free + ahead       what transactions were promised can always be had; windows give way
//	promisedMeta <= freeMeta
type group struct {
	idx          uint32
	clusters     bitset
	meta         bitset
	free         int // clear bits of clusters
	ahead        int // set bits of clusters that only windows hold
	promised     int
	freeMeta     int // clear bits of meta
	promisedMeta int
	cursor       int // next fit for data
	metaCursor   int
	issued       uint64 // frees published, and how many of them have become usable since
	settled      uint64
}

// spare are the clusters that can still be promised.
func (g *group) spare() int { return g.free + g.ahead - g.promised }

// spareMeta are the metadata blocks that can still be promised.
func (g *group) spareMeta() int { return g.freeMeta - g.promisedMeta }

// pending is how many frees are not usable yet.
func (g *group) pending() uint64 { return g.issued - g.settled }

// groupRes is the cluster lock of a group.
func groupRes(g uint32) dlm.Resource { return dlm.Resource{Kind: dlm.Group, ID: uint64(g)} }

// how says how far to go for the lock of a group.
type how uint8

const (
	howHeld how = iota // only if this node holds it: no message
	howTry             // ask, but do not wait for another node
	howWait
)

// errGroupBusy says that a group cannot be used now, errGroupBad that it is corrupt and left alone.
var (
	errGroupBusy = errors.New("group is in use elsewhere")
	errGroupBad  = errors.New("group is corrupt")
)

// useGroup locks a group for a transaction and loads what is known of it. The caller must unlock the hold.
func (a *allocator) useGroup(ctx context.Context, idx uint32, h how) (*group, hold, error) {
	a.mu.Lock()
	bad := a.bad[idx]
	a.mu.Unlock()
	if bad {
		return nil, hold{}, errGroupBad
	}
	var hd hold
	var err error
	ok := true
	if h == howWait {
		hd, err = a.s.locks.lock(ctx, groupRes(idx), useWrite)
	} else {
		hd, ok, err = a.s.locks.tryLock(ctx, groupRes(idx), useWrite, h == howTry)
	}
	if err != nil {
		return nil, hold{}, fmt.Errorf("lock group %d: %w", idx, err)
	}
	if !ok {
		return nil, hold{}, errGroupBusy
	}
	g, err := a.load(ctx, idx)
	if err != nil {
		hd.unlock()
		return nil, hold{}, err
	}
	return g, hd, nil
}

// load returns the state of a group whose lock the caller uses. A corrupt group is noted and never tried again.
func (a *allocator) load(ctx context.Context, idx uint32) (*group, error) {
	if g := a.loaded(idx); g != nil {
		return g, nil
	}
	if err := a.loading.Lock(ctx); err != nil {
		return nil, err
	}
	defer a.loading.Unlock()
	if g := a.loaded(idx); g != nil {
		return g, nil
	}
	g, err := a.readGroup(ctx, idx)
	if errors.Is(err, ondisk.ErrCorrupt) {
		a.s.log.Error("group is left alone", "group", idx, "err", err)
		a.mu.Lock()
		a.bad[idx] = true
		a.mu.Unlock()
		return nil, errGroupBad
	}
	if err != nil {
		return nil, fmt.Errorf("group %d: %w", idx, err)
	}
	a.mu.Lock()
	a.groups[idx] = g
	a.mu.Unlock()
	return g, nil
}

func (a *allocator) loaded(idx uint32) *group {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.groups[idx]
}

// readGroup reads header and bitmaps and holds the counters to the bits.
func (a *allocator) readGroup(ctx context.Context, idx uint32) (*group, error) {
	sb := a.s.sb
	hb, err := a.s.j.Read(ctx, sb.GroupFirst(idx), ondisk.TypeGroup, groupOwner(idx))
	if err != nil {
		return nil, err
	}
	h, err := ondisk.DecodeGroup(sb, idx, hb)
	if err != nil {
		return nil, err
	}
	g := &group{idx: idx}
	g.clusters, err = a.readBits(ctx, idx, ondisk.ClusterBitmap, int(sb.GroupClusters(idx)))
	if err != nil {
		return nil, err
	}
	g.meta, err = a.readBits(ctx, idx, ondisk.MetaBitmap, int(sb.GroupBlocksOf(idx)))
	if err != nil {
		return nil, err
	}
	g.free, g.freeMeta = g.clusters.clear(), g.meta.clear()
	bad := func(field string, got, want any) (*group, error) {
		return nil, &ondisk.Corrupt{Struct: "group", Block: sb.GroupFirst(idx), Field: field, Got: got, Want: want}
	}
	own := int(sb.GroupMetaClusters())
	switch {
	case int(h.FreeClusters) != g.free:
		return bad("free clusters", h.FreeClusters, g.free)
	case int(h.FreeMeta) != g.freeMeta:
		return bad("free metadata blocks", h.FreeMeta, g.freeMeta)
	}
	if c := g.clusters.nextClear(0); c >= 0 && c < own {
		return bad("bits of the group's own clusters", c, nil)
	}
	k := int(sb.ClusterBlocks())
	for m := g.meta.nextClear(0); m >= 0; m = g.meta.nextClear(m + 1) {
		if m/k < own || !g.clusters.has(m/k) {
			return bad("free metadata block in a cluster that is none of metadata", m, nil)
		}
	}
	g.cursor, g.metaCursor = own, own*k
	return g, nil
}

// bitmapBlocks says how many blocks a bitmap has, and where block i lies.
func bitmapBlocks(sb *ondisk.Super, idx, kind uint32) (n uint32, at func(i uint32) uint64) {
	if kind == ondisk.ClusterBitmap {
		return sb.ClusterBitmapBlocks(), func(i uint32) uint64 { return sb.ClusterBitmapBlock(idx, i) }
	}
	return sb.MetaBitmapBlocks(), func(i uint32) uint64 { return sb.MetaBitmapBlock(idx, i) }
}

func (a *allocator) readBits(ctx context.Context, idx, kind uint32, n int) (bitset, error) {
	count, at := bitmapBlocks(a.s.sb, idx, kind)
	parts := make([][]byte, count)
	for i := range count {
		b, err := a.s.j.Read(ctx, at(i), ondisk.TypeBitmap, groupOwner(idx))
		if err != nil {
			return nil, err
		}
		if parts[i], err = ondisk.BitmapBits(b, kind, i); err != nil {
			return nil, err
		}
	}
	return bitsFrom(n, parts, ondisk.BitsPerBitmap), nil
}

// groupOps gives a group away.
type groupOps struct{ a *allocator }

// groupOps is what the lock table does with the locks of groups.
func (s *store) groupOps() glops { return groupOps{s.alloc} }

func (groupOps) invalidate(context.Context, *glock) error { return nil }

// writeback makes every change of the group stable at home, and waits until nothing freed in it waits for its discard
// any more: a discard that came later would hit what the next holder puts there.
func (o groupOps) writeback(ctx context.Context, gl *glock, _ dlm.Mode) error {
	idx := uint32(gl.res.ID)
	o.a.dropWindows(idx)
	if err := o.a.s.j.FlushOwner(ctx, groupOwner(idx)); err != nil {
		return fmt.Errorf("give group %d away: %w", idx, err)
	}
	return o.a.waitSettled(ctx, idx)
}

func (o groupOps) drop(gl *glock) {
	idx := uint32(gl.res.ID)
	o.a.mu.Lock()
	delete(o.a.groups, idx)
	o.a.mu.Unlock()
	// What stays is the tombstone of an inode whose block waits in the free log; nobody else reads it before that.
	_ = o.a.s.j.Drop(groupOwner(idx))
}
