package ondisk

import "encoding/binary"

// SlotState is what the owner of a slot says of itself.
type SlotState uint32

// States of a slot. A node that died leaves SlotActive behind; only the view tells who is in.
const (
	SlotFree SlotState = iota
	SlotJoining
	SlotActive
	SlotLeaving
)

// Sizes of texts in a slot block, in bytes.
const (
	NameSize = 64
	AddrSize = 64
)

// Slot is the heartbeat block of one node. Its owner alone writes it, except to claim a free slot.
type Slot struct {
	Index       uint16
	State       SlotState
	Incarnation uint32 // grows with every claim
	Seq         uint64 // grows with every renewal
	Epoch       uint64 // of the view that the owner has installed
	Name        string // node name
	Addr        string // host:port of its lock manager
	Boot        [16]byte
	Host        [16]byte // machine-id: nodes with the same Host can prove each other's death by a lock of the kernel
	Pid         uint32
	Profile     [4]uint32 // h, L, D, g in ms as the owner uses them
	Writer      uint64    // random for each write, so that an uncertain compare-and-swap can be told by re-reading
	Arbitration Arbitration
	Hears       SlotSet // nodes that the owner has heard over the network lately, if HearsKnown is in it
}

// Arbitration is how the nodes of a volume agree on views. All that are in must use the same.
type Arbitration uint16

// Ways to agree.
const (
	BySwap Arbitration = iota // compare-and-swap of the view block
	ByVote                    // Disk Paxos over the ballot blocks
)

// HearsKnown is in Slot.Hears if the owner publishes whom it hears. There is no such slot.
const HearsKnown = MaxSlots

// SlotSet is a set of slots: bit i%8 of byte i/8 is slot i.
type SlotSet [32]byte

// Add puts slot i in.
func (s *SlotSet) Add(i uint16) { s[i/8] |= 1 << (i % 8) }

// Has reports whether slot i is in.
func (s *SlotSet) Has(i uint16) bool { return s[i/8]&(1<<(i%8)) != 0 }

// EncodeSlot makes the slot block of s for the volume of sb.
func EncodeSlot(sb *Super, s *Slot) []byte {
	b := NewBlock(TypeSlot, sb.SlotBlock(s.Index), sb.UUID, uint64(s.Index), 0)
	Stamp(b, 0, s.Epoch, s.Index, s.Incarnation)
	le := binary.LittleEndian
	p := b[HeaderSize:]
	le.PutUint16(p[0:], s.Index)
	le.PutUint16(p[2:], uint16(s.Arbitration))
	le.PutUint32(p[4:], uint32(s.State))
	le.PutUint32(p[8:], s.Incarnation)
	le.PutUint32(p[12:], s.Pid)
	le.PutUint64(p[16:], s.Seq)
	le.PutUint64(p[24:], s.Epoch)
	copy(p[32:96], s.Name)
	copy(p[96:160], s.Addr)
	copy(p[160:176], s.Boot[:])
	copy(p[176:192], s.Host[:])
	for i, v := range s.Profile {
		le.PutUint32(p[192+4*i:], v)
	}
	le.PutUint64(p[208:], s.Writer)
	copy(p[216:248], s.Hears[:])
	Seal(b)
	return b
}

// DecodeSlot reads and checks the slot block of slot index.
func DecodeSlot(sb *Super, index uint16, b []byte) (*Slot, error) {
	if err := CheckHeader(b, TypeSlot, sb.SlotBlock(index), sb.UUID); err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	p := b[HeaderSize:]
	s := &Slot{
		Index: le.Uint16(p[0:]), State: SlotState(le.Uint32(p[4:])), Incarnation: le.Uint32(p[8:]), Pid: le.Uint32(p[12:]),
		Seq: le.Uint64(p[16:]), Epoch: le.Uint64(p[24:]), Name: cstring(p[32:96]), Addr: cstring(p[96:160]),
		Writer: le.Uint64(p[208:]), Arbitration: Arbitration(le.Uint16(p[2:])),
	}
	copy(s.Boot[:], p[160:176])
	copy(s.Host[:], p[176:192])
	for i := range s.Profile {
		s.Profile[i] = le.Uint32(p[192+4*i:])
	}
	copy(s.Hears[:], p[216:248])
	if s.Index != index {
		return nil, &Corrupt{Struct: "slot", Block: sb.SlotBlock(index), Field: "index", Got: s.Index, Want: index}
	}
	if s.State > SlotLeaving {
		return nil, &Corrupt{Struct: "slot", Block: sb.SlotBlock(index), Field: "state", Got: uint32(s.State)}
	}
	return s, nil
}

// View is the membership of the volume as agreed on disk. It changes by compare-and-swap only.
type View struct {
	Epoch uint64
	// Members holds the incarnation of every slot that is in the view, 0 for those that are not. One entry per slot.
	Members []uint32
	// Recovering holds the incarnation of every slot whose journal must be replayed before what it held may be
	// granted, 0 for all others. One entry per slot.
	Recovering []uint32
	Writer     uint64 // random for each write
	// Holders says whose each slot is, where views are voted on; all zero where they are swapped. One entry per slot.
	Holders []Holder
}

const (
	viewMembers = 16 // offset in the body
	viewHolders = viewMembers + 8*MaxSlots
)

// EncodeView makes the view block.
func EncodeView(sb *Super, v *View) []byte {
	b := NewBlock(TypeView, ViewBlock, sb.UUID, 0, 0)
	Stamp(b, 0, v.Epoch, 0, 0)
	le := binary.LittleEndian
	p := b[HeaderSize:]
	le.PutUint64(p[0:], v.Epoch)
	le.PutUint64(p[8:], v.Writer)
	putMembers(p[viewMembers:], v.Members, v.Recovering)
	putHolders(p[viewHolders:], v.Holders)
	Seal(b)
	return b
}

// DecodeView reads and checks the view block.
func DecodeView(sb *Super, b []byte) (*View, error) {
	if err := CheckHeader(b, TypeView, ViewBlock, sb.UUID); err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	p := b[HeaderSize:]
	v := &View{Epoch: le.Uint64(p[0:]), Writer: le.Uint64(p[8:])}
	v.Members, v.Recovering = getMembers(p[viewMembers:], sb.Slots)
	v.Holders = getHolders(p[viewHolders:], sb.Slots)
	return v, nil
}

// Space counts, for one slot, what its nodes have taken and given back since the volume was made. Free space of the
// volume is Super.FreeClusters plus the sum over all slots. It belongs to its slot alone and changes in the same
// transaction as the bitmaps.
type Space struct {
	Slot     uint16
	Clusters int64 // given back minus taken, in clusters
	Inodes   int64 // made minus deleted
}

// EncodeSpace makes the space block of a slot. It is not stamped.
func EncodeSpace(sb *Super, s *Space) []byte {
	b := NewBlock(TypeSpace, sb.SpaceBlock(s.Slot), sb.UUID, uint64(s.Slot), 0)
	s.Put(b)
	return b
}

// Put writes the fields of s over the body of a space block.
func (s *Space) Put(b []byte) {
	binary.LittleEndian.PutUint64(b[80:], uint64(s.Clusters))
	binary.LittleEndian.PutUint64(b[88:], uint64(s.Inodes))
}

// DecodeSpace reads the space block of a slot, which must have been checked by CheckHeader.
func DecodeSpace(slot uint16, b []byte) *Space {
	le := binary.LittleEndian
	return &Space{Slot: slot, Clusters: int64(le.Uint64(b[80:])), Inodes: int64(le.Uint64(b[88:]))}
}

// EncodeGrow makes the grow block: groups 0..ready-1 have been formatted, the others never touched. It changes under
// the lock of the volume. It is not stamped.
func EncodeGrow(sb *Super, ready uint32) []byte {
	b := NewBlock(TypeGrow, GrowBlock, sb.UUID, 0, 0)
	binary.LittleEndian.PutUint32(b[80:], ready)
	return b
}

// DecodeGrow reads the grow block, which must have been checked by CheckHeader.
func DecodeGrow(sb *Super, b []byte) (ready uint32, err error) {
	ready = binary.LittleEndian.Uint32(b[80:])
	if ready > sb.Groups {
		return 0, &Corrupt{Struct: "grow", Block: GrowBlock, Field: "formatted groups", Got: ready}
	}
	return ready, nil
}
