package ondisk

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"time"
)

// Fixed places, in blocks.
const (
	SuperBlock     = 0
	SuperCopyBlock = 8 // the other copy is the last block of the volume
	GrowBlock      = 9
	RootBlock      = 10 // record of the root directory; also its inode number
	ViewBlock      = 16
	slotArea       = 64
)

// Limits of the format.
const (
	MaxSlots       = 255
	MinVolume      = 256 << 20 // bytes
	MaxVolume      = 64 << 40  // bytes
	MinCluster     = 4 << 10   // bytes
	MaxCluster     = 1 << 20   // bytes
	MinJournal     = 256       // blocks
	MaxJournal     = 1 << 18   // blocks
	MaxGroupBlocks = 256000    // 1000 MiB; a multiple of every cluster size
	MinGroupBlocks = 2048
	LabelSize      = 64 // bytes
	journalAlign   = 256
	SystemPerSlot  = 2 // system records per slot: orphans, deferred frees
)

// Features. An unknown Incompat bit forbids mounting, an unknown ROCompat bit forbids writing, an unknown Compat
// bit forbids nothing but repair.
const (
	KnownCompat   uint64 = 0
	KnownROCompat uint64 = 0
	// IncompatShared is reserved: extents may be shared and groups carry trees of reference counts.
	IncompatShared uint64 = 1 << 0
	KnownIncompat  uint64 = 0
)

// Profile is the set of times that every node of a volume must share (design section 5).
type Profile struct {
	Name      string        // "default", "san", "fast"; at most 16 bytes
	Heartbeat time.Duration // h, interval of renewals
	Lease     time.Duration // L, a node stops writing this long after the start of its last renewal
	IOBound   time.Duration // D, bound on one device I/O
	Guard     time.Duration // g
}

// Profiles that mkfs offers.
var Profiles = []Profile{
	{"default", time.Second, 8 * time.Second, 4 * time.Second, 2 * time.Second},
	{"san", 2 * time.Second, 20 * time.Second, 20 * time.Second, 5 * time.Second},
	{"fast", 200 * time.Millisecond, 2 * time.Second, time.Second, 500 * time.Millisecond},
}

// Wait is W = L + D + g: how long a survivor waits after it last saw a slot change.
func (p Profile) Wait() time.Duration { return p.Lease + p.IOBound + p.Guard }

// Super is the superblock: what every node must agree on before it may touch anything else. It is written by mkfs
// and by offline tools only.
type Super struct {
	UUID          UUID
	Label         string
	Created       int64 // seconds since 1970
	Blocks        uint64
	ClusterSize   uint32 // bytes
	Slots         uint32
	JournalBlocks uint32 // per slot, two heads included
	GroupBlocks   uint32 // of every group but the last
	Groups        uint32
	GroupStart    uint64 // first block of group 0
	FreeClusters  uint64 // free data clusters when the volume was made; Space blocks hold the changes since
	Profile       Profile
	HashSeed      [16]byte // key of the hash of names
	Compat        uint64
	ROCompat      uint64
	Incompat      uint64
}

// EncodeSuper makes the superblock, or the copy of it that lives in block blk.
func EncodeSuper(s *Super, blk uint64) []byte {
	b := NewBlock(TypeSuper, blk, s.UUID, 0, 0)
	le := binary.LittleEndian
	p := b[HeaderSize:]
	copy(p[0:LabelSize], s.Label)
	le.PutUint64(p[64:], uint64(s.Created))
	le.PutUint64(p[72:], s.Blocks)
	le.PutUint32(p[80:], s.ClusterSize)
	le.PutUint32(p[84:], s.Slots)
	le.PutUint32(p[88:], s.JournalBlocks)
	le.PutUint32(p[92:], s.GroupBlocks)
	le.PutUint32(p[96:], s.Groups)
	le.PutUint32(p[100:], 0)
	le.PutUint64(p[104:], s.GroupStart)
	le.PutUint64(p[112:], s.FreeClusters)
	copy(p[120:136], s.Profile.Name)
	le.PutUint32(p[136:], uint32(s.Profile.Heartbeat.Milliseconds()))
	le.PutUint32(p[140:], uint32(s.Profile.Lease.Milliseconds()))
	le.PutUint32(p[144:], uint32(s.Profile.IOBound.Milliseconds()))
	le.PutUint32(p[148:], uint32(s.Profile.Guard.Milliseconds()))
	copy(p[152:168], s.HashSeed[:])
	le.PutUint64(p[168:], s.Compat)
	le.PutUint64(p[176:], s.ROCompat)
	le.PutUint64(p[184:], s.Incompat)
	Seal(b)
	return b
}

// DecodeSuper reads the superblock or a copy that was found in block blk. Errors are ErrCorrupt, or ErrVersion for a
// version or an incompatible feature that this build does not know.
func DecodeSuper(b []byte, blk uint64) (*Super, error) {
	if len(b) == BlockSize && binary.LittleEndian.Uint32(b) == Magic {
		if h := GetHeader(b); h.Version != Version && crcOf(b) == h.CRC {
			return nil, fmt.Errorf("superblock in block %d: format version %d, this build knows %d: %w", blk, h.Version, Version, ErrVersion)
		}
	}
	var uuid UUID
	if len(b) >= HeaderSize {
		copy(uuid[:], b[16:32])
	}
	if err := CheckHeader(b, TypeSuper, blk, uuid); err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	p := b[HeaderSize:]
	ms := func(off int) time.Duration { return time.Duration(le.Uint32(p[off:])) * time.Millisecond }
	s := &Super{
		UUID: uuid, Label: cstring(p[0:LabelSize]), Created: int64(le.Uint64(p[64:])), Blocks: le.Uint64(p[72:]),
		ClusterSize: le.Uint32(p[80:]), Slots: le.Uint32(p[84:]), JournalBlocks: le.Uint32(p[88:]),
		GroupBlocks: le.Uint32(p[92:]), Groups: le.Uint32(p[96:]), GroupStart: le.Uint64(p[104:]),
		FreeClusters: le.Uint64(p[112:]),
		Profile:      Profile{cstring(p[120:136]), ms(136), ms(140), ms(144), ms(148)},
		Compat:       le.Uint64(p[168:]), ROCompat: le.Uint64(p[176:]), Incompat: le.Uint64(p[184:]),
	}
	copy(s.HashSeed[:], p[152:168])
	if unknown := s.Incompat &^ KnownIncompat; unknown != 0 {
		return nil, fmt.Errorf("superblock in block %d: unknown incompatible features %#x: %w", blk, unknown, ErrVersion)
	}
	return s, s.check(blk)
}

// check holds the geometry to the limits of the format, so that no later computation can overflow.
func (s *Super) check(blk uint64) error {
	bad := func(field string, got any) error {
		return &Corrupt{Struct: "super", Block: blk, Field: field, Got: got}
	}
	switch {
	case s.Blocks < MinVolume/BlockSize || s.Blocks > MaxVolume/BlockSize:
		return bad("blocks", s.Blocks)
	case s.ClusterSize < MinCluster || s.ClusterSize > MaxCluster || bits.OnesCount32(s.ClusterSize) != 1:
		return bad("cluster size", s.ClusterSize)
	case s.Slots == 0 || s.Slots > MaxSlots:
		return bad("slots", s.Slots)
	case s.JournalBlocks < MinJournal || s.JournalBlocks > MaxJournal:
		return bad("journal blocks", s.JournalBlocks)
	case s.GroupBlocks < MinGroupBlocks || s.GroupBlocks > MaxGroupBlocks || s.GroupBlocks%s.ClusterBlocks() != 0:
		return bad("group blocks", s.GroupBlocks)
	case s.GroupStart < s.journalStart()+uint64(s.Slots)*uint64(s.JournalBlocks) || s.GroupStart >= s.Blocks ||
		s.GroupStart%uint64(s.ClusterBlocks()) != 0:
		return bad("group start", s.GroupStart)
	case s.Groups == 0 || s.GroupStart+uint64(s.Groups-1)*uint64(s.GroupBlocks) >= s.Blocks:
		return bad("groups", s.Groups)
	case s.GroupBlocksOf(s.Groups-1) <= s.GroupMetaBlocks():
		return bad("size of the last group", s.GroupBlocksOf(s.Groups-1))
	case s.FreeClusters > s.Blocks/uint64(s.ClusterBlocks()):
		return bad("free clusters", s.FreeClusters)
	case s.Profile.Heartbeat <= 0 || s.Profile.Lease <= s.Profile.Heartbeat || s.Profile.IOBound <= 0:
		return bad("profile", s.Profile)
	}
	return nil
}

// cstring is the text before the first zero byte.
func cstring(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}
