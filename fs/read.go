package fs

import (
	"context"
	"fmt"

	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
)

// readAt fills p from the file's bytes at off, as far as the file goes, and returns how many there were. The inode is
// locked.
func (v *Volume) readAt(ctx context.Context, rec *ondisk.Inode, p []byte, off int64) (int, error) {
	if uint64(off) >= rec.Size {
		return 0, nil
	}
	p = p[:min(uint64(len(p)), rec.Size-uint64(off))]
	if rec.Body == ondisk.BodyResident {
		return copy(p, rec.Resident[off:]), nil
	}
	end := uint64(off) + uint64(len(p))
	err := v.eachPiece(ctx, v.j, rec, uint64(off), end, func(q piece) error {
		part := p[q.off-uint64(off) : q.end-uint64(off)]
		if q.hole || q.ext.Flags&ondisk.ExtentUnwritten != 0 {
			clear(part)
			return nil
		}
		return v.readDevice(ctx, part, v.device(q))
	})
	if err != nil {
		return 0, fmt.Errorf("read inode %d at %d: %w", rec.Ino, off, err)
	}
	return len(p), nil
}

// readDevice reads any range of the device, reading whole sectors where it must.
func (v *Volume) readDevice(ctx context.Context, p []byte, at int64) error {
	ss := int64(v.dev.Geometry().SectorSize)
	if at%ss == 0 && int64(len(p))%ss == 0 {
		return v.dev.ReadAt(ctx, p, at)
	}
	from := at / ss * ss
	to := (at + int64(len(p)) + ss - 1) / ss * ss
	b := blockdev.Alloc(int(to - from))
	if err := v.dev.ReadAt(ctx, b, from); err != nil {
		return err
	}
	copy(p, b[at-from:])
	return nil
}

// writeDevice writes any range of the device, reading the rest of the sectors at its ends first. Whoever calls it with a
// range that does not begin and end on a sector must hold the inode exclusively.
func (v *Volume) writeDevice(ctx context.Context, p []byte, at int64) error {
	ss := int64(v.dev.Geometry().SectorSize)
	if at%ss == 0 && int64(len(p))%ss == 0 {
		return v.dev.WriteAt(ctx, p, at, false)
	}
	from := at / ss * ss
	to := (at + int64(len(p)) + ss - 1) / ss * ss
	b := blockdev.Alloc(int(to - from))
	if err := v.dev.ReadAt(ctx, b[:ss], from); err != nil {
		return err
	}
	if to-ss > from {
		if err := v.dev.ReadAt(ctx, b[to-from-ss:], to-ss); err != nil {
			return err
		}
	}
	copy(b[at-from:], p)
	return v.dev.WriteAt(ctx, b, from, false)
}

// zeroDevice writes zeros over any range of the device, in bounded steps.
func (v *Volume) zeroDevice(ctx context.Context, at, n int64) error {
	const step = 1 << 20
	zeros := blockdev.Alloc(int(min(n, step)))
	for n > 0 {
		part := zeros[:min(n, step-at%4096)]
		if err := v.writeDevice(ctx, part, at); err != nil {
			return err
		}
		at += int64(len(part))
		n -= int64(len(part))
	}
	return nil
}

// writeCluster writes data into a fresh cluster and zeros behind it.
func (v *Volume) writeCluster(ctx context.Context, cluster uint64, data []byte) error {
	b := blockdev.Alloc(int(v.sb.ClusterSize))
	copy(b, data)
	return v.dev.WriteAt(ctx, b, int64(cluster*uint64(v.sb.ClusterSize)), false)
}
