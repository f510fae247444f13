package journal

import (
	"encoding/binary"

	"github.com/covol/covol/ondisk"
)

// legalPlace reports whether a block of type t may be journalled for place blk. Superblock, view, ballots, slots and
// the journals themselves are never written through a journal: replay must not touch them, whatever a record says.
func legalPlace(sb *ondisk.Super, blk uint64, t ondisk.Type) bool {
	if blk == ondisk.GrowBlock {
		return t == ondisk.TypeGrow
	}
	if blk >= sb.SpaceBlock(0) && blk < sb.SpaceBlock(0)+uint64(sb.Slots) {
		return t == ondisk.TypeSpace
	}
	if sb.IsMetaPlace(blk) {
		return t == ondisk.TypeInode || t == ondisk.TypeNode
	}
	g, ok := sb.GroupOf(blk)
	if !ok {
		return false
	}
	off := blk - sb.GroupFirst(g)
	switch {
	case off == 0:
		return t == ondisk.TypeGroup
	case off < uint64(sb.GroupMetaBlocks()):
		return t == ondisk.TypeBitmap
	}
	return false
}

// checkPlace is legalPlace as an error.
func checkPlace(sb *ondisk.Super, blk uint64, t ondisk.Type) error {
	if legalPlace(sb, blk, t) {
		return nil
	}
	return &ondisk.Corrupt{Struct: "journal record", Block: blk, Field: "place for a block of type " + t.String(), Got: blk}
}

// journalled reports whether anything may be journalled for place blk.
func journalled(sb *ondisk.Super, blk uint64) bool {
	for _, t := range []ondisk.Type{ondisk.TypeGrow, ondisk.TypeSpace, ondisk.TypeInode, ondisk.TypeGroup, ondisk.TypeBitmap} {
		if legalPlace(sb, blk, t) {
			return true
		}
	}
	return false
}

// checkHeader holds the fields that the caller of Write sets to what replay will demand of them. LSN, epoch, writer
// and CRC are not looked at: they are stamped later.
func checkHeader(sb *ondisk.Super, blk uint64, b []byte) error {
	if len(b) != ondisk.BlockSize {
		return misuse("block %d has %d bytes", blk, len(b))
	}
	h := ondisk.GetHeader(b)
	switch {
	case binary.LittleEndian.Uint32(b) != ondisk.Magic || h.Version != ondisk.Version:
		return misuse("block %d has no header", blk)
	case h.Block != blk:
		return misuse("block %d has the header of block %d", blk, h.Block)
	case h.UUID != sb.UUID:
		return misuse("block %d has the header of volume %s", blk, h.UUID)
	}
	return checkPlace(sb, blk, h.Type)
}
