package sim

import (
	"encoding/binary"
	"fmt"
)

// sectorBytes is the unit that is written whole; every one that a client writes says who wrote it, for which file and
// place, and when.
const sectorBytes = 512

// stamp is the content of one sector.
type stamp struct {
	client, file, cell, version uint32
}

const stampMagic = 0x70617473_6c6f7663 // "cvolstap"

// put fills b. Every eight bytes differ from those of any other stamp, so that a mixture is seen.
func (s stamp) put(b []byte) {
	le := binary.LittleEndian
	le.PutUint64(b, stampMagic)
	le.PutUint32(b[8:], s.client)
	le.PutUint32(b[12:], s.file)
	le.PutUint32(b[16:], s.cell)
	le.PutUint32(b[20:], s.version)
	for at := 24; at < sectorBytes; at += 8 {
		le.PutUint64(b[at:], s.fill(at))
	}
}

func (s stamp) fill(at int) uint64 {
	x := uint64(s.client)<<48 ^ uint64(s.file)<<32 ^ uint64(s.cell)<<20 ^ uint64(s.version)
	return (x+uint64(at))*0x9e3779b97f4a7c15 | 1
}

// readStamp returns what b says; zero is a sector of zeros. Anything else than one whole stamp is an error.
func readStamp(b []byte) (stamp, error) {
	le := binary.LittleEndian
	if le.Uint64(b) == 0 {
		for i, c := range b[:sectorBytes] {
			if c != 0 {
				return stamp{}, fmt.Errorf("zeros, and %#x at byte %d", c, i)
			}
		}
		return stamp{}, nil
	}
	if le.Uint64(b) != stampMagic {
		return stamp{}, fmt.Errorf("not a stamp: % x", b[:24])
	}
	s := stamp{le.Uint32(b[8:]), le.Uint32(b[12:]), le.Uint32(b[16:]), le.Uint32(b[20:])}
	for at := 24; at < sectorBytes; at += 8 {
		if le.Uint64(b[at:]) != s.fill(at) {
			return stamp{}, fmt.Errorf("a mixture: %+v, but not at byte %d", s, at)
		}
	}
	return s, nil
}
