package ondisk

import "encoding/binary"

// Ballot is what one slot has written in the vote on the next view, where the device has no compare-and-swap: the
// block of one processor in Disk Paxos (Gafni and Lamport 2003). With one disk a majority of disks is that disk.
// One vote decides one epoch; a ballot of an older epoch counts as none. Only the slot's owner writes it.
//
// MBal is the highest ballot that the owner has begun (phase 1). Bal is the highest one in which it has proposed
// (phase 2). Ballots are unique: MBal modulo Super.Slots is the slot. Value says what the view in it is.
type Ballot struct {
	Slot        uint16
	Value       BallotValue
	Incarnation uint32 // life of the owner that wrote it
	Epoch       uint64 // of the view that the vote decides, 0 for none
	MBal        uint64
	Bal         uint64
	Writer      uint64   // of the view
	Members     []uint32 // of the view, as there; one entry per slot
	Recovering  []uint32
	Holders     []Holder
}

// BallotValue says what the view in a ballot is.
type BallotValue uint16

// Kinds of views in a ballot.
const (
	ValueNone     BallotValue = iota // it means nothing
	ValueBefore                      // decided: the view of Epoch-1, on which the vote builds; nothing is proposed
	ValueProposed                    // proposed in ballot Bal
	ValueDecided                     // decided: the view of Epoch
)

const (
	ballotMembers = 40 // offset in the body
	ballotHolders = ballotMembers + 8*MaxSlots
)

// EncodeBallot makes the ballot block of b.Slot for the volume of sb. Members and Recovering may be nil.
func EncodeBallot(sb *Super, v *Ballot) []byte {
	b := NewBlock(TypeBallot, sb.BallotBlock(v.Slot), sb.UUID, uint64(v.Slot), 0)
	Stamp(b, 0, v.Epoch, v.Slot, v.Incarnation)
	le := binary.LittleEndian
	p := b[HeaderSize:]
	le.PutUint16(p[0:], v.Slot)
	le.PutUint16(p[2:], uint16(v.Value))
	le.PutUint32(p[4:], v.Incarnation)
	le.PutUint64(p[8:], v.Epoch)
	le.PutUint64(p[16:], v.MBal)
	le.PutUint64(p[24:], v.Bal)
	le.PutUint64(p[32:], v.Writer)
	putMembers(p[ballotMembers:], v.Members, v.Recovering)
	putHolders(p[ballotHolders:], v.Holders)
	Seal(b)
	return b
}

// DecodeBallot reads and checks the ballot block of a slot.
func DecodeBallot(sb *Super, slot uint16, b []byte) (*Ballot, error) {
	blk := sb.BallotBlock(slot)
	if err := CheckHeader(b, TypeBallot, blk, sb.UUID); err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	p := b[HeaderSize:]
	v := &Ballot{Slot: le.Uint16(p[0:]), Value: BallotValue(le.Uint16(p[2:])), Incarnation: le.Uint32(p[4:]), Epoch: le.Uint64(p[8:]), MBal: le.Uint64(p[16:]),
		Bal: le.Uint64(p[24:]), Writer: le.Uint64(p[32:])}
	v.Members, v.Recovering = getMembers(p[ballotMembers:], sb.Slots)
	v.Holders = getHolders(p[ballotHolders:], sb.Slots)
	switch {
	case v.Slot != slot:
		return nil, &Corrupt{Struct: "ballot", Block: blk, Field: "slot", Got: v.Slot, Want: slot}
	case v.Bal > v.MBal:
		return nil, &Corrupt{Struct: "ballot", Block: blk, Field: "bal", Got: v.Bal}
	case v.Value > ValueDecided:
		return nil, &Corrupt{Struct: "ballot", Block: blk, Field: "value", Got: uint16(v.Value)}
	}
	return v, nil
}

// putMembers writes the entries of a view: per slot le32 member, le32 recovering.
func putMembers(p []byte, members, recovering []uint32) {
	for i, m := range members {
		binary.LittleEndian.PutUint32(p[8*i:], m)
	}
	for i, r := range recovering {
		binary.LittleEndian.PutUint32(p[8*i+4:], r)
	}
}

func getMembers(p []byte, slots uint32) (members, recovering []uint32) {
	members, recovering = make([]uint32, slots), make([]uint32, slots)
	for i := range members {
		members[i] = binary.LittleEndian.Uint32(p[8*i:])
		recovering[i] = binary.LittleEndian.Uint32(p[8*i+4:])
	}
	return members, recovering
}
