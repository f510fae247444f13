package handover

import (
	"errors"
	"fmt"
)

type targetPhase uint8

const (
	targetNew       targetPhase = iota
	targetPreparing             // the VM is being built
	targetReady                 // memory arrives
	targetVerifying             // GO has arrived
	targetDeciding              // swaps to Running here
	targetTaking                // takes the disks, and runs
	targetReturning             // gives the VM back, which it cannot run
	targetReturned              // until the source has taken it
	targetOver
)

// Target is the side that gets the VM.
type Target struct {
	self   Node
	source Node
	rec    Record
	want   Record
	phase  targetPhase
	cut    bool
	fails  int // to take the disks
	waits  int // for the source to take it back
}

// maxFails is how often a target tries to take the disks before it gives the VM back, if the source is there.
const maxFails = 5

// NewTarget is for a VM that rec says is on its way to self.
func NewTarget(self Node, rec Record) (*Target, error) {
	if rec.State != Migrating || rec.Target != self {
		return nil, fmt.Errorf("take over %s on %s: the record is %s", rec.VM, self, rec)
	}
	return &Target{self: self, source: rec.Owner, rec: rec}, nil
}

// Step takes in an event.
func (t *Target) Step(e Event) []Effect {
	switch e := e.(type) {
	case Begin:
		if t.phase == targetNew {
			t.phase = targetPreparing
		}
	case Prepared:
		return t.prepared(e)
	case Go:
		return t.got(e)
	case Verified:
		return t.verified(e)
	case Stored:
		return t.stored(e)
	case Taken:
		return t.taken(e)
	case Cut:
		t.cut = true
		if t.phase < targetVerifying { // without GO it must never swap
			return t.over(Stayed, false, ErrCut)
		}
		if t.phase == targetReturned { // the source has it again, or is dead
			return []Effect{Wait{Soon}}
		}
	case Tick:
		return t.tick()
	}
	return nil
}

func (t *Target) over(r Result, keep bool, why error) []Effect {
	t.phase = targetOver
	return []Effect{Over{r, keep, why}}
}

// refuse says so: the source need not wait.
func (t *Target) refuse(why error) []Effect {
	return append([]Effect{Say{SaysRefused, t.rec.Epoch}}, t.over(Stayed, false, why)...)
}

func (t *Target) prepared(e Prepared) []Effect {
	if t.phase != targetPreparing {
		return nil
	}
	if e.Err != nil {
		return t.refuse(fmt.Errorf("prepare: %w", e.Err))
	}
	t.phase = targetReady
	return nil
}

func (t *Target) got(e Go) []Effect {
	if t.phase != targetReady {
		return nil
	}
	if e.Epoch != t.rec.Epoch {
		return t.refuse(fmt.Errorf("GO of epoch %d, the record is %s", e.Epoch, t.rec))
	}
	t.phase = targetVerifying
	return []Effect{Verify{}}
}

func (t *Target) verified(e Verified) []Effect {
	if t.phase != targetVerifying {
		return nil
	}
	if e.Err != nil {
		return t.refuse(fmt.Errorf("verify: %w", e.Err))
	}
	return t.take()
}

// take swaps to Running here.
func (t *Target) take() []Effect {
	t.phase = targetDeciding
	return t.swap(t.rec.runningOn(t.self))
}

func (t *Target) swap(to Record) []Effect {
	t.want = to
	return []Effect{Swap{t.rec, to}}
}

func (t *Target) stored(e Stored) []Effect {
	if e.Err != nil {
		return []Effect{Wait{Soon}}
	}
	switch t.phase {
	case targetDeciding:
		switch e.Now {
		case t.want:
			t.rec, t.phase, t.fails = e.Now, targetTaking, 0
			return []Effect{Take{t.rec.Epoch}}
		case t.rec:
			return t.swap(t.want)
		}
	case targetReturning:
		switch e.Now {
		case t.want:
			t.rec, t.phase, t.waits = e.Now, targetReturned, 0
			return []Effect{Wait{Answer}}
		case t.rec:
			return t.swap(t.want)
		}
	case targetReturned:
		if e.Now == t.rec { // the source has not taken it: it may be dead
			return t.take()
		}
	default:
		return nil
	}
	if e.Now.State == Running && e.Now.Owner == t.source {
		return t.over(Stayed, false, fmt.Errorf("the source has kept it: the record is %s", e.Now))
	}
	return t.over(Gone, false, fmt.Errorf("%w: the record is %s", ErrTaken, e.Now))
}

func (t *Target) taken(e Taken) []Effect {
	if t.phase != targetTaking {
		return nil
	}
	if e.Err == nil {
		return append([]Effect{Say{SaysRunning, t.rec.Epoch}}, t.over(Moved, true, nil)...)
	}
	if t.fails++; t.fails < maxFails || t.cut {
		return []Effect{Wait{Soon}}
	}
	// The epoch stays: nothing has run at it. Only the source, which has the same memory, may go on from there.
	t.phase = targetReturning
	return t.swap(t.rec.migratingTo(t.source))
}

func (t *Target) tick() []Effect {
	switch t.phase {
	case targetDeciding, targetReturning, targetReturned:
		return []Effect{Read{}}
	case targetTaking:
		return []Effect{Take{t.rec.Epoch}}
	}
	return nil
}

// ErrNotDead says that a VM must not be taken over: who may run it has not been proven dead.
var ErrNotDead = errors.New("who may run the virtual machine is not proven dead")
