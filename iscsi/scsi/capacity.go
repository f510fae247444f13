package scsi

import (
	"context"
	"encoding/binary"
	"math/bits"

	"github.com/covol/covol/ondisk/blockdev"
)

func runCapacity10(_ context.Context, r *request) ([]byte, error) {
	p := make([]byte, 8)
	binary.BigEndian.PutUint32(p, uint32(min(r.u.blocks()-1, 0xffffffff)))
	binary.BigEndian.PutUint32(p[4:], uint32(r.u.geo.SectorSize))
	return p, nil
}

func runCapacity16(_ context.Context, r *request) ([]byte, error) {
	p := make([]byte, 32)
	binary.BigEndian.PutUint64(p, r.u.blocks()-1)
	binary.BigEndian.PutUint32(p[8:], uint32(r.u.geo.SectorSize))
	p[13] = byte(r.u.physicalExponent())
	if r.u.zeroer != nil {
		p[14] = 0xc0 // LBPME, LBPRZ
	}
	return p, nil
}

// physicalExponent says how many logical blocks make a page, the unit of efficient I/O, as a power of two.
func (u *Unit) physicalExponent() int {
	return bits.TrailingZeros(uint(max(1, blockdev.PageSize/u.geo.SectorSize)))
}
