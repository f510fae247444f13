package fs

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
)

// errNotInPlace says that a write is more than an overwrite of written clusters.
var errNotInPlace = errors.New("not an overwrite")

// Write implements File. Overwrites of what is there go straight to the device, many at once; all else (growing,
// holes, sectors written in part) is done alone.
func (f *file) Write(ctx context.Context, p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, ErrInvalid
	}
	if uint64(off)+uint64(len(p)) > ondisk.MaxFileSize {
		return 0, ErrFileTooBig
	}
	if len(p) == 0 {
		return 0, nil
	}
	if f.flags&syscall.O_APPEND == 0 {
		err := f.overwrite(ctx, p, off)
		if !errors.Is(err, errNotInPlace) {
			if err != nil {
				return 0, err
			}
			return len(p), nil
		}
	}
	h, n, err := f.acquire(ctx, useExcl, false)
	if err != nil {
		return 0, err
	}
	defer h.unlock()
	if f.flags&syscall.O_APPEND != 0 {
		off = int64(n.record().Size)
		if uint64(off)+uint64(len(p)) > ondisk.MaxFileSize {
			return 0, ErrFileTooBig
		}
	}
	return f.v.writeAt(ctx, n, p, uint64(off))
}

// overwrite writes p if all of it lies in written clusters of the file, in whole sectors.
func (f *file) overwrite(ctx context.Context, p []byte, off int64) error {
	ss := int64(f.v.dev.Geometry().SectorSize)
	if off%ss != 0 || int64(len(p))%ss != 0 {
		return errNotInPlace
	}
	h, n, err := f.acquire(ctx, useWrite, false)
	if err != nil {
		return err
	}
	defer h.unlock()
	rec := n.record()
	end := uint64(off) + uint64(len(p))
	if end > rec.Size || rec.Body != ondisk.BodyExtents {
		return errNotInPlace
	}
	var pieces []piece
	err = f.v.eachPiece(ctx, f.v.j, rec, uint64(off), end, func(q piece) error {
		if q.hole || q.ext.Flags != 0 {
			return errNotInPlace
		}
		pieces = append(pieces, q)
		return nil
	})
	if err != nil {
		return err
	}
	for _, q := range pieces {
		if err := f.v.dev.WriteAt(ctx, p[q.off-uint64(off):q.end-uint64(off)], f.v.device(q), false); err != nil {
			return fmt.Errorf("write inode %d at %d: %w", rec.Ino, q.off, err)
		}
	}
	f.v.touch(n, time.Time{}, f.v.sched.Wall())
	return nil
}

// writeAt writes p at off and lets the file grow. The inode is locked exclusively. What was written before an error
// stays written.
func (v *Volume) writeAt(ctx context.Context, n *inode, p []byte, off uint64) (int, error) {
	rec := n.record()
	end := off + uint64(len(p))
	if rec.Body == ondisk.BodyResident || rec.Body == ondisk.BodyNone {
		if end <= ondisk.MaxResident && rec.Size <= ondisk.MaxResident {
			if done, err := v.writeResident(ctx, n, p, off); done || err != nil {
				return len(p), err
			}
		}
		if err := v.makeExtents(ctx, n); err != nil {
			return 0, err
		}
	}
	if off > n.record().Size {
		if err := v.zeroTail(ctx, n.record(), off); err != nil {
			return 0, err
		}
	}
	done := 0
	for done < len(p) {
		m, err := v.writePiece(ctx, n, p[done:], off+uint64(done))
		done += m
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// writeResident writes into the record itself. It reports false if the record has no room.
func (v *Volume) writeResident(ctx context.Context, n *inode, p []byte, off uint64) (bool, error) {
	rec := n.snapshot()
	rec.Body = ondisk.BodyResident
	size := max(rec.Size, off+uint64(len(p)))
	content := make([]byte, size)
	copy(content, rec.Resident)
	copy(content[off:], p)
	rec.Resident, rec.Size = content, size
	if !rec.Fits() {
		return false, nil
	}
	rec.Mtime = v.now()
	rec.Ctime = rec.Mtime
	return true, v.replace(ctx, n, rec, nil)
}

// replace publishes rec as the new record of n, with what fn adds to the transaction.
func (v *Volume) replace(ctx context.Context, n *inode, rec *ondisk.Inode, fn func(tx *txn) error) error {
	return v.replaceWith(ctx, need{}, n, rec, fn)
}

// replaceWith is replace with space reserved beforehand.
func (v *Volume) replaceWith(ctx context.Context, nd need, n *inode, rec *ondisk.Inode, fn func(tx *txn) error) error {
	tx, err := v.begin(ctx, nd)
	if err != nil {
		return err
	}
	if fn != nil {
		err = fn(tx)
	}
	if err == nil {
		err = v.putInode(ctx, tx, rec)
	}
	if err != nil {
		tx.abort()
		return err
	}
	_, err = commitInodes(ctx, tx, change{n, rec})
	return err
}

// makeExtents moves resident content into a cluster.
func (v *Volume) makeExtents(ctx context.Context, n *inode) error {
	rec := n.snapshot()
	content := rec.Resident
	rec.Body, rec.Resident, rec.Root = ondisk.BodyExtents, nil, ondisk.InitNode(make([]byte, ondisk.MinNodeSize), 0)
	if len(content) == 0 {
		n.publishUnwritten(rec)
		return nil
	}
	return v.replaceWith(ctx, need{meta: mapNeed(rec, 1), clusters: 1}, n, rec, func(tx *txn) error {
		runs, err := tx.allocData(ctx, 1, 0)
		if err != nil {
			return err
		}
		if err := v.writeCluster(ctx, runs[0].Start, content); err != nil {
			return err
		}
		tx.ordered()
		rec.Clusters++
		return v.mapInsert(ctx, tx, rec, ondisk.Extent{Physical: runs[0].Start, Length: 1})
	})
}

// publishUnwritten replaces the record in memory only: rec says the same as what is on disk, in another form.
func (n *inode) publishUnwritten(rec *ondisk.Inode) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.rec = rec
}

// zeroTail makes the bytes from the end of the file up to off read as zeros: a cluster may hold anything behind the end.
func (v *Volume) zeroTail(ctx context.Context, rec *ondisk.Inode, off uint64) error {
	cs := uint64(v.sb.ClusterSize)
	end := min(off, (rec.Size+cs-1)/cs*cs)
	if rec.Body != ondisk.BodyExtents || end <= rec.Size {
		return nil
	}
	return v.eachPiece(ctx, v.j, rec, rec.Size, end, func(q piece) error {
		if q.hole || q.ext.Flags&ondisk.ExtentUnwritten != 0 {
			return nil
		}
		return v.zeroDevice(ctx, v.device(q), int64(q.end-q.off))
	})
}

// writePiece writes the beginning of p, as far as one extent or hole goes, and returns how much that was.
func (v *Volume) writePiece(ctx context.Context, n *inode, p []byte, off uint64) (int, error) {
	rec := n.snapshot()
	cs := uint64(v.sb.ClusterSize)
	e, ok, holeEnd, err := v.mapAt(ctx, v.j, rec, off/cs)
	if err != nil {
		return 0, err
	}
	limit := holeEnd
	if ok {
		limit = e.End()
	}
	// A transaction must stay small, and so must the buffer that pads the first and the last cluster.
	limit = min(limit, off/cs+max(1, maxPieceBytes/cs))
	p = p[:min(uint64(len(p)), limit*cs-off)]
	switch {
	case !ok:
		err = v.writeHole(ctx, n, rec, p, off)
	case e.Flags&ondisk.ExtentUnwritten != 0:
		err = v.writeUnwritten(ctx, n, rec, e, p, off)
	default:
		err = v.writeMapped(ctx, n, rec, e, p, off)
	}
	if err != nil {
		return 0, fmt.Errorf("write inode %d at %d: %w", rec.Ino, off, err)
	}
	return len(p), nil
}

// maxPieceBytes bounds what one transaction of a write allocates.
const maxPieceBytes = 4 << 20

// grown notes a write in the record: its end may be the new size.
func (v *Volume) grown(rec *ondisk.Inode, end uint64) {
	rec.Size = max(rec.Size, end)
	rec.Mtime = v.now()
	rec.Ctime = rec.Mtime
}

// writeMapped overwrites written clusters, and lets the file grow inside its last one.
func (v *Volume) writeMapped(ctx context.Context, n *inode, rec *ondisk.Inode, e ondisk.Extent, p []byte, off uint64) error {
	if err := v.writeDevice(ctx, p, v.device(piece{off: off, ext: e})); err != nil {
		return err
	}
	end := off + uint64(len(p))
	if end <= rec.Size {
		v.touch(n, time.Time{}, v.sched.Wall())
		return nil
	}
	v.grown(rec, end)
	return v.replace(ctx, n, rec, func(tx *txn) error {
		tx.ordered()
		return nil
	})
}

// padded is the content of whole clusters: p at its place, zeros around it. first is the first cluster.
func (v *Volume) padded(p []byte, off uint64) (b []byte, first uint64, clusters uint32) {
	cs := uint64(v.sb.ClusterSize)
	first = off / cs
	clusters = uint32((off+uint64(len(p))+cs-1)/cs - first)
	if off%cs == 0 && uint64(len(p))%cs == 0 {
		return p, first, clusters
	}
	b = blockdev.Alloc(int(uint64(clusters) * cs))
	copy(b[off-first*cs:], p)
	return b, first, clusters
}

// writeHole gives clusters to a hole. The data is on the device before the transaction that maps it is published, and
// stable before that is committed, so that nobody ever reads what was there before.
func (v *Volume) writeHole(ctx context.Context, n *inode, rec *ondisk.Inode, p []byte, off uint64) error {
	b, first, clusters := v.padded(p, off)
	goal := v.mapGoal(ctx, rec, first)
	v.grown(rec, off+uint64(len(p)))
	nd := need{meta: mapNeed(rec, 4), clusters: int(clusters), win: &n.win}
	return v.replaceWith(ctx, nd, n, rec, func(tx *txn) error {
		runs, err := tx.allocData(ctx, int(clusters), goal)
		if err != nil {
			return err
		}
		tx.ordered()
		at := first
		for _, run := range runs {
			size := uint64(run.Len) * uint64(v.sb.ClusterSize)
			if err := v.dev.WriteAt(ctx, b[:size], int64(run.Start*uint64(v.sb.ClusterSize)), false); err != nil {
				return err
			}
			b = b[size:]
			e := ondisk.Extent{Logical: at, Physical: run.Start, Length: run.Len}
			if err := v.mapInsert(ctx, tx, rec, e); err != nil {
				return err
			}
			at = e.End()
		}
		rec.Clusters += uint64(clusters)
		return nil
	})
}

// mapGoal is the cluster behind that of the file's cluster before at, 0 if that is a hole.
func (v *Volume) mapGoal(ctx context.Context, rec *ondisk.Inode, at uint64) uint64 {
	if at == 0 {
		return 0
	}
	e, ok, _, err := v.mapAt(ctx, v.j, rec, at-1)
	if err != nil || !ok {
		return 0
	}
	return e.Physical + (at - e.Logical)
}

// writeUnwritten writes whole clusters of an extent that was allocated ahead, and marks them written.
func (v *Volume) writeUnwritten(ctx context.Context, n *inode, rec *ondisk.Inode, e ondisk.Extent, p []byte, off uint64) error {
	b, first, clusters := v.padded(p, off)
	part := slice(e, first, first+uint64(clusters))
	if err := v.dev.WriteAt(ctx, b, int64(part.Physical*uint64(v.sb.ClusterSize)), false); err != nil {
		return err
	}
	v.grown(rec, off+uint64(len(p)))
	return v.replaceWith(ctx, need{meta: mapNeed(rec, 4)}, n, rec, func(tx *txn) error {
		tx.ordered()
		cut, err := v.mapRemove(ctx, tx, rec, e, part.Logical, part.End())
		if err != nil {
			return err
		}
		cut.Flags &^= ondisk.ExtentUnwritten
		return v.mapInsert(ctx, tx, rec, cut)
	})
}
