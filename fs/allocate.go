package fs

import (
	"context"

	"github.com/covol/covol/ondisk"
)

// Mode bits of fallocate(2).
const (
	fallocKeepSize  = 0x1
	fallocPunchHole = 0x2
	fallocZeroRange = 0x10
)

// Allocate implements File: reserve space (reads as zeros), punch a hole, zero a range.
func (f *file) Allocate(ctx context.Context, mode uint32, off, length int64) error {
	if off < 0 || length <= 0 {
		return ErrInvalid
	}
	start, end := uint64(off), uint64(off)+uint64(length)
	if end > ondisk.MaxFileSize {
		return ErrFileTooBig
	}
	h, n, err := f.acquire(ctx, useExcl, false)
	if err != nil {
		return err
	}
	defer h.unlock()
	v := f.v
	if !isReg(n.record()) {
		return ErrNotSupported
	}
	switch mode {
	case 0, fallocKeepSize:
		err = v.preallocate(ctx, n, start, end)
	case fallocPunchHole | fallocKeepSize:
		return v.punch(ctx, n, start, min(end, max(start, v.allocatedEnd(n))))
	case fallocZeroRange, fallocZeroRange | fallocKeepSize:
		if err = v.punch(ctx, n, start, min(end, max(start, v.allocatedEnd(n)))); err == nil {
			err = v.preallocate(ctx, n, start, end)
		}
	default:
		return ErrNotSupported
	}
	if err != nil || mode&fallocKeepSize != 0 || end <= n.record().Size {
		return err
	}
	return v.resize(ctx, n, end)
}

// allocatedEnd is the byte behind which a file has nothing at all.
func (v *Volume) allocatedEnd(n *inode) uint64 {
	rec := n.record()
	if rec.Body == ondisk.BodyExtents {
		return ondisk.MaxFileSize
	}
	return rec.Size
}

// preallocate maps the holes in [start, end) to clusters that read as zeros.
func (v *Volume) preallocate(ctx context.Context, n *inode, start, end uint64) error {
	if n.record().Body != ondisk.BodyExtents {
		if end <= ondisk.MaxResident {
			return nil // the record is room enough
		}
		if err := v.makeExtents(ctx, n); err != nil {
			return err
		}
	}
	cs := uint64(v.sb.ClusterSize)
	for at, last := start/cs, v.clustersFor(end); at < last; {
		e, ok, holeEnd, err := v.mapAt(ctx, v.j, n.record(), at)
		if err != nil {
			return err
		}
		if ok {
			at = e.End()
			continue
		}
		want := min(holeEnd, last) - at
		got, err := v.reserveHole(ctx, n, at, min(want, maxReserve/cs))
		if err != nil {
			return err
		}
		at += got
	}
	return nil
}

// maxReserve bounds what one transaction of fallocate takes, in bytes.
const maxReserve = 256 << 20

// reserveHole maps count clusters of a hole as unwritten and returns how many it mapped.
func (v *Volume) reserveHole(ctx context.Context, n *inode, at, count uint64) (uint64, error) {
	rec := n.snapshot()
	goal := v.mapGoal(ctx, rec, at)
	rec.Ctime = v.now()
	err := v.replaceWith(ctx, need{meta: mapNeed(rec, 16), clusters: int(count)}, n, rec, func(tx *txn) error {
		runs, err := tx.allocData(ctx, int(count), goal)
		if err != nil {
			return err
		}
		next := at
		for _, run := range runs {
			e := ondisk.Extent{Logical: next, Physical: run.Start, Length: run.Len, Flags: ondisk.ExtentUnwritten}
			if err := v.mapInsert(ctx, tx, rec, e); err != nil {
				return err
			}
			next = e.End()
		}
		rec.Clusters += count
		return nil
	})
	return count, err
}

// punch makes [start, end) read as zeros and gives back the clusters that lie in it whole.
func (v *Volume) punch(ctx context.Context, n *inode, start, end uint64) error {
	if start >= end {
		return nil
	}
	rec := n.snapshot()
	if rec.Body != ondisk.BodyExtents {
		clear(rec.Resident[min(start, rec.Size):min(end, rec.Size)])
		rec.Mtime = v.now()
		rec.Ctime = rec.Mtime
		return v.replace(ctx, n, rec, nil)
	}
	cs := uint64(v.sb.ClusterSize)
	from, to := (start+cs-1)/cs, end/cs
	if err := v.zeroEdges(ctx, rec, start, end, from*cs, to*cs); err != nil {
		return err
	}
	for more := true; more && from < to; {
		var err error
		more, err = v.punchStep(ctx, n, from, to)
		if err != nil {
			return err
		}
	}
	return nil
}

// punchStep takes some extents out of [from, to) in one transaction. more says that others are left.
func (v *Volume) punchStep(ctx context.Context, n *inode, from, to uint64) (more bool, err error) {
	rec := n.snapshot()
	rec.Mtime = v.now()
	rec.Ctime = rec.Mtime
	err = v.replaceWith(ctx, need{meta: mapNeed(rec, 2), essential: true}, n, rec, func(tx *txn) error {
		tx.ordered()
		es, left, err := v.extentsIn(ctx, tx, rec, from, to, cutStep)
		more = left
		for i := 0; i < len(es) && err == nil; i++ {
			err = v.unmap(ctx, tx, rec, es[i], from, to)
		}
		return err
	})
	return more, err
}

// zeroEdges writes zeros over the parts of [start, end) that lie outside the whole clusters [from, to).
func (v *Volume) zeroEdges(ctx context.Context, rec *ondisk.Inode, start, end, from, to uint64) error {
	zero := func(a, b uint64) error {
		return v.eachPiece(ctx, v.j, rec, a, b, func(q piece) error {
			if q.hole || q.ext.Flags&ondisk.ExtentUnwritten != 0 {
				return nil
			}
			return v.zeroDevice(ctx, v.device(q), int64(q.end-q.off))
		})
	}
	if from > to { // inside one cluster
		return zero(start, end)
	}
	if err := zero(start, from); err != nil {
		return err
	}
	return zero(to, end)
}
