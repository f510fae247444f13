package check

import (
	"encoding/binary"
	"slices"

	"github.com/covol/covol/ondisk"
)

// mend reads a record that is not valid: after turning back one flipped bit, or without the attributes that cannot be.
// It returns nil if neither helps.
func (p *planner) mend(b []byte, ino uint64) *ondisk.Inode {
	if b == nil {
		return nil
	}
	if !sealed(b) && !unflip(b) {
		return nil
	}
	h := ondisk.GetHeader(b)
	if h.Type != ondisk.TypeInode || h.UUID != p.c.sb.UUID || h.Block != ino {
		return nil
	}
	ondisk.PutHeader(b, &ondisk.Header{Type: h.Type, Version: ondisk.Version, Block: ino, UUID: h.UUID, Owner: ino, Generation: h.Generation, LSN: h.LSN})
	le := binary.LittleEndian
	for off := ondisk.HeaderSize + 56; off < attrsStart; off += 16 {
		if le.Uint32(b[off+8:]) >= 1e9 {
			le.PutUint32(b[off+8:], 0)
		}
	}
	if in, err := ondisk.DecodeInode(b); err == nil {
		return in
	}
	return p.mendAttrs(b, ino)
}

const (
	attrsStart = ondisk.HeaderSize + 120 // of a record, see FORMAT.md
	sizeOffset = ondisk.HeaderSize + 24
)

// mendAttrs keeps the attributes of b one by one, those with which the record can still be read.
func (p *planner) mendAttrs(b []byte, ino uint64) *ondisk.Inode {
	le := binary.LittleEndian
	out := slices.Clone(b)
	clear(out[attrsStart:])
	if le.Uint64(out[sizeOffset:]) > ondisk.MaxFileSize {
		le.PutUint64(out[sizeOffset:], 0)
	}
	to := attrsStart
	for at := attrsStart; at+8 <= len(b); {
		typ, n := le.Uint16(b[at:]), int(le.Uint16(b[at+2:]))
		whole := 8 + (n+7)&^7
		if typ == 0 || at+whole > len(b) || to+whole > len(b) {
			break
		}
		for try := range 3 {
			copy(out[to:], b[at:at+whole])
			switch {
			case try == 1 && typ == 3: // content of another length than the size says
				le.PutUint64(out[sizeOffset:], uint64(n))
			case try == 2 && typ >= 4 && n >= ondisk.MinNodeSize: // a root that cannot be read: its leaves may be found
				ondisk.InitNode(out[to+8:to+8+n], 0)
				p.broken[ino] = true
			case try > 0:
				clear(out[to : to+whole])
				continue
			}
			if _, err := ondisk.DecodeInode(out); err == nil {
				to += whole
				break
			}
			clear(out[to : to+whole])
		}
		at += whole
	}
	in, err := ondisk.DecodeInode(out)
	if err != nil {
		return nil
	}
	return in
}
