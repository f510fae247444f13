package ondisk

import (
	"bytes"
	"fmt"
)

// sampleSuper is a volume of 1 GiB with clusters of 16 KiB and five slots, whose last group is shorter.
func sampleSuper() *Super {
	s := &Super{UUID: UUID{0xaa, 1, 2, 3}, Label: "vol", Created: 1_700_000_000, Blocks: 1<<18 - 7, ClusterSize: 16 << 10, Slots: 5,
		JournalBlocks: 300, GroupBlocks: 40_000, Profile: Profiles[1], HashSeed: [16]byte{9, 8, 7}}
	s.GroupStart = (s.JournalStart(5) + 3) / 4 * 4
	s.Groups = uint32((s.Blocks-1-s.GroupStart)/uint64(s.GroupBlocks)) + 1
	s.FreeClusters = 60_000
	return s
}

func sampleInode() *Inode {
	in := &Inode{Ino: 4711, Generation: 3, Mode: 0o100644, UID: 1000, GID: 100, Nlink: 2, Size: 1 << 30, Clusters: 5, Meta: 1, Change: 77,
		Atime: Time{1, 2}, Mtime: Time{3, 4}, Ctime: Time{5, 6}, Btime: Time{-7, 999_999_999},
		Names:  []KeptName{{10, "disk.raw"}, {12, "ä"}},
		Xattrs: []Xattr{{"user.a", []byte("value")}, {"user.b", []byte{}}}, Body: BodyExtents}
	in.Root = InitNode(make([]byte, 512), 0)
	in.Root.Insert(0, 0, EncodeExtent(Extent{Physical: 5000, Length: 3}))
	in.Root.Insert(1, 64, EncodeExtent(Extent{Logical: 64, Physical: 6000, Length: 2, Flags: ExtentUnwritten}))
	return in
}

func sampleResident() *Inode {
	in := sampleInode()
	in.Body, in.Root, in.Resident, in.Size = BodyResident, nil, []byte("hello"), 5
	return in
}

func sampleNode(level int) Node {
	n := InitNode(make([]byte, NodeSize), level)
	for i := range 20 {
		v := bytes.Repeat([]byte{byte(i)}, 3*i)
		if level > 0 {
			v = []byte{byte(i), 1, 2, 3, 0, 0, 0, 0}
		}
		n.Insert(i, uint64(100*i), v)
	}
	n.Delete(7)
	return n
}

// decoder reads a sealed block, or a value, and makes it again from what it has read.
type decoder struct {
	name   string // of the layout
	sample func() []byte
	decode func(b []byte) (value any, again []byte, err error)
}

// blockDecoders has one entry for each type of block.
func blockDecoders() []decoder {
	sb := sampleSuper()
	seal := func(b []byte) []byte { Seal(b); return b }
	node := func(level int) func() []byte {
		return func() []byte {
			b := NewBlock(TypeNode, 5000, sb.UUID, 4711, 3)
			copy(b[NodeBody:], sampleNode(level))
			return seal(b)
		}
	}
	decodeNode := func(b []byte) (any, []byte, error) {
		if err := CheckHeader(b, TypeNode, 5000, sb.UUID); err != nil {
			return nil, nil, err
		}
		n := Node(b[NodeBody:])
		if err := n.Check(5000); err != nil {
			return nil, nil, err
		}
		return walkNode(n), b, nil
	}
	checked := func(b []byte, t Type, blk uint64) error { return CheckHeader(b, t, blk, sb.UUID) }
	return []decoder{
		{"super", func() []byte { return EncodeSuper(sb, 8) }, func(b []byte) (any, []byte, error) {
			v, err := DecodeSuper(b, 8)
			if err != nil {
				return nil, nil, err
			}
			return v, EncodeSuper(v, 8), nil
		}},
		{"grow", func() []byte { return seal(EncodeGrow(sb, 3)) }, func(b []byte) (any, []byte, error) {
			if err := checked(b, TypeGrow, GrowBlock); err != nil {
				return nil, nil, err
			}
			v, err := DecodeGrow(sb, b)
			return v, seal(EncodeGrow(sb, v)), err
		}},
		{"view", func() []byte {
			return EncodeView(sb, &View{Epoch: 9, Members: []uint32{1, 0, 3}, Recovering: []uint32{0, 5}, Writer: 8,
				Holders: []Holder{{1, HolderHeld}, {5, RecoveredBy(0)}}})
		}, func(b []byte) (any, []byte, error) {
			v, err := DecodeView(sb, b)
			if err != nil {
				return nil, nil, err
			}
			return v, EncodeView(sb, v), nil
		}},
		{"ballot", func() []byte {
			return EncodeBallot(sb, &Ballot{Slot: 2, Incarnation: 4, Epoch: 10, MBal: 12, Bal: 7, Writer: 3, Members: []uint32{0, 2},
				Value: ValueProposed, Holders: []Holder{{}, {2, HolderHeld}}})
		}, func(b []byte) (any, []byte, error) {
			v, err := DecodeBallot(sb, 2, b)
			if err != nil {
				return nil, nil, err
			}
			return v, EncodeBallot(sb, v), nil
		}},
		{"slot", func() []byte {
			return EncodeSlot(sb, &Slot{Index: 1, State: SlotActive, Incarnation: 6, Seq: 99, Epoch: 9, Name: "n1", Addr: "h:1", Boot: [16]byte{1},
				Host: [16]byte{2}, Pid: 42, Profile: [4]uint32{1, 2, 3, 4}, Writer: 5, Arbitration: ByVote})
		}, func(b []byte) (any, []byte, error) {
			v, err := DecodeSlot(sb, 1, b)
			if err != nil {
				return nil, nil, err
			}
			return v, EncodeSlot(sb, v), nil
		}},
		{"space", func() []byte { return seal(EncodeSpace(sb, &Space{Slot: 3, Clusters: -5, Inodes: 6})) }, func(b []byte) (any, []byte, error) {
			if err := checked(b, TypeSpace, sb.SpaceBlock(3)); err != nil {
				return nil, nil, err
			}
			v := DecodeSpace(3, b)
			return v, seal(EncodeSpace(sb, v)), nil
		}},
		{"group", func() []byte {
			return seal(EncodeGroup(sb, &Group{Index: 2, Clusters: 10_000, FreeClusters: 7, FreeMeta: 9}))
		}, func(b []byte) (any, []byte, error) {
			if err := checked(b, TypeGroup, sb.GroupFirst(2)); err != nil {
				return nil, nil, err
			}
			v, err := DecodeGroup(sb, 2, b)
			if err != nil {
				return nil, nil, err
			}
			return v, seal(EncodeGroup(sb, v)), nil
		}},
		{"bitmap", func() []byte { return seal(FormatGroup(sb, 1)[1]) }, func(b []byte) (any, []byte, error) {
			if err := checked(b, TypeBitmap, sb.ClusterBitmapBlock(1, 0)); err != nil {
				return nil, nil, err
			}
			v, err := BitmapBits(b, ClusterBitmap, 0)
			if err != nil {
				return nil, nil, err
			}
			again := NewBitmap(sb, sb.ClusterBitmapBlock(1, 0), 1, ClusterBitmap, 0)
			copy(again[bitmapStart:], v)
			return v, seal(again), nil
		}},
		{"inode", func() []byte { return seal(EncodeInode(sb.UUID, sampleInode())) }, decodeInodeAgain(sb)},
		{"inode", func() []byte { return seal(EncodeInode(sb.UUID, sampleResident())) }, decodeInodeAgain(sb)},
		{"node", node(0), decodeNode},
		{"node", node(1), decodeNode},
		{"journal head", func() []byte {
			return EncodeJournalHead(sb, &JournalHead{Slot: 4, Incarnation: 2, Seq: 7, TailSeq: 30, Tail: 5, Clean: true, LSN: 88}, 1)
		}, func(b []byte) (any, []byte, error) {
			v, err := DecodeJournalHead(sb, 4, 1, b)
			if err != nil {
				return nil, nil, err
			}
			return v, EncodeJournalHead(sb, v, 1), nil
		}},
		{"journal descriptor", func() []byte {
			return EncodeJournalDesc(sb, &JournalDesc{Seq: 31, Entries: []DescEntry{{9, false}, {4711, true}, {5000, false}}}, 1900, 4, 2, 9)
		}, func(b []byte) (any, []byte, error) {
			v, err := DecodeJournalDesc(sb, 1900, b)
			if err != nil {
				return nil, nil, err
			}
			return v, EncodeJournalDesc(sb, v, 1900, 4, 2, 9), nil
		}},
		{"journal commit", func() []byte {
			return EncodeJournalCommit(sb, &JournalCommit{Seq: 31, Blocks: 3, Sum: 12345}, 1903, 4, 2, 9)
		}, func(b []byte) (any, []byte, error) {
			v, err := DecodeJournalCommit(sb, 1903, b)
			if err != nil {
				return nil, nil, err
			}
			return v, EncodeJournalCommit(sb, v, 1903, 4, 2, 9), nil
		}},
	}
}

func decodeInodeAgain(sb *Super) func(b []byte) (any, []byte, error) {
	return func(b []byte) (any, []byte, error) {
		if err := CheckHeader(b, TypeInode, 4711, sb.UUID); err != nil {
			return nil, nil, err
		}
		v, err := DecodeInode(b)
		if err != nil {
			return nil, nil, err
		}
		again := EncodeInode(sb.UUID, v)
		Seal(again)
		return v, again, nil
	}
}

// walkNode reads all of a checked node by its methods; none may panic.
func walkNode(n Node) []string {
	var all []string
	for i := range n.Count() {
		all = append(all, fmt.Sprint(n.Key(i), n.Value(i)))
		if j, ok := n.Search(n.Key(i)); j != i || !ok {
			all = append(all, "lost")
		}
		if n.Level() > 0 {
			all = append(all, fmt.Sprint(n.Child(n.ChildFor(n.Key(i)+1))))
		}
	}
	if c := append(Node(nil), n...); c.Count() > 0 {
		c.compact()
		c.Replace(0, append([]byte(nil), c.Value(0)...))
		c.Delete(c.Count() - 1)
	}
	return all
}
