package fs

import (
	"context"

	"github.com/covol/covol/ondisk"
)

// cutStep is how many extents one transaction takes out of a file at most.
const cutStep = 128

// resize makes a file longer (the new part reads as zeros) or shorter. The inode is locked exclusively.
func (v *Volume) resize(ctx context.Context, n *inode, size uint64) error {
	rec := n.snapshot()
	switch {
	case isDir(rec):
		return ErrIsDir
	case !isReg(rec):
		return ErrInvalid
	case size > ondisk.MaxFileSize:
		return ErrFileTooBig
	}
	if rec.Body != ondisk.BodyExtents {
		if done, err := v.resizeResident(ctx, n, rec, size); done || err != nil {
			return err
		}
		if err := v.makeExtents(ctx, n); err != nil {
			return err
		}
		rec = n.snapshot()
	}
	if size < rec.Size {
		return v.shrink(ctx, n, rec, size)
	}
	if err := v.zeroTail(ctx, rec, size); err != nil {
		return err
	}
	v.resized(rec, size)
	return v.replace(ctx, n, rec, func(tx *txn) error {
		tx.ordered()
		return nil
	})
}

func (v *Volume) resized(rec *ondisk.Inode, size uint64) {
	rec.Size = size
	rec.Mtime = v.now()
	rec.Ctime = rec.Mtime
}

// resizeResident resizes content that lies in the record. It reports false if the record has no room for it.
func (v *Volume) resizeResident(ctx context.Context, n *inode, rec *ondisk.Inode, size uint64) (bool, error) {
	if size > ondisk.MaxResident {
		return false, nil
	}
	content := make([]byte, size)
	copy(content, rec.Resident)
	rec.Body, rec.Resident = ondisk.BodyResident, content
	v.resized(rec, size)
	if !rec.Fits() {
		return false, nil
	}
	return true, v.replace(ctx, n, rec, nil)
}

// shrink sets a smaller size and gives back the clusters behind it. If these are too many for one transaction the inode
// is in the index of orphans meanwhile, so that a crash cannot leave the rest behind.
func (v *Volume) shrink(ctx context.Context, n *inode, rec *ondisk.Inode, size uint64) error {
	v.resized(rec, size)
	from := v.clustersFor(size)
	few, err := v.fewExtents(ctx, rec, from)
	if err != nil {
		return err
	}
	if few {
		return v.freeing(ctx, func() error {
			rec := n.snapshot()
			v.resized(rec, size)
			return v.replaceWith(ctx, need{essential: true}, n, rec, func(tx *txn) error {
				_, err := v.cut(ctx, tx, rec, from, cutStep)
				return err
			})
		})
	}
	if err := v.shrinkMuch(ctx, n, rec); err != nil {
		return err
	}
	return v.orphans.forget(ctx, n, nil)
}

// shrinkMuch publishes the smaller size together with an entry in the index of orphans, then frees step by step.
func (v *Volume) shrinkMuch(ctx context.Context, n *inode, rec *ondisk.Inode) error {
	tx, err := v.begin(ctx, need{meta: orphanNeed, essential: true})
	if err != nil {
		return err
	}
	if err := v.orphans.add(ctx, tx, rec); err != nil {
		tx.abort()
		return err
	}
	err = v.putInode(ctx, tx, rec)
	if err == nil {
		_, err = commitInodes(ctx, tx, change{n, rec})
	} else {
		tx.abort()
	}
	v.orphans.lock.Unlock()
	if err != nil {
		return err
	}
	return v.cutTail(ctx, n)
}

// clustersFor is how many clusters hold size bytes.
func (v *Volume) clustersFor(size uint64) uint64 {
	cs := uint64(v.sb.ClusterSize)
	return (size + cs - 1) / cs
}

// cutTail gives back all clusters behind the end of the file.
func (v *Volume) cutTail(ctx context.Context, n *inode) error {
	return v.freeFrom(ctx, n, v.clustersFor(n.record().Size))
}

// freeFrom gives back all clusters of a file from the given one on, in as many transactions as it takes.
func (v *Volume) freeFrom(ctx context.Context, n *inode, from uint64) error {
	for more := n.record().Body == ondisk.BodyExtents; more; {
		err := v.freeing(ctx, func() error {
			rec := n.snapshot()
			return v.replaceWith(ctx, need{essential: true}, n, rec, func(tx *txn) (err error) {
				more, err = v.cut(ctx, tx, rec, from, cutStep)
				return err
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// fewExtents reports whether at most cutStep extents reach behind from.
func (v *Volume) fewExtents(ctx context.Context, rec *ondisk.Inode, from uint64) (bool, error) {
	n := 0
	err := treeScan(ctx, v.j, rec, from, func(uint64, []byte) bool {
		n++
		return n < cutStep
	})
	return n < cutStep, err
}

// cut takes up to max extents behind cluster from out of the map and frees their clusters. more says that some are left.
func (v *Volume) cut(ctx context.Context, tx *txn, rec *ondisk.Inode, from uint64, max int) (more bool, err error) {
	doomed, more, err := v.extentsIn(ctx, tx, rec, from, maxCluster, max)
	if err != nil {
		return false, err
	}
	for _, e := range doomed {
		if err := v.unmap(ctx, tx, rec, e, from, maxCluster); err != nil {
			return false, err
		}
	}
	return more, nil
}

// unmap takes the part of e in [from, to) out of the map and frees its clusters.
func (v *Volume) unmap(ctx context.Context, tx *txn, rec *ondisk.Inode, e ondisk.Extent, from, to uint64) error {
	cut, err := v.mapRemove(ctx, tx, rec, e, from, to)
	if err != nil {
		return err
	}
	if uint64(cut.Length) > rec.Clusters {
		return &ondisk.Corrupt{Struct: "inode", Block: rec.Ino, Field: "clusters", Got: rec.Clusters}
	}
	rec.Clusters -= uint64(cut.Length)
	return tx.freeData(ctx, cut.Physical, cut.Length)
}

// extentsIn are the first extents that overlap [from, to), at most max. more says that there are others.
func (v *Volume) extentsIn(ctx context.Context, r blockReader, rec *ondisk.Inode, from, to uint64, max int) (es []ondisk.Extent, more bool, err error) {
	first, ok, _, err := v.mapAt(ctx, r, rec, from)
	if err != nil {
		return nil, false, err
	}
	if ok {
		es = append(es, first)
		from = first.End()
	}
	if rec.Body != ondisk.BodyExtents {
		return nil, false, nil
	}
	var bad error
	err = treeScan(ctx, r, rec, from, func(key uint64, value []byte) bool {
		if key >= to {
			return false
		}
		if len(es) == max {
			more = true
			return false
		}
		e, err := ondisk.DecodeExtent(v.sb, rec.Ino, key, value)
		if err != nil {
			bad = err
			return false
		}
		es = append(es, e)
		return true
	})
	if bad != nil {
		err = bad
	}
	return es, more, err
}
