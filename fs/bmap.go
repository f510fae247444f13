package fs

import (
	"context"

	"github.com/covol/covol/ondisk"
)

// A file's clusters are mapped by a tree from the logical cluster to the extent that begins there. Extents do not
// overlap; neighbours that can be one extent are one.

// mapAt returns what maps cluster at: the extent, or ok false and the end of the hole (or maxCluster behind the last).
func (v *Volume) mapAt(ctx context.Context, r blockReader, in *ondisk.Inode, at uint64) (e ondisk.Extent, ok bool, holeEnd uint64, err error) {
	if in.Body != ondisk.BodyExtents {
		return e, false, maxCluster, nil
	}
	key, value, found, err := treeFloor(ctx, r, in, at)
	if err != nil {
		return e, false, 0, err
	}
	if found {
		if e, err = ondisk.DecodeExtent(v.sb, in.Ino, key, value); err != nil {
			return e, false, 0, err
		}
		if at < e.End() {
			return e, true, 0, nil
		}
	}
	holeEnd = maxCluster
	err = treeScan(ctx, r, in, at, func(key uint64, _ []byte) bool {
		holeEnd = key
		return false
	})
	return ondisk.Extent{}, false, holeEnd, err
}

// maxCluster is behind every cluster that a file can have.
const maxCluster = ondisk.MaxFileSize / ondisk.MinCluster

// mapInsert maps a range that is a hole now, joining it with its neighbours where they continue each other.
func (v *Volume) mapInsert(ctx context.Context, tx *txn, in *ondisk.Inode, e ondisk.Extent) error {
	if e.Logical > 0 {
		prev, ok, _, err := v.mapAt(ctx, tx, in, e.Logical-1)
		if err != nil {
			return err
		}
		if ok && joins(prev, e) {
			prev.Length += e.Length
			e = prev
		}
	}
	next, ok, _, err := v.mapAt(ctx, tx, in, e.End())
	if err != nil {
		return err
	}
	if ok && next.Logical == e.End() && joins(e, next) {
		if _, err := treeDelete(ctx, tx, in, next.Logical); err != nil {
			return err
		}
		e.Length += next.Length
	}
	return treePut(ctx, tx, in, e.Logical, ondisk.EncodeExtent(e))
}

// joins reports whether b continues a.
func joins(a, b ondisk.Extent) bool {
	return a.End() == b.Logical && a.Physical+uint64(a.Length) == b.Physical && a.Flags == b.Flags &&
		uint64(a.Length)+uint64(b.Length) <= maxExtent
}

// maxExtent bounds the length of an extent in clusters.
const maxExtent = 1 << 30

// mapRemove takes the part of an extent that lies in [from, to) out of the map and returns it. e must be in the map and
// overlap the range; what is left of it on either side stays mapped.
func (v *Volume) mapRemove(ctx context.Context, tx *txn, in *ondisk.Inode, e ondisk.Extent, from, to uint64) (ondisk.Extent, error) {
	cut := slice(e, max(from, e.Logical), min(to, e.End()))
	if cut.Logical == e.Logical {
		if _, err := treeDelete(ctx, tx, in, e.Logical); err != nil {
			return cut, err
		}
	} else if err := treePut(ctx, tx, in, e.Logical, ondisk.EncodeExtent(slice(e, e.Logical, cut.Logical))); err != nil {
		return cut, err
	}
	if cut.End() < e.End() {
		rest := slice(e, cut.End(), e.End())
		if err := treePut(ctx, tx, in, rest.Logical, ondisk.EncodeExtent(rest)); err != nil {
			return cut, err
		}
	}
	return cut, nil
}

// slice is the part of e that maps [from, to).
func slice(e ondisk.Extent, from, to uint64) ondisk.Extent {
	return ondisk.Extent{Logical: from, Physical: e.Physical + (from - e.Logical), Length: uint32(to - from), Flags: e.Flags}
}

// mapNeed is how many metadata blocks n changes of the map can take.
func mapNeed(in *ondisk.Inode, n int) int { return (n + 1) * treeNeed(in) }

// piece is a part of a file in bytes with what maps it.
type piece struct {
	off, end uint64 // bytes of the file
	ext      ondisk.Extent
	hole     bool
}

// device is the place of the piece's first byte on the device.
func (v *Volume) device(p piece) int64 {
	return int64(p.ext.Physical*uint64(v.sb.ClusterSize) + (p.off - p.ext.Logical*uint64(v.sb.ClusterSize)))
}

// eachPiece calls fn for the pieces of [off, end) in order.
func (v *Volume) eachPiece(ctx context.Context, r blockReader, in *ondisk.Inode, off, end uint64, fn func(piece) error) error {
	cs := uint64(v.sb.ClusterSize)
	for off < end {
		e, ok, holeEnd, err := v.mapAt(ctx, r, in, off/cs)
		if err != nil {
			return err
		}
		p := piece{off: off, ext: e, hole: !ok}
		if ok {
			p.end = min(end, e.End()*cs)
		} else {
			p.end = min(end, holeEnd*cs)
		}
		if err := fn(p); err != nil {
			return err
		}
		off = p.end
	}
	return nil
}
