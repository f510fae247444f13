package ondisk

import (
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
)

// BlockSize is the size of every metadata block in bytes.
const BlockSize = 4096

// Version is the format version in every header. It grows when an old build must not interpret a block.
const Version = 1

// Magic opens every metadata block: "covl".
const Magic = 0x6c766f63

// HeaderSize is the size of the header of every metadata block in bytes.
const HeaderSize = 80

// Type says what a metadata block holds.
type Type uint16

// Types of metadata blocks. Numbers are part of the format and never reused.
const (
	TypeSuper Type = iota + 1
	TypeGrow
	TypeView
	TypeBallot
	TypeSlot
	TypeSpace
	TypeGroup
	TypeBitmap
	TypeInode
	TypeNode
	TypeJournalHead
	TypeJournalDesc
	TypeJournalCommit
)

var typeNames = [...]string{"", "super", "grow", "view", "ballot", "slot", "space", "group", "bitmap", "inode", "node",
	"journal head", "journal descriptor", "journal commit"}

// String is the name of the structure as in FORMAT.md.
func (t Type) String() string {
	if t > 0 && int(t) < len(typeNames) {
		return typeNames[t]
	}
	return "unknown block"
}

// UUID names a volume.
type UUID [16]byte

// String is the usual 8-4-4-4-12 form.
func (u UUID) String() string {
	h := hex.EncodeToString(u[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// Header opens every metadata block.
type Header struct {
	Type        Type
	Version     uint16
	Block       uint64 // own number
	UUID        UUID   // of the volume
	Owner       uint64 // inode number, group index or slot that the block belongs to
	Generation  uint64 // of the owner; tells lives of a reused inode number apart
	LSN         uint64 // Lamport stamp of the transaction that wrote it
	Epoch       uint64 // view in which it was written
	Slot        uint16 // node that wrote it
	Incarnation uint32 // and which life of it
	CRC         uint32 // CRC32C over the block with this field zero
}

const crcOffset = 72

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// PutHeader writes h over the first HeaderSize bytes of b. It does not compute the CRC; Seal does.
func PutHeader(b []byte, h *Header) {
	le := binary.LittleEndian
	le.PutUint32(b[0:], Magic)
	le.PutUint16(b[4:], uint16(h.Type))
	le.PutUint16(b[6:], h.Version)
	le.PutUint64(b[8:], h.Block)
	copy(b[16:32], h.UUID[:])
	le.PutUint64(b[32:], h.Owner)
	le.PutUint64(b[40:], h.Generation)
	le.PutUint64(b[48:], h.LSN)
	le.PutUint64(b[56:], h.Epoch)
	le.PutUint16(b[64:], h.Slot)
	le.PutUint16(b[66:], 0)
	le.PutUint32(b[68:], h.Incarnation)
	le.PutUint32(b[72:], h.CRC)
	le.PutUint32(b[76:], 0)
}

// GetHeader reads the header of b without any check. b must have at least HeaderSize bytes.
func GetHeader(b []byte) Header {
	le := binary.LittleEndian
	h := Header{
		Type: Type(le.Uint16(b[4:])), Version: le.Uint16(b[6:]), Block: le.Uint64(b[8:]),
		Owner: le.Uint64(b[32:]), Generation: le.Uint64(b[40:]), LSN: le.Uint64(b[48:]), Epoch: le.Uint64(b[56:]),
		Slot: le.Uint16(b[64:]), Incarnation: le.Uint32(b[68:]), CRC: le.Uint32(b[72:]),
	}
	copy(h.UUID[:], b[16:32])
	return h
}

// NewBlock makes a zero block with a header of the given type, number, volume and owner. LSN, epoch and writer are
// stamped when the block is published to a journal, or by the caller for blocks that are written directly.
func NewBlock(t Type, blk uint64, uuid UUID, owner, generation uint64) []byte {
	b := make([]byte, BlockSize)
	PutHeader(b, &Header{Type: t, Version: Version, Block: blk, UUID: uuid, Owner: owner, Generation: generation})
	return b
}

// Stamp sets LSN, epoch and writer in the header of b.
func Stamp(b []byte, lsn, epoch uint64, slot uint16, incarnation uint32) {
	le := binary.LittleEndian
	le.PutUint64(b[48:], lsn)
	le.PutUint64(b[56:], epoch)
	le.PutUint16(b[64:], slot)
	le.PutUint32(b[68:], incarnation)
}

// LSN is the Lamport stamp in the header of b.
func LSN(b []byte) uint64 { return binary.LittleEndian.Uint64(b[48:]) }

// Owner is the owner in the header of b.
func Owner(b []byte) uint64 { return binary.LittleEndian.Uint64(b[32:]) }

// Seal computes the CRC of b and stores it in the header. It must be the last change to b.
func Seal(b []byte) {
	binary.LittleEndian.PutUint32(b[crcOffset:], 0)
	binary.LittleEndian.PutUint32(b[crcOffset:], crc32.Checksum(b[:BlockSize], castagnoli))
}

var fourZeros [4]byte

// crcOf is the CRC32C of the block with its CRC field taken as zero; b is not changed.
func crcOf(b []byte) uint32 {
	c := crc32.Update(0, castagnoli, b[:crcOffset])
	c = crc32.Update(c, castagnoli, fourZeros[:])
	return crc32.Update(c, castagnoli, b[crcOffset+4:BlockSize])
}

// CheckHeader returns nil if b is a block of type want with number blk of volume uuid, whole and unaltered, and a
// *Corrupt otherwise (F1). The CRC is checked before any other field is believed.
func CheckHeader(b []byte, want Type, blk uint64, uuid UUID) error {
	bad := func(field string, got, expect any) error {
		return &Corrupt{Struct: want.String(), Block: blk, Field: field, Got: got, Want: expect}
	}
	if len(b) != BlockSize {
		return bad("length", len(b), BlockSize)
	}
	if m := binary.LittleEndian.Uint32(b); m != Magic {
		return bad("magic", m, uint32(Magic))
	}
	h := GetHeader(b)
	if c := crcOf(b); c != h.CRC {
		return bad("crc", h.CRC, c)
	}
	switch {
	case h.Version != Version:
		return bad("version", h.Version, uint16(Version))
	case h.Type != want:
		return bad("type", h.Type.String(), want.String())
	case h.UUID != uuid:
		return bad("volume uuid", h.UUID.String(), uuid.String())
	case h.Block != blk:
		return bad("own number", h.Block, blk)
	}
	return nil
}
