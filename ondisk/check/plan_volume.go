package check

import (
	"fmt"

	"github.com/covol/covol/ondisk"
)

// volumeFault plans for what lies at fixed places. It returns "" for other findings.
func (p *planner) volumeFault(f *Finding) (done string, err error) {
	sb, blk := p.c.sb, f.Where.Block
	switch f.Code {
	case SuperInvalid, SuperCopyInvalid, SuperCopyDiffers:
		return "written anew", p.putDirect(blk, ondisk.EncodeSuper(sb, blk))
	case GrowInvalid:
		return "written anew with " + plural(uint64(p.c.ready), "formatted group"), p.put(ondisk.EncodeGrow(sb, p.c.ready))
	case ViewInvalid:
		v := &ondisk.View{Epoch: p.c.maxEpoch + 1, Members: make([]uint32, sb.Slots), Recovering: make([]uint32, sb.Slots)}
		return fmt.Sprintf("an empty view of epoch %d written", v.Epoch), p.putDirect(blk, ondisk.EncodeView(sb, v))
	case MemberNoSlot:
		return "taken out of the view", p.dropMember(uint16(*f.Where.Slot))
	case SlotInvalid:
		return p.freeSlot(uint16(*f.Where.Slot))
	case BallotInvalid:
		return "an empty ballot written", p.putDirect(blk, ondisk.EncodeBallot(sb, &ondisk.Ballot{Slot: uint16(*f.Where.Slot)}))
	case SpaceInvalid:
		return "written anew", p.put(ondisk.EncodeSpace(sb, &ondisk.Space{Slot: uint16(*f.Where.Slot)}))
	case JournalNoHead:
		return p.newHeads(uint16(*f.Where.Slot))
	case FreeCount, InodeCount:
		return p.countSpace(f)
	case DataUnreadable:
		return p.fillUnreadable(f)
	}
	return "", nil
}

func (p *planner) view() (*ondisk.View, error) {
	b, err := p.read(ondisk.ViewBlock)
	if err != nil {
		return nil, err
	}
	return ondisk.DecodeView(p.c.sb, b)
}

// dropMember takes a slot out of the view.
func (p *planner) dropMember(slot uint16) error {
	v, err := p.view()
	if err != nil {
		return err
	}
	v.Members[slot], v.Recovering[slot] = 0, 0
	if v.Epoch <= p.c.maxEpoch {
		v.Epoch = p.c.maxEpoch + 1
		p.c.maxEpoch++
	}
	return p.putDirect(ondisk.ViewBlock, ondisk.EncodeView(p.c.sb, v))
}

// life is an incarnation that no life of a slot has had, as far as view and journal know.
func (p *planner) life(slot uint16) uint32 {
	inc := uint32(0)
	if v, err := p.view(); err == nil {
		inc = max(inc, v.Members[slot], v.Recovering[slot])
	}
	for which := range ondisk.JournalHeads {
		if b, err := p.read(p.c.sb.JournalStart(slot) + uint64(which)); err == nil {
			if h, err := ondisk.DecodeJournalHead(p.c.sb, slot, which, b); err == nil {
				inc = max(inc, h.Incarnation)
			}
		}
	}
	return inc
}

// lostLives is added where a slot is lost: lives that neither view nor journal have seen must not come again.
const lostLives = 1 << 16

func (p *planner) freeSlot(slot uint16) (string, error) {
	s := &ondisk.Slot{Index: slot, State: ondisk.SlotFree, Incarnation: p.life(slot) + lostLives}
	return fmt.Sprintf("a free slot with incarnation %d written", s.Incarnation), p.putDirect(p.c.sb.SlotBlock(slot), ondisk.EncodeSlot(p.c.sb, s))
}

// freshSeq begins the numbers of a journal whose heads are lost: far above those of all old records in its ring.
const freshSeq = 1 << 40

// newHeads gives a journal clean heads. Its incarnation is one that has been: the next claim of the slot is above it.
func (p *planner) newHeads(slot uint16) (string, error) {
	inc := p.life(slot)
	if b, err := p.read(p.c.sb.SlotBlock(slot)); err == nil {
		if s, err := ondisk.DecodeSlot(p.c.sb, slot, b); err == nil {
			inc = max(inc, s.Incarnation)
		}
	}
	for which := range ondisk.JournalHeads {
		h := &ondisk.JournalHead{Slot: slot, Incarnation: inc, Seq: freshSeq + uint64(which), TailSeq: freshSeq, Clean: true, LSN: p.c.maxLSN}
		if err := p.putDirect(p.c.sb.JournalStart(slot)+uint64(which), ondisk.EncodeJournalHead(p.c.sb, h, which)); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("clean heads of incarnation %d written; what the journal held is lost", inc), nil
}

// countSpace corrects the space block of the first slot.
func (p *planner) countSpace(f *Finding) (string, error) {
	b, err := p.load(ondisk.TypeSpace, p.c.sb.SpaceBlock(0))
	if err != nil {
		return "", err
	}
	s := ondisk.DecodeSpace(0, b)
	if f.Code == FreeCount {
		s.Clusters += f.Want - f.Got
	} else {
		s.Inodes += f.Want - f.Got
	}
	s.Put(b)
	return "corrected", p.put(b)
}

// fillUnreadable plans zeros for the blocks of a file that the medium does not give back.
func (p *planner) fillUnreadable(f *Finding) (string, error) {
	k, n := uint64(p.c.sb.ClusterBlocks()), uint64(0)
	for blk := f.First * k; blk < (f.First+f.Count)*k; blk++ {
		if _, err := p.read(blk); err == nil {
			continue
		} else if !isFinding(err) {
			return "", err
		}
		n++
		p.changed++
		if err := p.d.put(fill, blk, make([]byte, ondisk.BlockSize)); err != nil {
			return "", err
		}
	}
	return "zeros written over " + plural(n, "block"), nil
}
