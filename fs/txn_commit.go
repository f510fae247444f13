package fs

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/covol/covol/journal"
	"github.com/covol/covol/ondisk"
)

// bitRun is a row of bits of a bitmap of one group.
type bitRun struct{ at, n int }

// groupChange is what a transaction does to the bitmaps of a group: bits are set first, then cleared.
type groupChange struct {
	setClusters, clearClusters []bitRun
	setMeta, clearMeta         []bitRun
}

func (c *groupChange) empty() bool {
	return len(c.setClusters)+len(c.clearClusters)+len(c.setMeta)+len(c.clearMeta) == 0
}

func count(rs []bitRun) (n int) {
	for _, r := range rs {
		n += r.n
	}
	return n
}

// commit publishes everything at once. On error nothing is visible and all that was taken is free again. It is not
// durable yet: journal.Sync waits for that.
func (t *txn) commit(ctx context.Context) (journal.Seq, error) {
	seq, err := t.publish(ctx)
	if err != nil {
		t.abort()
		return 0, err
	}
	t.end()
	return seq, nil
}

func (t *txn) publish(ctx context.Context) (journal.Seq, error) {
	if t.ended {
		return 0, errors.New("commit of a transaction that has ended")
	}
	if err := t.sortFrees(ctx); err != nil {
		return 0, err
	}
	if t.freeLogNew {
		t.Write(t.freeLog.Ino, t.freeLog.Ino, ondisk.EncodeInode(t.s.sb.UUID, t.freeLog))
	}
	clusters := 0
	for _, u := range t.uses {
		if err := t.s.applyChange(ctx, t.j, u.g.idx, &u.change); err != nil {
			return 0, err
		}
		clusters += count(u.change.clearClusters) - count(u.change.setClusters)
	}
	if err := t.s.countSpace(ctx, t.j, clusters, t.inodes); err != nil {
		return 0, err
	}
	undo := t.s.alloc.expectFrees(t)
	seq, err := t.j.Publish(ctx)
	if err != nil {
		undo()
		return 0, err
	}
	if clusters != 0 || t.inodes != 0 {
		t.s.space.changed()
	}
	if t.freeLogNew && t.freeLogOf == uint16(t.s.slot) {
		t.s.alloc.noteFreeLog(t.freeLog)
	}
	return seq, nil
}

// sortFrees gives each freed block or run to the change of its group, if this node holds the group's lock, and to the
// free log otherwise.
func (t *txn) sortFrees(ctx context.Context) error {
	sb := t.s.sb
	var later []ondisk.Free
	for _, r := range t.freedData {
		k := sb.ClusterBlocks()
		idx, _ := sb.GroupOf(r.Start * uint64(k))
		u, err := t.joinHeld(ctx, idx)
		if err != nil {
			return err
		}
		if u == nil {
			later = append(later, ondisk.Free{Block: r.Start * uint64(k), Blocks: r.Len * k, Kind: ondisk.FreeClusters})
			continue
		}
		at := int(r.Start - sb.GroupFirst(idx)/uint64(k))
		u.change.clearClusters = append(u.change.clearClusters, bitRun{at, int(r.Len)})
	}
	for _, blk := range t.freedMeta {
		idx, ok := sb.GroupOf(blk)
		if !ok || !sb.IsMetaPlace(blk) {
			return &ondisk.Corrupt{Struct: "node", Block: blk, Field: "freed block", Got: blk}
		}
		u, err := t.joinHeld(ctx, idx)
		if err != nil {
			return err
		}
		if u == nil {
			later = append(later, ondisk.Free{Block: blk, Blocks: 1, Kind: ondisk.FreeMeta})
			continue
		}
		u.change.clearMeta = append(u.change.clearMeta, bitRun{int(blk - sb.GroupFirst(idx)), 1})
	}
	t.freedData, t.freedMeta = nil, nil
	return t.logFrees(ctx, later)
}

// joinHeld joins a group whose lock this node holds; nil if it does not, or not for long.
func (t *txn) joinHeld(ctx context.Context, idx uint32) (*groupUse, error) {
	u, err := t.join(ctx, idx, howHeld)
	if errors.Is(err, errGroupBusy) || errors.Is(err, errGroupBad) {
		return nil, nil
	}
	return u, err
}

// applyChange adds late updates of header and bitmaps of a group to a transaction, after it has held them to the newest
// version: a bit to set must be clear there, a bit to clear must be set. Nobody else changes these bits meanwhile,
// because the caller has picked them, or owns what they stand for.
func (s *store) applyChange(ctx context.Context, j *journal.Txn, idx uint32, c *groupChange) error {
	if c.empty() {
		return nil
	}
	first, owner := s.sb.GroupFirst(idx), groupOwner(idx)
	hb, err := j.Read(ctx, first, ondisk.TypeGroup, owner)
	if err != nil {
		return err
	}
	h, err := ondisk.DecodeGroup(s.sb, idx, hb)
	if err != nil {
		return err
	}
	dc := count(c.clearClusters) - count(c.setClusters)
	dm := count(c.clearMeta) - count(c.setMeta)
	if n := int(h.FreeClusters) + dc; n < 0 || n > int(h.Clusters) {
		return &ondisk.Corrupt{Struct: "group", Block: first, Field: "free clusters", Got: n}
	}
	if n := int(h.FreeMeta) + dm; n < 0 || n > int(s.sb.GroupBlocksOf(idx)) {
		return &ondisk.Corrupt{Struct: "group", Block: first, Field: "free metadata blocks", Got: n}
	}
	if err := s.applyBits(ctx, j, idx, ondisk.ClusterBitmap, c.setClusters, c.clearClusters); err != nil {
		return err
	}
	if err := s.applyBits(ctx, j, idx, ondisk.MetaBitmap, c.setMeta, c.clearMeta); err != nil {
		return err
	}
	j.Update(first, owner, func(b []byte) {
		if h, err := ondisk.DecodeGroup(s.sb, idx, b); err == nil {
			h.FreeClusters = uint32(int(h.FreeClusters) + dc)
			h.FreeMeta = uint32(int(h.FreeMeta) + dm)
			h.Put(b)
		}
	})
	return nil
}

// bitEdit sets or clears a row of bits of one bitmap block.
type bitEdit struct {
	bitRun
	set bool
}

func (s *store) applyBits(ctx context.Context, j *journal.Txn, idx, kind uint32, set, clear []bitRun) error {
	edits := map[uint32][]bitEdit{}
	for _, r := range set {
		splitRun(edits, r, true)
	}
	for _, r := range clear {
		splitRun(edits, r, false)
	}
	_, at := bitmapBlocks(s.sb, idx, kind)
	for i := uint32(0); len(edits) > 0; i++ {
		es := edits[i]
		if len(es) == 0 {
			continue
		}
		delete(edits, i)
		b, err := j.Read(ctx, at(i), ondisk.TypeBitmap, groupOwner(idx))
		if err != nil {
			return err
		}
		bits, err := ondisk.BitmapBits(slices.Clone(b), kind, i)
		if err != nil {
			return err
		}
		for _, e := range es {
			if wrong := editBits(bits, e); wrong >= 0 {
				return &ondisk.Corrupt{Struct: "bitmap", Block: at(i), Field: fmt.Sprintf("bit %d", wrong), Got: e.set, Want: !e.set}
			}
		}
		j.Update(at(i), groupOwner(idx), func(b []byte) {
			if bits, err := ondisk.BitmapBits(b, kind, i); err == nil {
				for _, e := range es {
					editBits(bits, e)
				}
			}
		})
	}
	return nil
}

// splitRun adds a run of a group's bitmap to the edits of the blocks that it covers.
func splitRun(edits map[uint32][]bitEdit, r bitRun, set bool) {
	for r.n > 0 {
		i, at := r.at/ondisk.BitsPerBitmap, r.at%ondisk.BitsPerBitmap
		n := min(r.n, ondisk.BitsPerBitmap-at)
		edits[uint32(i)] = append(edits[uint32(i)], bitEdit{bitRun{at, n}, set})
		r.at, r.n = r.at+n, r.n-n
	}
}

// editBits carries e out and returns the first bit that was so already, -1 if none was.
func editBits(bits []byte, e bitEdit) (wrong int) {
	wrong = -1
	for i := e.at; i < e.at+e.n; i++ {
		mask := byte(1) << (i % 8)
		if (bits[i/8]&mask != 0) == e.set && wrong < 0 {
			wrong = i
		}
		if e.set {
			bits[i/8] |= mask
		} else {
			bits[i/8] &^= mask
		}
	}
	return wrong
}
