package scsi

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"

	"github.com/covol/covol/ondisk/blockdev"
)

// Limits of commands that change blocks without carrying their data, as the page of block limits tells them.
const (
	maxUnmapRanges = 256
	maxUnmapBytes  = 512 << 20
	maxSameBytes   = 4 << 20
	samePiece      = 256 << 10 // bytes, written at once by WRITE SAME
)

type lbaRange struct{ lba, blocks uint64 }

func runUnmap(ctx context.Context, r *request) ([]byte, error) {
	if r.u.zeroer == nil {
		return nil, illegal(InvalidOpcode)
	}
	list, err := r.unmapList()
	if err != nil {
		return nil, err
	}
	for _, e := range list {
		if err := r.zero(ctx, e.lba, e.blocks); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// unmapList reads and checks the whole parameter list (SBC-3 5.28.2) before anything is unmapped.
func (r *request) unmapList() ([]lbaRange, error) {
	p, err := r.whole(int(number(r.CDB[7:9])))
	if err != nil || len(p) == 0 {
		return nil, err
	}
	if len(p) < 8 {
		return nil, illegal(ParamListLength)
	}
	n := int(binary.BigEndian.Uint16(p[2:]))
	p = p[8:]
	p = p[:min(len(p), n)]
	if len(p)/16 > maxUnmapRanges {
		return nil, badParam(2)
	}
	var list []lbaRange
	var total uint64
	for at := 0; at+16 <= len(p); at += 16 {
		e := lbaRange{binary.BigEndian.Uint64(p[at:]), uint64(binary.BigEndian.Uint32(p[at+8:]))}
		if e.blocks == 0 {
			continue
		}
		if err := r.u.inside(e.lba, e.blocks); err != nil {
			return nil, err
		}
		if total += e.blocks; total > maxUnmapBytes/uint64(r.u.geo.SectorSize) {
			return nil, badParam(8 + at + 8)
		}
		list = append(list, e)
	}
	return list, nil
}

// zero makes blocks read as zeros and gives their space back.
func (r *request) zero(ctx context.Context, lba, blocks uint64) error {
	ss := int64(r.u.geo.SectorSize)
	defer r.u.ranges.lock(lba, blocks, false)()
	if err := r.u.zeroer.Zero(context.WithoutCancel(ctx), int64(lba)*ss, int64(blocks)*ss); err != nil {
		return fmt.Errorf("unmap %d blocks at %d: %w: %w", blocks, lba, &Sense{Key: MediumError, Code: WriteError}, err)
	}
	return nil
}

// Bits of WRITE SAME (SBC-3 5.44).
const (
	sameNoData = 0x01 // NDOB, only in the CDB of 16 bytes
	sameUnmap  = 0x08
)

func outSame(u *Unit, cdb []byte) uint64 {
	if cdb[1]&sameNoData != 0 {
		return 0
	}
	return uint64(u.geo.SectorSize)
}

func runWriteSame(ctx context.Context, r *request) ([]byte, error) {
	lba, blocks := extent(r.CDB)
	ss := r.u.geo.SectorSize
	if err := r.u.inside(lba, blocks); err != nil {
		return nil, err
	}
	if blocks == 0 || blocks > uint64(maxSameBytes/ss) {
		return nil, badField(lengthField(r.CDB)) // WSNZ: zero does not mean all the rest
	}
	if r.CDB[1]&sameUnmap != 0 && r.u.zeroer == nil {
		return nil, badField(1)
	}
	block, err := r.whole(int(outSame(r.u, r.CDB)))
	if err != nil {
		return nil, err
	}
	if len(block) == 0 {
		block = make([]byte, ss)
	}
	if r.CDB[1]&sameUnmap != 0 && isZero(block) {
		return nil, r.zero(ctx, lba, blocks)
	}
	return nil, r.fill(ctx, block, lba, blocks)
}

func (r *request) fill(ctx context.Context, block []byte, lba, blocks uint64) error {
	ss := uint64(r.u.geo.SectorSize)
	defer r.u.ranges.lock(lba, blocks, false)()
	p := blockdev.Alloc(int(min(blocks*ss, samePiece)))
	for i := 0; i < len(p); i += len(block) {
		copy(p[i:], block)
	}
	for off, left := lba*ss, blocks*ss; left > 0; {
		n := min(left, uint64(len(p)))
		if err := r.u.write(ctx, p[:n], int64(off), false); err != nil {
			return err
		}
		off, left = off+n, left-n
	}
	return nil
}

func isZero(p []byte) bool { return len(bytes.TrimLeft(p, "\x00")) == 0 }

// Provisioning statuses of GET LBA STATUS (SBC-3 5.4.3).
const (
	lbaMapped      = 0
	lbaDeallocated = 1
	maxLBARanges   = 128
)

func runLBAStatus(ctx context.Context, r *request) ([]byte, error) {
	lba := number(r.CDB[2:10])
	if err := r.u.inside(lba, 1); err != nil {
		return nil, err
	}
	p := make([]byte, 8)
	room := min(maxLBARanges, max(1, (r.row.allocation(r.CDB)-8)/16))
	for i := 0; i < room && lba < r.u.blocks(); i++ {
		mapped, blocks, err := r.u.mapped(ctx, lba)
		if err != nil {
			return nil, err
		}
		d := make([]byte, 16)
		binary.BigEndian.PutUint64(d, lba)
		binary.BigEndian.PutUint32(d[8:], uint32(blocks))
		if d[12] = lbaMapped; !mapped {
			d[12] = lbaDeallocated
		}
		p = append(p, d...)
		lba += blocks
	}
	binary.BigEndian.PutUint32(p, uint32(len(p)-4))
	return p, nil
}

// mapped says whether the block has space, and for how many blocks that holds, at least one. A block that is mapped in
// part counts as mapped.
func (u *Unit) mapped(ctx context.Context, lba uint64) (bool, uint64, error) {
	const most = 1<<32 - 1
	rest := min(u.blocks()-lba, most)
	if u.mapper == nil {
		return true, rest, nil
	}
	ss := int64(u.geo.SectorSize)
	mapped, n, err := u.mapper.Mapped(ctx, int64(lba)*ss)
	if err != nil {
		return false, 0, fmt.Errorf("find what is mapped at block %d: %w", lba, err)
	}
	if mapped {
		return true, max(1, min(rest, uint64((n+ss-1)/ss))), nil
	}
	if n < ss {
		return true, 1, nil
	}
	return false, min(rest, uint64(n/ss)), nil
}
