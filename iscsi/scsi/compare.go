package scsi

import (
	"context"

	"github.com/covol/covol/ondisk/blockdev"
)

// outCompare is twice the blocks of COMPARE AND WRITE: what to compare with, and what to write.
func outCompare(u *Unit, cdb []byte) uint64 { return 2 * uint64(cdb[13]) * uint64(u.geo.SectorSize) }

// maxCompare is the longest COMPARE AND WRITE in blocks.
func (u *Unit) maxCompare() int { return blockdev.MaxCompare / u.geo.SectorSize }

// runCompareAndWrite is stable when done, with or without FUA: clusters decide by it.
func runCompareAndWrite(ctx context.Context, r *request) ([]byte, error) {
	lba, blocks := number(r.CDB[2:10]), uint64(r.CDB[13])
	if blocks > uint64(r.u.maxCompare()) {
		return nil, badField(13)
	}
	n := int(blocks) * r.u.geo.SectorSize
	if err := r.u.inside(lba, blocks); err != nil {
		return nil, err
	}
	if len(r.Out) != 2*n || r.mismatch(2*n) {
		return nil, illegal(InvalidFieldInCDB)
	}
	if blocks == 0 {
		return nil, nil
	}
	off := int64(lba) * int64(r.u.geo.SectorSize)
	defer r.u.ranges.lock(lba, blocks, true)()
	if err := r.u.compare(ctx, r.Out[:n], off); err != nil {
		return nil, err
	}
	return nil, r.u.write(ctx, r.Out[n:], off, true)
}

func runOrWrite(ctx context.Context, r *request) ([]byte, error) {
	lba, blocks := extent(r.CDB)
	off, n, err := r.span(lba, blocks)
	if err != nil || n == 0 {
		return nil, err
	}
	bits, err := r.whole(n)
	if err != nil {
		return nil, err
	}
	defer r.u.ranges.lock(lba, blocks, true)()
	p := blockdev.Alloc(n)
	if err := r.u.read(ctx, p, off); err != nil {
		return nil, err
	}
	for i, b := range bits {
		p[i] |= b
	}
	return nil, r.u.write(ctx, p, off, fua(r.CDB))
}
