package ondisk

import "encoding/binary"

// ExtentSize is the size of the value of an extent in a tree, in bytes. Its key is Logical.
const ExtentSize = 16

// Flags of an extent.
const (
	// ExtentUnwritten: the clusters are allocated but read as zeros.
	ExtentUnwritten uint32 = 1 << 0
	// ExtentShared: the clusters have more than one owner (needs IncompatShared).
	ExtentShared uint32 = 1 << 1
)

// Extent maps a run of clusters of a file to clusters of the volume. Holes are absent.
type Extent struct {
	Logical  uint64 // first cluster of the file
	Physical uint64 // first cluster of the volume
	Length   uint32 // clusters, never 0
	Flags    uint32
}

// End is the first cluster of the file behind the extent.
func (e Extent) End() uint64 { return e.Logical + uint64(e.Length) }

// EncodeExtent makes the value of e; the key is e.Logical.
func EncodeExtent(e Extent) []byte {
	v := make([]byte, ExtentSize)
	le := binary.LittleEndian
	le.PutUint64(v[0:], e.Physical)
	le.PutUint32(v[8:], e.Length)
	le.PutUint32(v[12:], e.Flags)
	return v
}

// DecodeExtent reads the value of an extent with key logical in the tree node in block blk, and holds it to the
// geometry of the volume: the clusters lie in one group, behind the group's own metadata.
func DecodeExtent(s *Super, blk, logical uint64, v []byte) (Extent, error) {
	bad := func(field string, got any) (Extent, error) {
		return Extent{}, &Corrupt{Struct: "extent", Block: blk, Field: field, Got: got}
	}
	if len(v) != ExtentSize {
		return bad("size", len(v))
	}
	le := binary.LittleEndian
	e := Extent{Logical: logical, Physical: le.Uint64(v[0:]), Length: le.Uint32(v[8:]), Flags: le.Uint32(v[12:])}
	known := ExtentUnwritten
	if s.Incompat&IncompatShared != 0 {
		known |= ExtentShared
	}
	switch {
	case e.Length == 0 || logical+uint64(e.Length) < logical || logical+uint64(e.Length) > MaxFileSize/uint64(s.ClusterSize):
		return bad("length", e.Length)
	case e.Flags&^known != 0:
		return bad("flags", e.Flags)
	case !s.IsDataPlace(e.Physical, e.Length):
		return bad("physical cluster", e.Physical)
	}
	return e, nil
}

// MaxFileSize is the largest size of a file in bytes.
const MaxFileSize = 64 << 40
