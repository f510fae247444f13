package scsi

import (
	"bytes"
	"context"
	"encoding/binary"
)

// runModeSelect takes pages whose values are the current ones, but for SWP.
func runModeSelect(_ context.Context, r *request) ([]byte, error) {
	const pageFormat = 0x10
	p, err := r.whole(int(outList(map[byte]int{0x15: 4, 0x55: 7}[r.CDB[0]], len(r.CDB)/5)(r.u, r.CDB)))
	if err != nil || len(p) == 0 {
		return nil, err
	}
	if r.CDB[1]&pageFormat == 0 {
		return nil, badField(1)
	}
	header, descriptors := 4, 0
	if len(p) < 4 || r.CDB[0] == 0x55 && len(p) < 8 {
		return nil, illegal(ParamListLength)
	}
	if descriptors = int(p[3]); r.CDB[0] == 0x55 {
		header, descriptors = 8, int(binary.BigEndian.Uint16(p[6:]))
	}
	if header+descriptors > len(p) {
		return nil, illegal(ParamListLength)
	}
	protect, err := r.u.selectPages(p[header+descriptors:], header+descriptors)
	if err != nil {
		return nil, err
	}
	if protect != r.u.protected {
		r.u.protected = protect
		r.u.attn.raiseOthers(r.Nexus, ModeChanged)
	}
	return nil, nil
}

// selectPages returns SWP as the pages would have it. at is where they are in the parameter list.
func (u *Unit) selectPages(p []byte, at int) (protect bool, err error) {
	protect = u.protected
	for len(p) > 0 {
		if len(p) < 2 || int(p[1]) > len(p)-2 {
			return false, illegal(ParamListLength)
		}
		body := bytes.Clone(p[2 : 2+p[1]])
		known := false
		for _, m := range modePages {
			if m.code != p[0]&0x3f || len(body) != len(m.body) {
				continue
			}
			if m.code == controlPage {
				protect = body[swpByte]&swpBit != 0
				body[swpByte] &^= swpBit
			}
			known = bytes.Equal(body, m.body)
		}
		if !known {
			return false, badParam(at)
		}
		at += 2 + int(p[1])
		p = p[2+p[1]:]
	}
	return protect, nil
}
