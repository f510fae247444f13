package cluster

import (
	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/ondisk"
)

// voteJudge makes of plain writes what they mean, for the judge: a view takes effect when the first ballot that calls it
// decided lands, and a slot is whose the view says.
type voteJudge struct {
	*judge
	raw  map[uint16]*ondisk.Slot      // as landed
	last map[view.NodeID]*ondisk.Slot // latest block of each life
}

func newVoteJudge(j *judge) *voteJudge {
	return &voteJudge{judge: j, raw: map[uint16]*ondisk.Slot{}, last: map[view.NodeID]*ondisk.Slot{}}
}

func (j *voteJudge) landed(blk uint64, data []byte) {
	sb := j.w.sb
	switch {
	case blk == ondisk.ViewBlock:
		v, err := ondisk.DecodeView(sb, data)
		if err != nil {
			j.fault("view: %v", err)
		} else if home := j.raw[uint16(HomeSlot)]; j.view == nil || j.views[v.Epoch] == nil && home != nil && IsTool(home.Name) {
			j.viewLanded(v)
		} else if on := j.views[v.Epoch]; on == nil || on.Writer != v.Writer {
			j.fault("the view block holds a view of epoch %d that was not decided", v.Epoch)
		}
	case blk >= sb.BallotBlock(0) && blk < sb.BallotBlock(uint16(sb.Slots)):
		b, err := ondisk.DecodeBallot(sb, uint16(blk-sb.BallotBlock(0)), data)
		if err != nil {
			j.fault("ballot: %v", err)
		} else {
			j.ballotLanded(b)
		}
	case blk >= sb.SlotBlock(0) && blk < sb.SlotBlock(uint16(sb.Slots)):
		index := uint16(blk - sb.SlotBlock(0))
		s, err := ondisk.DecodeSlot(sb, index, data)
		if err != nil {
			j.fault("slot: %v", err)
			return
		}
		j.raw[index] = s
		j.last[lifeOf(s)] = s
	}
	for i := range uint16(sb.Slots) {
		j.show(i)
	}
}

// A ballot that calls a view decided agrees with all others.
func (j *voteJudge) ballotLanded(b *ondisk.Ballot) {
	epoch := b.Epoch
	switch {
	case b.Value == ondisk.ValueBefore:
		epoch--
	case b.Value != ondisk.ValueDecided:
		return
	}
	if on := j.views[epoch]; on != nil {
		if on.Writer != b.Writer {
			j.fault("epoch %d was decided twice", epoch)
		}
		return
	}
	j.viewLanded(&ondisk.View{Epoch: epoch, Writer: b.Writer, Members: b.Members, Recovering: b.Recovering, Holders: b.Holders})
}

// show tells the judge of slot i if it means something else now. A claim that was not voted on is nobody's.
func (j *voteJudge) show(i uint16) {
	s, h := j.raw[i], ondisk.Holder{}
	if j.view != nil {
		h = j.view.Holders[i]
	}
	if s == nil || s.Incarnation > h.Incarnation {
		return
	}
	if s.Incarnation < h.Incarnation { // written late
		s = j.last[view.NodeID{Slot: view.Slot(i), Incarnation: view.Incarnation(h.Incarnation)}]
	}
	if s == nil {
		j.fault("slot %d is life %d's, which never claimed it", i, h.Incarnation)
		return
	}
	x := *s
	if x.State == ondisk.SlotFree && h.State > ondisk.HolderDoomed { // freed by its owner, and voted dead after that
		x.State = ondisk.SlotActive
	}
	switch k, recovered := h.State.Recoverer(); {
	case h.State == ondisk.HolderFree:
		x.State = ondisk.SlotFree
	case recovered:
		x.Seq = deadSeq(view.NodeID{Slot: view.Slot(k), Incarnation: view.Incarnation(j.view.Members[k])})
	case h.State == ondisk.HolderDead:
		x.Seq = deadBit
	}
	if old := j.slots[i]; old == nil || *old != x {
		j.slotLanded(&x)
	}
}
