package ondisk

import "encoding/binary"

// BitsPerBitmap is how many bits one block of a bitmap holds.
const BitsPerBitmap = 32000

// bitmapStart is the offset of the bits in a bitmap block.
const bitmapStart = 96

// Kinds of bitmaps.
const (
	// ClusterBitmap has one bit per cluster of the group, set while the cluster holds data, metadata or the
	// group's own header.
	ClusterBitmap uint32 = 1
	// MetaBitmap has one bit per block of the group, clear only where a block lies in a metadata chunk and is free.
	MetaBitmap uint32 = 2
)

// Group is the header of an allocation group. Its counters always agree with the bitmaps: they change in the same
// transaction, under the lock of the group.
type Group struct {
	Index        uint32
	Clusters     uint32 // in the group
	FreeClusters uint32 // clear bits of the cluster bitmap
	FreeMeta     uint32 // clear bits of the metadata bitmap
}

// EncodeGroup makes the header block of a group. It is not stamped.
func EncodeGroup(s *Super, g *Group) []byte {
	b := NewBlock(TypeGroup, s.GroupFirst(g.Index), s.UUID, uint64(g.Index), 0)
	g.Put(b)
	return b
}

// Put writes the fields of g over the body of a group header block.
func (g *Group) Put(b []byte) {
	le := binary.LittleEndian
	p := b[HeaderSize:]
	le.PutUint32(p[0:], g.Index)
	le.PutUint32(p[4:], g.Clusters)
	le.PutUint32(p[8:], g.FreeClusters)
	le.PutUint32(p[12:], g.FreeMeta)
}

// DecodeGroup reads the header of group g, which must have been checked by CheckHeader.
func DecodeGroup(s *Super, g uint32, b []byte) (*Group, error) {
	le := binary.LittleEndian
	p := b[HeaderSize:]
	out := &Group{le.Uint32(p[0:]), le.Uint32(p[4:]), le.Uint32(p[8:]), le.Uint32(p[12:])}
	bad := func(field string, got, want any) error {
		return &Corrupt{Struct: "group", Block: s.GroupFirst(g), Field: field, Got: got, Want: want}
	}
	switch {
	case out.Index != g:
		return nil, bad("index", out.Index, g)
	case out.Clusters != s.GroupClusters(g):
		return nil, bad("clusters", out.Clusters, s.GroupClusters(g))
	case out.FreeClusters > out.Clusters-min(out.Clusters, s.GroupMetaClusters()):
		return nil, bad("free clusters", out.FreeClusters, nil)
	case out.FreeMeta > s.GroupBlocksOf(g):
		return nil, bad("free metadata blocks", out.FreeMeta, nil)
	}
	return out, nil
}

// NewBitmap makes block blk, the index-th block of a bitmap of group g, with all bits clear. It is not stamped.
func NewBitmap(s *Super, blk uint64, g uint32, kind, index uint32) []byte {
	b := NewBlock(TypeBitmap, blk, s.UUID, uint64(g), 0)
	binary.LittleEndian.PutUint32(b[80:], kind)
	binary.LittleEndian.PutUint32(b[84:], index)
	return b
}

// BitmapBits are the bits of a bitmap block, which must have been checked by CheckHeader: bit i is bit i%8 of byte
// i/8. kind and index are held to what the place of the block demands.
func BitmapBits(b []byte, kind, index uint32) ([]byte, error) {
	le := binary.LittleEndian
	if k, i := le.Uint32(b[80:]), le.Uint32(b[84:]); k != kind || i != index {
		return nil, &Corrupt{Struct: "bitmap", Block: le.Uint64(b[8:]), Field: "kind and index", Got: [2]uint32{k, i}, Want: [2]uint32{kind, index}}
	}
	return b[bitmapStart : bitmapStart+BitsPerBitmap/8], nil
}

// FormatGroup makes all blocks of a group with nothing in it: header, bitmaps of clusters, bitmaps of metadata
// blocks, in the order in which they lie from GroupFirst. Bits beyond the group are set. Not stamped, not sealed.
func FormatGroup(s *Super, g uint32) [][]byte {
	clusters, own := s.GroupClusters(g), s.GroupMetaClusters()
	blocks := [][]byte{EncodeGroup(s, &Group{Index: g, Clusters: clusters, FreeClusters: clusters - own})}
	for i := range s.ClusterBitmapBlocks() {
		b := NewBitmap(s, s.ClusterBitmapBlock(g, i), g, ClusterBitmap, i)
		bits, _ := BitmapBits(b, ClusterBitmap, i)
		for j := uint32(0); j < BitsPerBitmap; j++ {
			if c := i*BitsPerBitmap + j; c < own || c >= clusters {
				bits[j/8] |= 1 << (j % 8)
			}
		}
		blocks = append(blocks, b)
	}
	for i := range s.MetaBitmapBlocks() {
		b := NewBitmap(s, s.MetaBitmapBlock(g, i), g, MetaBitmap, i)
		bits, _ := BitmapBits(b, MetaBitmap, i)
		for j := range bits {
			bits[j] = 0xff
		}
		blocks = append(blocks, b)
	}
	return blocks
}
