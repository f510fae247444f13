package pdu

import (
	"encoding/binary"
	"fmt"
)

// Types of additional header segments (RFC 7143 11.2.2.2).
const (
	AHSExtendedCDB = 1
	AHSBidiLength  = 2
)

// AHS is one additional header segment.
type AHS struct {
	Type byte
	Data []byte // what the specific part holds, without its reserved first byte
}

// ParseAHS splits additional header segments (11.2.2): two bytes of length, of all that follows the type; the type; one
// reserved byte that counts as data; padding to words.
func ParseAHS(p []byte) ([]AHS, error) {
	var all []AHS
	for len(p) > 0 {
		if len(p) < 4 {
			return nil, fmt.Errorf("%w: additional header of %d bytes", ErrMalformed, len(p))
		}
		n := int(binary.BigEndian.Uint16(p))
		if n < 1 || n > len(p)-3 {
			return nil, fmt.Errorf("%w: additional header says %d bytes, %d follow", ErrMalformed, n, len(p)-3)
		}
		all = append(all, AHS{p[2], p[4 : 3+n]})
		p = p[min(3+n+pad(3+n), len(p)):]
	}
	return all, nil
}

// Bytes is the segment as on the wire.
func (a AHS) Bytes() []byte {
	n := 1 + len(a.Data)
	p := make([]byte, 3+n+pad(3+n))
	binary.BigEndian.PutUint16(p, uint16(n))
	p[2] = a.Type
	copy(p[4:], a.Data)
	return p
}

// FullCDB joins the CDB of a SCSI command with its extension.
func FullCDB(h *Header, ahs []byte) ([]byte, error) {
	cdb := h.CDB()
	if len(ahs) == 0 {
		return cdb, nil
	}
	all, err := ParseAHS(ahs)
	if err != nil {
		return nil, err
	}
	for _, a := range all {
		if a.Type == AHSExtendedCDB {
			return append(append([]byte(nil), cdb...), a.Data...), nil
		}
	}
	return cdb, nil
}
