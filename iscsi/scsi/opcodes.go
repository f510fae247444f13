package scsi

import (
	"context"
	"encoding/binary"
)

// timeouts is the length of a command timeouts descriptor, which we fill with "not known" (SPC-4 6.27.4).
const timeouts = 12

const (
	withTimeouts = 0x80 // RCTD
	supported    = 0x03 // SUPPORT: as the standard says
)

// runOpcodes is REPORT SUPPORTED OPERATION CODES; reporting option 0 is all, 1 to 3 are one command.
func runOpcodes(_ context.Context, r *request) ([]byte, error) {
	rctd := r.CDB[2]&withTimeouts != 0
	op, action := r.CDB[3], int(number(r.CDB[4:6]))
	option := r.CDB[2] & 7
	if option == 0 {
		return allOpcodes(r.u, rctd), nil
	}
	rows := rowsByOp[op]
	actions := len(rows) > 0 && rows[0].action != noAction
	switch {
	case option == 1 && actions, option == 2 && len(rows) > 0 && !actions, option > 3:
		return nil, badField(2)
	}
	for _, c := range rows {
		if r.u.has(c) && (c.action == noAction && (option != 3 || action == 0) || c.action == action) {
			return oneOpcode(c, rctd), nil
		}
	}
	return []byte{0, 0x01, 0, 0}, nil // not supported
}

// has reports whether the unit can do the command.
func (u *Unit) has(r *row) bool { return r.op != 0x42 || u.zeroer != nil }

func allOpcodes(u *Unit, rctd bool) []byte {
	p := make([]byte, 4)
	for i := range commands {
		c := &commands[i]
		if !u.has(c) {
			continue
		}
		d := make([]byte, 8)
		d[0] = c.op
		if c.action != noAction {
			binary.BigEndian.PutUint16(d[2:], uint16(c.action))
			d[5] |= 0x01 // SERVACTV
		}
		binary.BigEndian.PutUint16(d[6:], uint16(cdbLen(c.op)))
		if p = append(p, d...); rctd {
			p[len(p)-3] |= 0x02 // CTDP
			p = append(p, noTimeouts()...)
		}
	}
	binary.BigEndian.PutUint32(p, uint32(len(p)-4))
	return p
}

func oneOpcode(c *row, rctd bool) []byte {
	p := []byte{0, supported, 0, 0}
	usage := append([]byte(nil), masks[c]...)
	if c.action != noAction {
		usage[1] = usage[1]&^0x1f | byte(c.action)
	}
	binary.BigEndian.PutUint16(p[2:], uint16(len(usage)))
	if p = append(p, usage...); rctd {
		p[1] |= 0x80
		p = append(p, noTimeouts()...)
	}
	return p
}

func noTimeouts() []byte {
	p := make([]byte, timeouts)
	binary.BigEndian.PutUint16(p, timeouts-2)
	return p
}

// runTaskFunctions says that the transport does ABORT TASK, ABORT TASK SET, LOGICAL UNIT RESET and the resets of the
// target.
func runTaskFunctions(_ context.Context, r *request) ([]byte, error) {
	const abortTask, abortSet, clearSet, unitReset, targetReset = 0x80, 0x40, 0x10, 0x08, 0x02
	p := []byte{abortTask | abortSet | clearSet | unitReset | targetReset, 0, 0, 0}
	if r.CDB[2]&0x80 != 0 { // REPD
		p = append(p, make([]byte, 12)...)
		p[3] = 12
	}
	return p, nil
}
