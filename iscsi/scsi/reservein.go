package scsi

import (
	"context"
	"encoding/binary"
)

// reserveHeader is what the parameter data of PERSISTENT RESERVE IN begins with, the length is filled in at the end.
func (r *request) reserveHeader() []byte {
	return binary.BigEndian.AppendUint32(nil, r.u.pr.Generation)
}

func runReadKeys(_ context.Context, r *request) ([]byte, error) {
	p := r.reserveHeader()
	p = binary.BigEndian.AppendUint32(p, uint32(8*len(r.u.pr.Registered)))
	for _, reg := range r.u.pr.Registered {
		p = binary.BigEndian.AppendUint64(p, reg.Key)
	}
	return p, nil
}

func runReadReservation(_ context.Context, r *request) ([]byte, error) {
	p := r.reserveHeader()
	pr := &r.u.pr
	if pr.Type == 0 {
		return binary.BigEndian.AppendUint32(p, 0), nil
	}
	p = binary.BigEndian.AppendUint32(p, 16)
	var key uint64 // 0 where all registrants hold it (SPC-4 6.15.3.2)
	if i := pr.find(pr.Holder); i >= 0 && !typeTable[pr.Type].all {
		key = pr.Registered[i].Key
	}
	p = binary.BigEndian.AppendUint64(p, key)
	return append(p, 0, 0, 0, 0, 0, byte(pr.Type), 0, 0), nil
}

func runCapabilities(_ context.Context, r *request) ([]byte, error) {
	const (
		persistCan    = 0x01 // PTPL_C
		typesValid    = 0x80 // TMV
		persistActive = 0x01 // PTPL_A
	)
	p := make([]byte, 8)
	binary.BigEndian.PutUint16(p, uint16(len(p)))
	if r.u.opts.Keeper != nil {
		p[2] = persistCan
	}
	if p[3] = typesValid; r.u.pr.Persist {
		p[3] |= persistActive
	}
	for t := range typeTable {
		if t == ExclusiveAccessAll {
			p[5] |= 0x01
		} else {
			p[4] |= 1 << t
		}
	}
	return p, nil
}

func runFullStatus(_ context.Context, r *request) ([]byte, error) {
	p := append(r.reserveHeader(), 0, 0, 0, 0)
	for _, reg := range r.u.pr.Registered {
		id := transportID(reg.Nexus.Initiator)
		d := make([]byte, 24, 24+len(id))
		binary.BigEndian.PutUint64(d, reg.Key)
		if r.u.pr.holds(reg.Nexus) {
			d[12], d[13] = 0x01, byte(r.u.pr.Type)
		}
		binary.BigEndian.PutUint16(d[18:], reg.Nexus.Port)
		binary.BigEndian.PutUint32(d[20:], uint32(len(id)))
		p = append(append(p, d...), id...)
	}
	binary.BigEndian.PutUint32(p[4:], uint32(len(p)-8))
	return p, nil
}
