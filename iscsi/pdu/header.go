package pdu

import (
	"fmt"
	"strings"
)

// HeaderLen is the length of a basic header segment in bytes (RFC 7143 11.2.1).
const HeaderLen = 48

// Header is a basic header segment.
type Header [HeaderLen]byte

// Field is a big-endian number in a Header.
type Field struct {
	Name     string
	Off, Len int // bytes
}

// Fields of the headers, by their names in RFC 7143 section 11. Which opcode has which is in Layouts.
var (
	Flags         = Field{"flags", 1, 1}
	Response      = Field{"Response", 2, 1}
	Reason        = Field{"Reason", 2, 1}
	VersionMax    = Field{"Version-max", 2, 1}
	VersionMin    = Field{"Version-min", 3, 1}
	VersionActive = Field{"Version-active", 3, 1}
	Status        = Field{"Status", 3, 1}
	AHSLength     = Field{"TotalAHSLength", 4, 1} // in words of four bytes
	DataLength    = Field{"DataSegmentLength", 5, 3}
	LUN           = Field{"LUN", 8, 8}
	ISID          = Field{"ISID", 8, 6}
	TSIH          = Field{"TSIH", 14, 2}
	ITT           = Field{"InitiatorTaskTag", 16, 4}
	TTT           = Field{"TargetTransferTag", 20, 4}
	EDTL          = Field{"ExpectedDataTransferLength", 20, 4}
	RefTaskTag    = Field{"ReferencedTaskTag", 20, 4}
	CID           = Field{"CID", 20, 2}
	CmdSN         = Field{"CmdSN", 24, 4}
	StatSN        = Field{"StatSN", 24, 4}
	ExpStatSN     = Field{"ExpStatSN", 28, 4}
	ExpCmdSN      = Field{"ExpCmdSN", 28, 4}
	MaxCmdSN      = Field{"MaxCmdSN", 32, 4}
	RefCmdSN      = Field{"RefCmdSN", 32, 4}
	DataSN        = Field{"DataSN", 36, 4}
	R2TSN         = Field{"R2TSN", 36, 4}
	ExpDataSN     = Field{"ExpDataSN", 36, 4}
	StatusClass   = Field{"Status-Class", 36, 1}
	StatusDetail  = Field{"Status-Detail", 37, 1}
	AsyncEvent    = Field{"AsyncEvent", 36, 1}
	AsyncVCode    = Field{"AsyncVCode", 37, 1}
	BufferOffset  = Field{"BufferOffset", 40, 4}
	Time2Wait     = Field{"Time2Wait", 40, 2}
	Time2Retain   = Field{"Time2Retain", 42, 2}
	Residual      = Field{"ResidualCount", 44, 4}
	DesiredLength = Field{"DesiredDataTransferLength", 44, 4}
)

const cdbOff = 32 // 11.3, a CDB of 16 bytes ends the header

// Get returns the field.
func (h *Header) Get(f Field) uint64 {
	var v uint64
	for _, b := range h[f.Off : f.Off+f.Len] {
		v = v<<8 | uint64(b)
	}
	return v
}

// U32 returns a field of at most four bytes.
func (h *Header) U32(f Field) uint32 { return uint32(h.Get(f)) }

// Set stores the low bytes of v in the field.
func (h *Header) Set(f Field, v uint64) {
	for i := f.Off + f.Len - 1; i >= f.Off; i-- {
		h[i] = byte(v)
		v >>= 8
	}
}

// Set32 stores v in the field.
func (h *Header) Set32(f Field, v uint32) { h.Set(f, uint64(v)) }

// Op is the opcode (11.2.1.2).
func (h *Header) Op() Opcode { return Opcode(h[0] & 0x3f) }

// Immediate reports the I bit (11.2.1.1).
func (h *Header) Immediate() bool { return h[0]&immediate != 0 }

// SetImmediate sets the I bit.
func (h *Header) SetImmediate() { h[0] |= immediate }

const immediate = 0x40

// Has reports whether all bits of mask are set in the flags.
func (h *Header) Has(mask byte) bool { return h[1]&mask == mask }

// CDB is the command descriptor block of a SCSI command; what follows its first 16 bytes is in an AHS.
func (h *Header) CDB() []byte { return h[cdbOff:HeaderLen] }

// New returns the header of an opcode with its flags.
func New(op Opcode, flags byte) Header {
	var h Header
	h[0], h[1] = byte(op), flags
	return h
}

// String lists the fields that the opcode has.
func (h *Header) String() string {
	l, ok := Layouts[h.Op()]
	if !ok {
		return fmt.Sprintf("opcode %#02x", byte(h.Op()))
	}
	var b strings.Builder
	b.WriteString(l.Name)
	if h.Immediate() {
		b.WriteString(" immediate")
	}
	for _, f := range l.Fields {
		fmt.Fprintf(&b, " %s=%#x", f.Name, h.Get(f))
	}
	return b.String()
}
