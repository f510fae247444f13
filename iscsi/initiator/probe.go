package initiator

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/covol/covol/iscsi/scsi"
	"github.com/covol/covol/ondisk/blockdev"
)

// limits are what the unit says of itself (SBC-3 6.6.3).
type limits struct {
	transfer int   // bytes
	compare  int   // bytes, 0 if there is no COMPARE AND WRITE
	unmap    int64 // bytes, 0 if there is no UNMAP
}

// defaultTransfer is the longest transfer to a unit that tells no limit, in bytes.
const defaultTransfer = 1 << 20

// ask runs a command that only reads.
func (d *Device) ask(ctx context.Context, n int, first bool, cdb ...byte) ([]byte, error) {
	p := &op{cdb: cdb, read: make([]byte, n), repeatable: true, first: first}
	err := d.do(ctx, p)
	return p.read[:p.got], err
}

// probe finds out what the unit is.
func (d *Device) probe(ctx context.Context) (err error) {
	if d.id, d.geo, err = d.identify(ctx, false); err != nil {
		return err
	}
	if ss := d.geo.SectorSize; ss != 512 && ss != 4096 {
		return fmt.Errorf("sectors of %d bytes", ss)
	}
	d.limits = limits{transfer: defaultTransfer}
	page, err := d.vital(ctx, 0xb0, false)
	if err != nil || len(page) < 12 {
		return nil // a page that a unit need not have
	}
	ss := d.geo.SectorSize
	d.limits.compare = int(page[5]) * ss
	if n := binary.BigEndian.Uint32(page[8:]); n > 0 && uint64(n)*uint64(ss) < defaultTransfer {
		d.limits.transfer = int(n) * ss
	}
	if prov, err := d.vital(ctx, 0xb2, false); err == nil && len(prov) > 5 && prov[5]&0x80 != 0 && len(page) >= 24 {
		d.limits.unmap = int64(binary.BigEndian.Uint32(page[20:])) * int64(ss)
	}
	return nil
}

func (d *Device) vital(ctx context.Context, page byte, first bool) ([]byte, error) {
	return d.ask(ctx, 255, first, 0x12, 1, page, 0, 255, 0)
}

// identify returns identity and shape of the unit.
func (d *Device) identify(ctx context.Context, first bool) (string, blockdev.Geometry, error) {
	var g blockdev.Geometry
	id, err := d.vital(ctx, 0x83, first)
	if err != nil {
		return "", g, fmt.Errorf("read the identity: %w", err)
	}
	p, err := d.ask(ctx, 32, first, 0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0)
	if err != nil || len(p) < 12 {
		return "", g, fmt.Errorf("read the capacity: %d bytes, %w", len(p), errors.Join(err))
	}
	last, ss := binary.BigEndian.Uint64(p), int64(binary.BigEndian.Uint32(p[8:]))
	if ss <= 0 || last >= uint64(1<<62/ss) {
		return "", g, fmt.Errorf("%d sectors of %d bytes", last, ss)
	}
	return hex.EncodeToString(id), blockdev.Geometry{SectorSize: int(ss), Size: (int64(last) + 1) * ss}, nil
}

// prove makes sure that the unit of a new session is the one that we know, and then lets operations go.
func (l *link) prove() {
	d := l.d
	id, geo, err := d.identify(l.ctx, true)
	if l.ctx.Err() != nil {
		return
	}
	switch {
	case err != nil:
		l.fail(fmt.Errorf("after the login: %w", err))
		return
	case id != d.id || geo != d.geo:
		d.fail(fmt.Errorf("%w: %s", ErrChanged, d.url))
		l.fail(ErrChanged)
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	l.probing = false
	l.wake()
}

// Unit attentions that a cluster wants to know of: what was reserved may be gone.
func ReservationLost(c scsi.Code) bool {
	switch c {
	case scsi.ReservationsPreempted, scsi.ReservationsReleased, scsi.RegistrationsPreempted, scsi.PowerOnReset:
		return true
	}
	return false
}
