package ondisk

import (
	"encoding/binary"
	"hash/crc32"
)

// JournalHeads is how many blocks at the start of a journal hold its head; they are written in turn, so that a torn
// write of one leaves the other.
const JournalHeads = 2

// JournalHead tells where the live part of a journal begins. The valid head with the higher Seq counts.
type JournalHead struct {
	Slot        uint16
	Incarnation uint32 // life of the node that writes records; records of other lives are not replayed (J4)
	Seq         uint64 // grows with every write of a head
	TailSeq     uint64 // number of the first transaction that may have to be replayed
	Tail        uint32 // its place: block of the ring, from 0
	Clean       bool   // nothing to replay; the node left in order
	LSN         uint64 // highest Lamport stamp that the node had seen
}

// EncodeJournalHead makes a head for the journal that begins at block start; which is 0 or 1.
func EncodeJournalHead(sb *Super, h *JournalHead, which int) []byte {
	b := NewBlock(TypeJournalHead, sb.JournalStart(h.Slot)+uint64(which), sb.UUID, uint64(h.Slot), 0)
	Stamp(b, h.LSN, 0, h.Slot, h.Incarnation)
	le := binary.LittleEndian
	p := b[HeaderSize:]
	le.PutUint64(p[0:], h.Seq)
	le.PutUint64(p[8:], h.TailSeq)
	le.PutUint32(p[16:], h.Tail)
	if h.Clean {
		le.PutUint32(p[20:], 1)
	}
	Seal(b)
	return b
}

// DecodeJournalHead reads and checks one of the two heads of a slot's journal.
func DecodeJournalHead(sb *Super, slot uint16, which int, b []byte) (*JournalHead, error) {
	blk := sb.JournalStart(slot) + uint64(which)
	if err := CheckHeader(b, TypeJournalHead, blk, sb.UUID); err != nil {
		return nil, err
	}
	hd := GetHeader(b)
	le := binary.LittleEndian
	p := b[HeaderSize:]
	h := &JournalHead{Slot: hd.Slot, Incarnation: hd.Incarnation, LSN: hd.LSN, Seq: le.Uint64(p[0:]), TailSeq: le.Uint64(p[8:]),
		Tail: le.Uint32(p[16:]), Clean: le.Uint32(p[20:]) == 1}
	switch {
	case h.Slot != slot:
		return nil, &Corrupt{Struct: "journal head", Block: blk, Field: "slot", Got: h.Slot, Want: slot}
	case h.Tail >= sb.JournalBlocks-JournalHeads:
		return nil, &Corrupt{Struct: "journal head", Block: blk, Field: "tail", Got: h.Tail}
	case le.Uint32(p[20:]) > 1:
		return nil, &Corrupt{Struct: "journal head", Block: blk, Field: "clean", Got: le.Uint32(p[20:])}
	}
	return h, nil
}

// DescEntries is how many entries fit into one journal descriptor.
const DescEntries = 500

const revokeBit = 1 << 63

// DescEntry announces one block of a transaction.
type DescEntry struct {
	Block  uint64
	Revoke bool // no content follows: older records of this block must not be replayed, it was freed
}

// JournalDesc opens a part of a transaction in the journal; the contents of its entries that are not revokes follow it
// in order, one block each.
type JournalDesc struct {
	Seq     uint64 // number of the transaction
	Entries []DescEntry
}

// EncodeJournalDesc makes a descriptor that lies in block blk of the volume.
func EncodeJournalDesc(sb *Super, d *JournalDesc, blk uint64, slot uint16, incarnation uint32, epoch uint64) []byte {
	b := NewBlock(TypeJournalDesc, blk, sb.UUID, uint64(slot), 0)
	Stamp(b, 0, epoch, slot, incarnation)
	le := binary.LittleEndian
	p := b[HeaderSize:]
	le.PutUint64(p[0:], d.Seq)
	le.PutUint32(p[8:], uint32(len(d.Entries)))
	for i, e := range d.Entries {
		v := e.Block
		if e.Revoke {
			v |= revokeBit
		}
		le.PutUint64(p[16+8*i:], v)
	}
	Seal(b)
	return b
}

// DecodeJournalDesc reads and checks a descriptor.
func DecodeJournalDesc(sb *Super, blk uint64, b []byte) (*JournalDesc, error) {
	if err := CheckHeader(b, TypeJournalDesc, blk, sb.UUID); err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	p := b[HeaderSize:]
	n := le.Uint32(p[8:])
	if n == 0 || n > DescEntries {
		return nil, &Corrupt{Struct: "journal descriptor", Block: blk, Field: "entries", Got: n}
	}
	d := &JournalDesc{Seq: le.Uint64(p[0:]), Entries: make([]DescEntry, n)}
	for i := range d.Entries {
		v := le.Uint64(p[16+8*i:])
		d.Entries[i] = DescEntry{Block: v &^ revokeBit, Revoke: v&revokeBit != 0}
		if d.Entries[i].Block >= sb.Blocks {
			return nil, &Corrupt{Struct: "journal descriptor", Block: blk, Field: "block number", Got: v}
		}
	}
	return d, nil
}

// JournalCommit closes a transaction in the journal. The transaction counts if and only if its commit block is valid
// and Sum is the CRC32C over all its blocks before the commit block.
type JournalCommit struct {
	Seq    uint64
	Blocks uint32 // descriptors and contents before this block
	Sum    uint32
}

// EncodeJournalCommit makes a commit block that lies in block blk of the volume.
func EncodeJournalCommit(sb *Super, c *JournalCommit, blk uint64, slot uint16, incarnation uint32, epoch uint64) []byte {
	b := NewBlock(TypeJournalCommit, blk, sb.UUID, uint64(slot), 0)
	Stamp(b, 0, epoch, slot, incarnation)
	le := binary.LittleEndian
	p := b[HeaderSize:]
	le.PutUint64(p[0:], c.Seq)
	le.PutUint32(p[8:], c.Blocks)
	le.PutUint32(p[12:], c.Sum)
	Seal(b)
	return b
}

// DecodeJournalCommit reads and checks a commit block.
func DecodeJournalCommit(sb *Super, blk uint64, b []byte) (*JournalCommit, error) {
	if err := CheckHeader(b, TypeJournalCommit, blk, sb.UUID); err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	p := b[HeaderSize:]
	return &JournalCommit{Seq: le.Uint64(p[0:]), Blocks: le.Uint32(p[8:]), Sum: le.Uint32(p[12:])}, nil
}

// Checksum extends the CRC32C sum by p. It starts from 0.
func Checksum(sum uint32, p []byte) uint32 { return crc32.Update(sum, castagnoli, p) }
