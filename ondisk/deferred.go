package ondisk

import "encoding/binary"

// Sizes of values in the index of orphans and in the index of deferred frees, in bytes.
const (
	OrphanSize = 8
	FreeSize   = 8
)

// FreeKind says what a deferred free gives back.
type FreeKind uint32

// Kinds of deferred frees.
const (
	FreeClusters FreeKind = 1 // whole data clusters: bits of the bitmap of clusters
	FreeMeta     FreeKind = 2 // a record or a tree node: one bit of the bitmap of metadata blocks
)

// Free is space that no file uses any more but that still counts as taken, because the node that freed it did not
// hold the lock of its group. It waits in the free log of the node's slot, under its first block as key.
type Free struct {
	Block  uint64 // first block
	Blocks uint32 // never 0
	Kind   FreeKind
}

// EncodeFree makes the value of f; the key is f.Block.
func EncodeFree(f Free) []byte {
	v := make([]byte, FreeSize)
	binary.LittleEndian.PutUint32(v[0:], f.Blocks)
	binary.LittleEndian.PutUint32(v[4:], uint32(f.Kind))
	return v
}

// DecodeFree reads the value of the deferred free with the given key in the tree node in block blk, and holds it to
// the geometry of the volume.
func DecodeFree(s *Super, blk, key uint64, v []byte) (Free, error) {
	bad := func(field string, got any) (Free, error) {
		return Free{}, &Corrupt{Struct: "deferred free", Block: blk, Field: field, Got: got}
	}
	if len(v) != FreeSize {
		return bad("size", len(v))
	}
	le := binary.LittleEndian
	f := Free{Block: key, Blocks: le.Uint32(v[0:]), Kind: FreeKind(le.Uint32(v[4:]))}
	k := s.ClusterBlocks()
	switch f.Kind {
	case FreeClusters:
		if f.Blocks == 0 || f.Blocks%k != 0 {
			return bad("blocks", f.Blocks)
		}
		if key%uint64(k) != 0 || !s.IsDataPlace(key/uint64(k), f.Blocks/k) {
			return bad("first block", key)
		}
	case FreeMeta:
		if f.Blocks != 1 {
			return bad("blocks", f.Blocks)
		}
		if _, ok := s.GroupOf(key); !ok || !s.IsMetaPlace(key) {
			return bad("first block", key)
		}
	default:
		return bad("kind", uint32(f.Kind))
	}
	return f, nil
}

// Orphan is an inode without a name that is still open, or whose space has not been given back yet. The index of
// orphans of a slot keeps it under its inode number.
type Orphan struct {
	Ino        uint64
	Generation uint64
}

// EncodeOrphan makes the value of o; the key is o.Ino.
func EncodeOrphan(o Orphan) []byte {
	return binary.LittleEndian.AppendUint64(nil, o.Generation)
}

// DecodeOrphan reads the value of the orphan with the given key in the tree node in block blk.
func DecodeOrphan(s *Super, blk, key uint64, v []byte) (Orphan, error) {
	if len(v) != OrphanSize {
		return Orphan{}, &Corrupt{Struct: "orphan", Block: blk, Field: "size", Got: len(v)}
	}
	if _, ok := s.GroupOf(key); !ok || !s.IsMetaPlace(key) {
		return Orphan{}, &Corrupt{Struct: "orphan", Block: blk, Field: "inode number", Got: key}
	}
	return Orphan{Ino: key, Generation: binary.LittleEndian.Uint64(v)}, nil
}
