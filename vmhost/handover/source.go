package handover

import (
	"errors"
	"fmt"
)

// Reasons why a VM stayed.
var (
	ErrCancelled = errors.New("cancelled")
	ErrCut       = errors.New("the connection to the target broke")
	ErrRefused   = errors.New("the target has refused the virtual machine")
	ErrSilent    = errors.New("the target did not answer")
	ErrTaken     = errors.New("another node has taken the virtual machine")
)

type sourcePhase uint8

const (
	sourceNew      sourcePhase = iota
	sourceClaiming             // swaps to Migrating; the VM runs
	sourceCopying              // the VM runs
	sourceStopping             // until the VM has stopped
	sourceSending              // GO is on its way
	sourceWaiting              // GO has been sent; the target decides
	sourceReading              // GO has been sent, and the record is read to see whether it decided
	sourceYielded              // the record names the target, which has not said yet that it runs
	sourceBack                 // swaps to Running here
	sourceTaking               // takes the disks, and runs
	sourceOver
)

// Source is the side that has the VM.
type Source struct {
	self   Node
	target Node
	rec    Record // what the record is, as far as this side has seen
	want   Record // of the swap under way
	given  Record // the record under which GO may be sent; only this side writes it
	phase  sourcePhase
	why    error // it will not move
	cut    bool
	polls  int // in phase yielded
}

// NewSource is for a VM that runs on self as rec says.
func NewSource(self, target Node, rec Record) (*Source, error) {
	if rec.State != Running || rec.Owner != self || target == self || target == "" {
		return nil, fmt.Errorf("hand over %s from %s to %s: the record is %s", rec.VM, self, target, rec)
	}
	return &Source{self: self, target: target, rec: rec, given: rec.migratingTo(target)}, nil
}

// maxPolls is how often a source that has yielded asks the record before it forgets its copy.
const maxPolls = 20

// Step takes in an event.
func (s *Source) Step(e Event) []Effect {
	switch e := e.(type) {
	case Begin:
		if s.phase == sourceNew {
			s.phase = sourceClaiming
			return s.swap(s.given)
		}
	case Stored:
		return s.stored(e)
	case Copied:
		return s.copied(e)
	case StopDone:
		return s.stopped(e)
	case Sent:
		return s.sent(e)
	case Taken:
		return s.taken(e)
	case Heard:
		return s.heard(e)
	case Cut:
		s.cut = true
		return s.giveUp(ErrCut)
	case Cancel:
		return s.giveUp(ErrCancelled)
	case Tick:
		return s.tick()
	}
	return nil
}

func (s *Source) swap(to Record) []Effect {
	s.want = to
	return []Effect{Swap{s.rec, to}}
}

func (s *Source) over(r Result, keep bool, why error) []Effect {
	s.phase = sourceOver
	return []Effect{Over{r, keep, why}}
}

// giveUp makes the VM stay, as soon as that can be: at once while it runs, after it has stopped while it stops. After GO
// only the record can tell who has it, so the target is given its time.
func (s *Source) giveUp(why error) []Effect {
	switch s.phase {
	case sourceNew:
		return s.over(Stayed, true, why)
	case sourceClaiming, sourceStopping:
		s.why = errors.Join(s.why, why)
	case sourceCopying:
		s.why = why
		return s.back()
	}
	return nil
}

// back swaps to Running here, from whatever record gives this side the right to.
func (s *Source) back() []Effect {
	s.phase = sourceBack
	return s.swap(s.rec.runningOn(s.self))
}

func (s *Source) copied(e Copied) []Effect {
	if s.phase != sourceCopying {
		return nil
	}
	if e.Err != nil {
		return s.giveUp(fmt.Errorf("copy memory: %w", e.Err))
	}
	s.phase = sourceStopping
	return []Effect{Stop{}}
}

func (s *Source) stopped(e StopDone) []Effect {
	if s.phase != sourceStopping {
		return nil
	}
	if e.Err != nil {
		s.why = errors.Join(s.why, fmt.Errorf("stop: %w", e.Err))
	}
	if s.why != nil {
		return s.back()
	}
	s.phase = sourceSending
	return []Effect{SendGo{s.rec.Epoch}}
}

func (s *Source) sent(e Sent) []Effect {
	if s.phase != sourceSending {
		return nil
	}
	if e.Err != nil {
		s.why = fmt.Errorf("send the last pages and the state: %w", e.Err)
		return s.back() // if GO has arrived all the same, one swap wins
	}
	s.phase = sourceWaiting
	return []Effect{Wait{Answer}}
}

func (s *Source) heard(e Heard) []Effect {
	switch {
	case e.What == SaysRefused && e.Epoch == s.rec.Epoch:
		switch s.phase {
		case sourceClaiming, sourceCopying, sourceStopping:
			return s.giveUp(ErrRefused)
		case sourceWaiting:
			s.why = ErrRefused
			return s.back()
		}
	case e.What == SaysRunning && e.Epoch == s.rec.Epoch+1:
		switch s.phase {
		case sourceSending, sourceWaiting:
			return s.over(Moved, false, nil)
		}
	case e.What == SaysRunning && e.Epoch == s.rec.Epoch && s.phase == sourceYielded:
		return s.over(Moved, false, nil)
	}
	return nil
}

func (s *Source) tick() []Effect {
	switch s.phase {
	case sourceWaiting:
		s.phase = sourceReading
		return []Effect{Read{}}
	case sourceYielded:
		if s.polls++; s.cut || s.polls > maxPolls {
			return s.over(Moved, false, nil)
		}
		return []Effect{Read{}}
	case sourceClaiming, sourceReading, sourceBack: // the store did not answer
		return []Effect{Read{}}
	case sourceTaking:
		return []Effect{Take{s.rec.Epoch}}
	}
	return nil
}

// stored takes in what the record is now, after a swap of ours or a read.
func (s *Source) stored(e Stored) []Effect {
	if e.Err != nil {
		return []Effect{Wait{Soon}}
	}
	switch s.phase {
	case sourceClaiming:
		return s.claimed(e.Now)
	case sourceReading:
		if e.Now == s.rec {
			s.why = ErrSilent
			return s.back()
		}
		return s.decided(e.Now)
	case sourceBack:
		switch e.Now {
		case s.want:
			s.rec, s.phase = e.Now, sourceTaking
			return []Effect{Take{s.rec.Epoch}}
		case s.rec: // read after an answer that was lost: the swap has not taken place yet
			return s.swap(s.want)
		case s.given: // the swap that began it all took place late
			s.rec = e.Now
			return s.back()
		}
		return s.decided(e.Now)
	case sourceYielded:
		return s.decided(e.Now)
	}
	return nil
}

func (s *Source) claimed(now Record) []Effect {
	switch now {
	case s.want:
		s.rec = now
		if s.why != nil {
			return s.back()
		}
		s.phase = sourceCopying
		return []Effect{Copy{}}
	case s.rec: // an answer was lost
		if s.why != nil {
			return s.back() // that swap may still take place: not after the epoch has moved on
		}
		return s.swap(s.want)
	}
	return s.over(Gone, false, fmt.Errorf("%w: the record is %s", ErrTaken, now))
}

// decided takes in a record that is not what this side has seen last: somebody else has swapped.
func (s *Source) decided(now Record) []Effect {
	took := s.given.runningOn(s.target)
	switch {
	case now == took.migratingTo(s.self):
		s.rec, s.why = now, fmt.Errorf("%w: it could not take the disks", ErrRefused)
		return s.back()
	case now == took && !s.cut:
		s.rec, s.phase = now, sourceYielded
		return []Effect{Wait{Soon}}
	case now.State == Running && now.Owner == s.target:
		return s.over(Moved, false, nil)
	}
	return s.over(Gone, false, fmt.Errorf("%w: the record is %s", ErrTaken, now))
}

// taken ends a hand-over that failed. A VM whose disks cannot be taken stays paused, and is tried again: the record
// names this node, so nobody else may.
func (s *Source) taken(e Taken) []Effect {
	if s.phase != sourceTaking {
		return nil
	}
	if e.Err != nil {
		return []Effect{Wait{Soon}}
	}
	return s.over(Stayed, true, s.why)
}
