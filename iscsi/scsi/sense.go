package scsi

import (
	"encoding/binary"
	"fmt"
)

// Status is what a command ends with (SAM-5 5.3.1).
type Status byte

// The statuses.
const (
	Good                Status = 0x00
	CheckCondition      Status = 0x02
	ConditionMet        Status = 0x04
	Busy                Status = 0x08
	ReservationConflict Status = 0x18
	TaskSetFull         Status = 0x28
	TaskAborted         Status = 0x40
)

func (s Status) String() string {
	switch s {
	case Good:
		return "GOOD"
	case CheckCondition:
		return "CHECK CONDITION"
	case ConditionMet:
		return "CONDITION MET"
	case Busy:
		return "BUSY"
	case ReservationConflict:
		return "RESERVATION CONFLICT"
	case TaskSetFull:
		return "TASK SET FULL"
	case TaskAborted:
		return "TASK ABORTED"
	}
	return fmt.Sprintf("status %#02x", byte(s))
}

// Key is a sense key (SPC-4 4.5.6).
type Key byte

// The sense keys that are used.
const (
	NoSense        Key = 0x0
	NotReady       Key = 0x2
	MediumError    Key = 0x3
	HardwareError  Key = 0x4
	IllegalRequest Key = 0x5
	UnitAttention  Key = 0x6
	DataProtect    Key = 0x7
	AbortedCommand Key = 0xb
	Miscompare     Key = 0xe
)

// Code is an additional sense code and its qualifier (SPC-4 annex F).
type Code uint16

// The codes that are used.
const (
	NoCode                   Code = 0x0000
	WriteError               Code = 0x0c00
	UnrecoveredRead          Code = 0x1100
	ParamListLength          Code = 0x1a00
	MiscompareVerify         Code = 0x1d00
	InvalidOpcode            Code = 0x2000
	LBAOutOfRange            Code = 0x2100
	InvalidFieldInCDB        Code = 0x2400
	LUNotSupported           Code = 0x2500
	InvalidFieldInParam      Code = 0x2600
	InvalidRelease           Code = 0x2604
	WriteProtected           Code = 0x2700
	PowerOnReset             Code = 0x2900
	BusDeviceReset           Code = 0x2903
	NexusLoss                Code = 0x2907
	ModeChanged              Code = 0x2a01
	ReservationsPreempted    Code = 0x2a03
	ReservationsReleased     Code = 0x2a04
	RegistrationsPreempted   Code = 0x2a05
	SavingNotSupported       Code = 0x3900
	InternalFailure          Code = 0x4400
	InsufficientRegistration Code = 0x5504
)

// Sense is why a command met CHECK CONDITION. It is an error.
type Sense struct {
	Key     Key
	Code    Code
	Info    uint64 // the INFORMATION field
	HasInfo bool
	Field   int  // FIELD POINTER: the byte at fault
	HasPtr  bool // the sense-key specific bytes point at a field
	InCDB   bool // of the CDB, else of the parameter list
}

func (s *Sense) Error() string {
	return fmt.Sprintf("sense key %#x, code %04x", byte(s.Key), uint16(s.Code))
}

// Fixed is the sense data in fixed format (SPC-4 4.5.3), current errors.
func (s *Sense) Fixed() []byte {
	p := make([]byte, 18)
	p[0] = 0x70
	p[2] = byte(s.Key)
	p[7] = byte(len(p) - 8)
	if s.HasInfo && s.Info <= 0xffffffff {
		p[0] |= 0x80
		binary.BigEndian.PutUint32(p[3:], uint32(s.Info))
	}
	binary.BigEndian.PutUint16(p[12:], uint16(s.Code))
	if s.HasPtr {
		p[15] = 0x80
		if s.InCDB {
			p[15] |= 0x40
		}
		binary.BigEndian.PutUint16(p[16:], uint16(s.Field))
	}
	return p
}

// Descriptor is the sense data in descriptor format (SPC-4 4.5.2).
func (s *Sense) Descriptor() []byte {
	p := make([]byte, 8, 28)
	p[0], p[1] = 0x72, byte(s.Key)
	binary.BigEndian.PutUint16(p[2:], uint16(s.Code))
	if s.HasInfo {
		d := make([]byte, 12)
		d[1], d[2] = 0x0a, 0x80
		binary.BigEndian.PutUint64(d[4:], s.Info)
		p = append(p, d...)
	}
	if s.HasPtr {
		d := make([]byte, 8)
		d[0], d[1], d[4] = 0x02, 0x06, 0x80
		if s.InCDB {
			d[4] |= 0x40
		}
		binary.BigEndian.PutUint16(d[5:], uint16(s.Field))
		p = append(p, d...)
	}
	p[7] = byte(len(p) - 8)
	return p
}

// ParseSense reads sense data of either format, as an initiator gets it. ok is false if it is neither.
func ParseSense(p []byte) (s Sense, ok bool) {
	if len(p) < 4 {
		return s, false
	}
	switch p[0] & 0x7f {
	case 0x70, 0x71:
		s.Key = Key(p[2] & 0xf)
		if p[0]&0x80 != 0 && len(p) >= 7 {
			s.Info, s.HasInfo = uint64(binary.BigEndian.Uint32(p[3:])), true
		}
		if len(p) >= 14 {
			s.Code = Code(binary.BigEndian.Uint16(p[12:]))
		}
		return s, true
	case 0x72, 0x73:
		s.Key, s.Code = Key(p[1]&0xf), Code(binary.BigEndian.Uint16(p[2:]))
		return s, true
	}
	return s, false
}

// badField says that a field of the CDB has a value that is not supported (SPC-4 4.5.2.4.2).
func badField(at int) *Sense {
	return &Sense{Key: IllegalRequest, Code: InvalidFieldInCDB, Field: at, HasPtr: true, InCDB: true}
}

// badParam is the same for the parameter list.
func badParam(at int) *Sense {
	return &Sense{Key: IllegalRequest, Code: InvalidFieldInParam, Field: at, HasPtr: true}
}

func illegal(c Code) *Sense { return &Sense{Key: IllegalRequest, Code: c} }
