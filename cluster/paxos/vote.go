package paxos

import "github.com/covol/covol/ondisk"

// outcome is what came of reading all blocks.
type outcome int

const (
	goOn    outcome = iota // write what mine has become, then read again
	won                    // decided, and our block says so
	beaten                 // somebody has begun a higher ballot
	passed                 // the vote is over: another epoch, or decided
	unclear                // a block is torn, or ours is not what we wrote
)

// vote is the part of one node in the vote on one epoch. It is a pure state machine: the shell writes mine, reads all
// blocks, calls read, and so on until the outcome is not goOn.
type vote struct {
	slots uint64
	want  *ondisk.View // nil: only to bring what others have proposed to its end
	mine  ondisk.Ballot
	high  uint64 // highest ballot number met in this epoch
	phase int
}

// begin starts a vote with the blocks as read last. base is the view before, nil if it is not known. floor is the highest
// number that this life has used or met in this epoch.
func begin(slot uint16, incarnation uint32, epoch uint64, base, want *ondisk.View, ballots []*ondisk.Ballot, floor uint64) *vote {
	v := &vote{slots: uint64(len(ballots)), want: want, high: floor, phase: 1}
	v.mine = ondisk.Ballot{Slot: slot, Incarnation: incarnation, Epoch: epoch}
	for _, b := range ballots {
		if b != nil && b.Epoch == epoch {
			v.high = max(v.high, b.MBal)
		}
	}
	v.mine.MBal = v.high/v.slots*v.slots + uint64(slot)
	for v.mine.MBal <= v.high {
		v.mine.MBal += v.slots
	}
	switch own := ballots[slot]; {
	case own != nil && own.Epoch == epoch && own.Bal > 0: // what we have proposed binds us
		v.mine.Bal, v.mine.Value = own.Bal, ondisk.ValueProposed
		put(&v.mine, viewOf(own, epoch))
	case base != nil:
		v.mine.Value = ondisk.ValueBefore
		put(&v.mine, base)
	}
	return v
}

// read takes in all blocks as they are after mine was written.
func (v *vote) read(ballots []*ondisk.Ballot, torn bool) outcome {
	if own := ballots[v.mine.Slot]; own == nil || !same(own, &v.mine) {
		return unclear
	}
	if v.phase == 3 {
		return won
	}
	out := goOn
	for _, b := range ballots {
		switch {
		case b == nil || b.MBal == 0 || b.Slot == v.mine.Slot || b.Epoch < v.mine.Epoch:
		case b.Epoch > v.mine.Epoch || b.Value == ondisk.ValueDecided:
			return passed
		case b.MBal > v.mine.MBal:
			v.high = max(v.high, b.MBal)
			out = beaten
		}
	}
	switch {
	case out == beaten:
		return beaten
	case torn:
		return unclear
	case v.phase == 1:
		return v.propose(ballots)
	}
	v.phase, v.mine.Value = 3, ondisk.ValueDecided
	return goOn
}

// propose chooses the value of the highest ballot in which one was proposed, else our own.
func (v *vote) propose(ballots []*ondisk.Ballot) outcome {
	var best *ondisk.Ballot
	for _, b := range ballots {
		if b != nil && b.Epoch == v.mine.Epoch && b.Bal > 0 && (best == nil || b.Bal > best.Bal) {
			best = b
		}
	}
	switch {
	case best != nil:
		put(&v.mine, viewOf(best, best.Epoch))
	case v.want == nil:
		return passed
	default:
		put(&v.mine, v.want)
	}
	v.phase, v.mine.Bal, v.mine.Value = 2, v.mine.MBal, ondisk.ValueProposed
	return goOn
}
