package initiator

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/covol/covol/iscsi/scsi"
)

// Reservation is what READ RESERVATION tells.
type Reservation struct {
	Generation uint32
	Type       scsi.Type // 0 if there is no reservation
	Key        uint64    // of the holder, 0 where all registrants hold it
}

// Capabilities is what REPORT CAPABILITIES tells of persistence (SPC-4 6.15.4).
type Capabilities struct {
	CanPersist bool // PTPL_C: APTPL may be asked for
	Persists   bool // PTPL_A: it was
}

// reserveOut is a PERSISTENT RESERVE OUT. A lost answer is ErrUncertain.
func (d *Device) reserveOut(ctx context.Context, action byte, kind scsi.Type, key, serviceKey uint64, persist bool) error {
	cdb := []byte{0x5f, action, byte(kind), 0, 0, 0, 0, 0, 24, 0}
	p := make([]byte, 24)
	binary.BigEndian.PutUint64(p, key)
	binary.BigEndian.PutUint64(p[8:], serviceKey)
	if persist {
		p[20] = 0x01
	}
	if err := d.do(ctx, &op{cdb: cdb, write: p}); err != nil {
		return opError(fmt.Sprintf("persistent reserve out, action %d", action), 0, 0, err)
	}
	return nil
}

// Register changes our key from old to key, 0 being none (SPC-4 5.12.7). With persist the target keeps registrations and
// reservation over its own restart. blockdev.ErrFenced says that old is not our key.
func (d *Device) Register(ctx context.Context, old, key uint64, persist bool) error {
	return d.reserveOut(ctx, 0, 0, old, key, persist)
}

// RegisterIgnore makes key ours whatever it was. It undoes a fence, so a node that was fenced must never use it.
func (d *Device) RegisterIgnore(ctx context.Context, key uint64, persist bool) error {
	return d.reserveOut(ctx, 6, 0, 0, key, persist)
}

// Reserve takes the reservation; nil if we hold it already.
func (d *Device) Reserve(ctx context.Context, kind scsi.Type, key uint64) error {
	return d.reserveOut(ctx, 1, kind, key, 0, false)
}

// Release gives the reservation up.
func (d *Device) Release(ctx context.Context, kind scsi.Type, key uint64) error {
	return d.reserveOut(ctx, 2, kind, key, 0, false)
}

// Clear removes the reservation and all registrations.
func (d *Device) Clear(ctx context.Context, key uint64) error {
	return d.reserveOut(ctx, 3, 0, key, 0, false)
}

// PreemptAbort removes the registrations with the victim's key. When it returns nil no earlier command of theirs is in
// flight and every later write conflicts. blockdev.ErrFenced says that we are not registered with key, or that nobody
// is with the victim's.
func (d *Device) PreemptAbort(ctx context.Context, kind scsi.Type, key, victim uint64) error {
	return d.reserveOut(ctx, 5, kind, key, victim, false)
}

// maxKeys is how much room there is for keys, in bytes.
const maxKeys = 8 + 8*1024

func (d *Device) reserveIn(ctx context.Context, action byte, n int) ([]byte, error) {
	p, err := d.ask(ctx, n, false, 0x5e, action, 0, 0, 0, 0, 0, byte(n>>8), byte(n), 0)
	if err != nil {
		return nil, opError(fmt.Sprintf("persistent reserve in, action %d", action), 0, 0, err)
	}
	if len(p) < 8 {
		return nil, opError(fmt.Sprintf("persistent reserve in, action %d", action), 0, 0, fmt.Errorf("%d bytes", len(p)))
	}
	return p, nil
}

// ReadKeys returns the keys of all registrations and the generation, which grows with every change of them.
func (d *Device) ReadKeys(ctx context.Context) (keys []uint64, generation uint32, err error) {
	p, err := d.reserveIn(ctx, 0, maxKeys)
	if err != nil {
		return nil, 0, err
	}
	if n := int(binary.BigEndian.Uint32(p[4:])); n > len(p)-8 {
		return nil, 0, opError("read keys", 0, 0, fmt.Errorf("%d bytes of keys, %d came", n, len(p)-8))
	}
	for q := p[8:]; len(q) >= 8; q = q[8:] {
		keys = append(keys, binary.BigEndian.Uint64(q))
	}
	return keys, binary.BigEndian.Uint32(p), nil
}

// ReadReservation returns the reservation.
func (d *Device) ReadReservation(ctx context.Context) (Reservation, error) {
	p, err := d.reserveIn(ctx, 1, 64)
	if err != nil {
		return Reservation{}, err
	}
	r := Reservation{Generation: binary.BigEndian.Uint32(p)}
	if len(p) >= 24 {
		r.Key, r.Type = binary.BigEndian.Uint64(p[8:]), scsi.Type(p[21]&0xf)
	}
	return r, nil
}

// ReadCapabilities returns what the unit can do with reservations.
func (d *Device) ReadCapabilities(ctx context.Context) (Capabilities, error) {
	p, err := d.reserveIn(ctx, 2, 8)
	if err != nil {
		return Capabilities{}, err
	}
	return Capabilities{CanPersist: p[2]&1 != 0, Persists: p[3]&1 != 0}, nil
}
