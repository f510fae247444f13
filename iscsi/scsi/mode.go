package scsi

import (
	"context"
	"encoding/binary"
)

// modePage is a page of mode parameters. Only SWP of the control page can be changed.
type modePage struct {
	code   byte
	clause string
	body   []byte
}

// modePages are all pages, ascending.
var modePages = []modePage{
	{0x01, "SBC-3 6.5.8, read-write error recovery", []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0}},
	{0x08, "SBC-3 6.5.6, caching", append([]byte{0x04}, make([]byte, 17)...)},                 // WCE: writes are stable after SYNCHRONIZE CACHE
	{0x0a, "SPC-4 7.5.8, control", []byte{0, 0x10, 0, 0, 0, 0, 0xff, 0xff, 0, 0}},             // any order of SIMPLE tasks
	{0x1c, "SPC-4 7.5.13, informational exceptions", []byte{0x08, 0, 0, 0, 0, 0, 0, 0, 0, 0}}, // DEXCPT
}

// Page controls (SPC-4 table 162) and the page that stands for all.
const (
	modeChangeable = 1
	modeSaved      = 3
	modeAll        = 0x3f
)

// modeBody returns the pages that a CDB asks for.
func (u *Unit) modeBody(cdb []byte) ([]byte, error) {
	control, code := cdb[2]>>6, cdb[2]&0x3f
	if cdb[3] != 0 && (cdb[3] != 0xff || code != modeAll) {
		return nil, badField(3) // no subpages
	}
	if control == modeSaved {
		return nil, illegal(SavingNotSupported)
	}
	var p []byte
	for _, m := range modePages {
		if code != m.code && code != modeAll {
			continue
		}
		p = append(p, m.code, byte(len(m.body)))
		if control == modeChangeable {
			p = append(p, make([]byte, len(m.body))...)
		} else {
			p = append(p, m.body...)
		}
		if m.code == controlPage && (control == modeChangeable || control == 0 && u.protected) {
			p[len(p)-len(m.body)+swpByte] |= swpBit
		}
	}
	if p == nil {
		return nil, badField(2)
	}
	return p, nil
}

// modeDevice is the device-specific parameter (SBC-3 6.5.1): write protection, DPOFUA.
func (u *Unit) modeDevice() byte {
	if u.opts.ReadOnly || u.protected {
		return 0x90
	}
	return 0x10
}

// Where SWP is in the control page, behind its code and length.
const (
	controlPage = 0x0a
	swpByte     = 2
	swpBit      = 0x08
)

const modeNoDescriptor = 0x08 // DBD

// blockDescriptor is the mode parameter block descriptor, long with LLBAA (SBC-3 6.5.2).
func (u *Unit) blockDescriptor(cdb []byte, long bool) []byte {
	if cdb[1]&modeNoDescriptor != 0 {
		return nil
	}
	if long {
		p := make([]byte, 16)
		binary.BigEndian.PutUint64(p, u.blocks())
		binary.BigEndian.PutUint32(p[12:], uint32(u.geo.SectorSize))
		return p
	}
	p := make([]byte, 8)
	binary.BigEndian.PutUint32(p, uint32(min(u.blocks(), 0xffffffff)))
	binary.BigEndian.PutUint32(p[4:], uint32(u.geo.SectorSize))
	return p
}

func runModeSense6(_ context.Context, r *request) ([]byte, error) {
	body, err := r.u.modeBody(r.CDB)
	if err != nil {
		return nil, err
	}
	d := r.u.blockDescriptor(r.CDB, false)
	p := append([]byte{0, 0, r.u.modeDevice(), byte(len(d))}, append(d, body...)...)
	p[0] = byte(len(p) - 1)
	return p, nil
}

func runModeSense10(_ context.Context, r *request) ([]byte, error) {
	const longLBA = 0x10
	body, err := r.u.modeBody(r.CDB)
	if err != nil {
		return nil, err
	}
	long := r.CDB[1]&longLBA != 0
	d := r.u.blockDescriptor(r.CDB, long)
	p := append([]byte{0, 0, 0, r.u.modeDevice(), 0, 0, 0, byte(len(d))}, append(d, body...)...)
	if long && len(d) > 0 {
		p[4] = 0x01
	}
	binary.BigEndian.PutUint16(p, uint16(len(p)-2))
	return p, nil
}

func runRequestSense(_ context.Context, r *request) ([]byte, error) {
	s := &Sense{Key: NoSense}
	if code, pending := r.u.attn.take(r.Nexus); pending {
		s = &Sense{Key: UnitAttention, Code: code}
	}
	if r.CDB[1]&0x01 != 0 {
		return s.Descriptor(), nil
	}
	return s.Fixed(), nil
}
