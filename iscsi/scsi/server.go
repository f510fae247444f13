package scsi

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
)

// Server is a SCSI target device: the units that one initiator sees.
type Server struct {
	units   map[int]*Unit
	numbers []int // ascending
}

// NewServer makes a target device of units by their numbers, which must be from 0 to 16383.
func NewServer(units map[int]*Unit) (*Server, error) {
	s := &Server{units: units}
	for n, u := range units {
		if n < 0 || n > 0x3fff {
			return nil, fmt.Errorf("logical unit number %d is out of range", n)
		}
		s.numbers = append(s.numbers, n)
		u.server = s
	}
	slices.Sort(s.numbers)
	return s, nil
}

// Unit returns a unit, nil if there is none of this number.
func (s *Server) Unit(n int) *Unit { return s.units[n] }

// Numbers are the numbers of the units, ascending.
func (s *Server) Numbers() []int { return s.numbers }

// DataOut is Unit.DataOut.
func (s *Server) DataOut(lun int, cdb []byte) int {
	if u := s.units[lun]; u != nil {
		return u.DataOut(cdb)
	}
	return 0
}

// Execute runs a command at a unit, or says that there is none (SPC-4 6.4.2, SAM-5 5.11).
func (s *Server) Execute(ctx context.Context, lun int, c *Command) Result {
	if u := s.units[lun]; u != nil {
		return u.Execute(ctx, c)
	}
	r, cdb, err := find(c.CDB)
	if err == nil {
		err = illegal(LUNotSupported)
		var in []byte
		switch r.name {
		case "INQUIRY":
			if cdb[1]&1 == 0 {
				in = make([]byte, 36)
				in[0], in[2], in[3], in[4] = 0x7f, 6, 2, byte(len(in)-5)
				err = nil
			}
		case "REQUEST SENSE":
			in, err = illegal(LUNotSupported).Fixed(), nil
		case "REPORT LUNS":
			in, err = s.reportLUNs(cdb)
		}
		if err == nil {
			return Result{Status: Good, In: in[:min(len(in), r.allocation(cdb))]}
		}
	}
	return fail(err)
}

// Attach is Unit.Attach on all units.
func (s *Server) Attach(n Nexus, lost bool) {
	for _, i := range s.numbers {
		s.units[i].Attach(n, lost)
	}
}

// Detach is Unit.Detach on all units.
func (s *Server) Detach(n Nexus) {
	for _, i := range s.numbers {
		s.units[i].Detach(n)
	}
}

func runReportLUNs(_ context.Context, r *request) ([]byte, error) {
	if r.u.server == nil {
		return nil, illegal(InvalidOpcode)
	}
	return r.u.server.reportLUNs(r.CDB)
}

// reportLUNs is REPORT LUNS (SPC-4 6.26). There are no well known units.
func (s *Server) reportLUNs(cdb []byte) ([]byte, error) {
	const wellKnown, most = 1, 2
	if cdb[2] > most {
		return nil, badField(2)
	}
	if number(cdb[6:10]) < 16 {
		return nil, badField(6)
	}
	p := make([]byte, 8)
	if cdb[2] != wellKnown {
		for _, n := range s.numbers {
			v := uint64(n) << 48
			if n >= 256 {
				v |= 0x4000 << 48
			}
			p = binary.BigEndian.AppendUint64(p, v)
		}
	}
	binary.BigEndian.PutUint32(p, uint32(len(p)-8))
	return p, nil
}
