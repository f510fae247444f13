package scsi

import (
	"context"
	"encoding/binary"
	"fmt"
)

// Names that are used where Options give none.
const (
	defaultVendor   = "COVOL"
	defaultProduct  = "VOLUME"
	defaultRevision = "1"
)

// versions are the version descriptors of the standards that we follow (SPC-4 table 143).
var versions = []uint16{
	0x00a0, // SAM-5
	0x0960, // iSCSI
	0x0460, // SPC-4
	0x04c0, // SBC-3
}

func runInquiry(_ context.Context, r *request) ([]byte, error) {
	const vital = 0x01
	if r.CDB[1]&vital == 0 {
		if r.CDB[2] != 0 {
			return nil, badField(2)
		}
		return r.u.standardInquiry(), nil
	}
	for _, p := range vitalPages {
		if p.code == r.CDB[2] {
			body := p.make(r.u)
			page := make([]byte, 4, 4+len(body))
			page[1] = p.code
			binary.BigEndian.PutUint16(page[2:], uint16(len(body)))
			return append(page, body...), nil
		}
	}
	return nil, badField(2)
}

// standardInquiry is the standard INQUIRY data (SPC-4 6.4.2).
func (u *Unit) standardInquiry() []byte {
	p := make([]byte, 96)
	p[2] = 6           // SPC-4
	p[3] = 0x10 | 0x02 // HISUP, response data format
	p[4] = byte(len(p) - 5)
	p[7] = 0x02 // CMDQUE
	copy(p[8:], pad(or(u.opts.Vendor, defaultVendor), 8))
	copy(p[16:], pad(or(u.opts.Product, defaultProduct), 16))
	copy(p[32:], pad(or(u.opts.Revision, defaultRevision), 4))
	for i, v := range versions {
		binary.BigEndian.PutUint16(p[58+2*i:], v)
	}
	return p
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// pad makes an ASCII field of n bytes (SPC-4 4.4.1).
func pad(s string, n int) string { return fmt.Sprintf("%-*.*s", n, n, s) }

// vitalPages are the pages of vital product data.
var vitalPages []vitalPage

type vitalPage struct {
	code   byte
	clause string
	make   func(u *Unit) []byte
}

func init() {
	vitalPages = []vitalPage{
		{0x00, "SPC-4 7.8.13", vitalSupported},
		{0x80, "SPC-4 7.8.15", func(u *Unit) []byte { return []byte(pad(u.opts.Serial, max(1, min(len(u.opts.Serial), 32)))) }},
		{0x83, "SPC-4 7.8.6", vitalIdentity},
		{0xb0, "SBC-3 6.6.3", vitalLimits},
		{0xb1, "SBC-3 6.6.2", vitalCharacter},
		{0xb2, "SBC-3 6.6.4", vitalProvisioning},
	}
}

func vitalSupported(*Unit) []byte {
	var codes []byte
	for _, p := range vitalPages {
		codes = append(codes, p.code)
	}
	return codes
}

// vitalIdentity has an NAA identifier and one by vendor and serial, both of the unit.
func vitalIdentity(u *Unit) []byte {
	naa := make([]byte, 8)
	binary.BigEndian.PutUint64(naa, 3<<60|u.opts.ID&(1<<60-1)) // locally assigned (SPC-4 7.8.6.6.4)
	p := append([]byte{0x01, 0x03, 0, 8}, naa...)
	t10 := pad(or(u.opts.Vendor, defaultVendor), 8) + fmt.Sprintf("%.32s", u.opts.Serial)
	return append(append(p, 0x02, 0x01, 0, byte(len(t10))), t10...)
}

// vitalLimits is the page of block limits.
func vitalLimits(u *Unit) []byte {
	ss := u.geo.SectorSize
	p := make([]byte, 60)
	p[0] = 0x01 // WSNZ
	p[1] = byte(u.maxCompare())
	binary.BigEndian.PutUint16(p[2:], uint16(1<<u.physicalExponent()))
	binary.BigEndian.PutUint32(p[4:], uint32(u.opts.MaxTransfer/ss))
	binary.BigEndian.PutUint32(p[8:], uint32(min(u.opts.MaxTransfer, 256<<10)/ss))
	binary.BigEndian.PutUint64(p[32:], uint64(maxSameBytes/ss))
	if u.zeroer != nil {
		binary.BigEndian.PutUint32(p[16:], uint32(maxUnmapBytes/ss))
		binary.BigEndian.PutUint32(p[20:], maxUnmapRanges)
		binary.BigEndian.PutUint32(p[24:], uint32(1<<u.physicalExponent()))
	}
	return p
}

// vitalCharacter says that the medium does not rotate, as nothing is known of it.
func vitalCharacter(*Unit) []byte {
	p := make([]byte, 60)
	binary.BigEndian.PutUint16(p, 1)
	return p
}

// vitalProvisioning is the page of logical block provisioning.
func vitalProvisioning(u *Unit) []byte {
	p := make([]byte, 4)
	if u.zeroer != nil {
		p[1] = 0x80 | 0x40 | 0x20 | 0x04 // LBPU, LBPWS, LBPWS10, LBPRZ
		p[2] = 2                         // thin
	}
	return p
}
