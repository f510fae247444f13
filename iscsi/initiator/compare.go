package initiator

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/covol/covol/iscsi/scsi"
	"github.com/covol/covol/ondisk/blockdev"
)

// CompareAndWrite is COMPARE AND WRITE (SBC-3 5.2). When its answer is lost the medium is read, after the target has ended
// the old session: the old bytes mean that it was not done, and it is sent again. The new bytes mean that it was done if
// Options.Unique says that nobody else writes them. All else is ErrUncertain.
func (d *Device) CompareAndWrite(ctx context.Context, off int64, old, new []byte) (bool, error) {
	const name = "compare and write"
	if err := blockdev.CheckCompare(d.geo, off, old, new); err != nil {
		return false, err
	}
	if len(old) > d.limits.compare {
		return false, fmt.Errorf("compare and write %d bytes, the unit takes %d: %w", len(old), d.limits.compare, errors.ErrUnsupported)
	}
	n := int64(len(old))
	cdb := make([]byte, 16)
	cdb[0], cdb[1] = 0x89, 0x08
	binary.BigEndian.PutUint64(cdb[2:], uint64(off/int64(d.geo.SectorSize)))
	cdb[13] = byte(len(old) / d.geo.SectorSize)
	data := append(bytes.Clone(old), new...)
	for {
		err := d.do(ctx, &op{cdb: cdb, write: data})
		switch {
		case err == nil:
			return true, nil
		case isSense(err, scsi.Miscompare):
			return false, nil
		case !errors.Is(err, ErrUncertain):
			return false, opError(name, off, n, err)
		}
		now := blockdev.Alloc(len(old))
		if rerr := d.ReadAt(ctx, now, off); rerr != nil {
			return false, opError(name, off, n, errors.Join(err, rerr))
		}
		switch {
		case bytes.Equal(now, old):
			continue
		case bytes.Equal(now, new) && d.o.Unique:
			return true, nil
		}
		return false, opError(name, off, n, err)
	}
}
