package paxos

import (
	"slices"
	"time"

	"github.com/covol/covol/ondisk"
)

// State is what the view block and the ballot blocks say at one look.
type State struct {
	View    *ondisk.View     // the newest view that is decided; nil if no block tells of any
	Block   *ondisk.View     // what the view block holds, nil if it is not valid
	Err     error            // why it is not
	Ballots []*ondisk.Ballot // by slot; nil: not valid
	Pending uint64           // highest epoch that a ballot speaks of
	Start   time.Duration    // of the look

	torn bool // a ballot is not valid, and may be about to be
}

// Clear reports whether View is certain to be the newest: no view that was decided before the look began is newer.
func (s *State) Clear() bool { return s.View != nil && !s.torn && !s.Hidden() }

// Hidden reports whether a vote is under way over a view that no block tells of any more.
func (s *State) Hidden() bool { return s.View != nil && s.Pending > s.View.Epoch+1 }

// settle finds the newest view.
func (s *State) settle() {
	s.View = s.Block
	for _, b := range s.Ballots {
		if b == nil || b.MBal == 0 {
			continue
		}
		s.Pending = max(s.Pending, b.Epoch)
		if v := decidedBy(b); v != nil && (s.View == nil || v.Epoch > s.View.Epoch) {
			s.View = v
		}
	}
}

// decidedBy is the view that b calls decided, nil if there is none.
func decidedBy(b *ondisk.Ballot) *ondisk.View {
	switch {
	case b.Value == ondisk.ValueDecided:
		return viewOf(b, b.Epoch)
	case b.Value == ondisk.ValueBefore && b.Epoch > 0:
		return viewOf(b, b.Epoch-1)
	}
	return nil
}

// viewOf is the view in b, of the epoch given.
func viewOf(b *ondisk.Ballot, epoch uint64) *ondisk.View {
	return &ondisk.View{Epoch: epoch, Writer: b.Writer, Members: slices.Clone(b.Members), Recovering: slices.Clone(b.Recovering),
		Holders: slices.Clone(b.Holders)}
}

// put makes v the view in b.
func put(b *ondisk.Ballot, v *ondisk.View) {
	b.Writer, b.Members, b.Recovering, b.Holders = v.Writer, v.Members, v.Recovering, v.Holders
}

// same reports whether a and b are the same ballot.
func same(a, b *ondisk.Ballot) bool {
	return a.Slot == b.Slot && a.Incarnation == b.Incarnation && a.Epoch == b.Epoch && a.MBal == b.MBal && a.Bal == b.Bal &&
		a.Value == b.Value && a.Writer == b.Writer
}
