package handover

import (
	"context"
	"log/slog"
	"time"
)

// Machine is a Source or a Target.
type Machine interface{ Step(Event) []Effect }

// Actions is what a side can do to its VM and tell the other side. A method that is not the side's is never called. All
// but Say may take their time; none is called while another runs, except that the context of Copy is cancelled when
// something else is to be done, and Copy is waited for first.
type Actions interface {
	Copy(ctx context.Context) error
	Stop(ctx context.Context) error
	SendGo(ctx context.Context, epoch uint64) error
	Verify(ctx context.Context) error
	Take(ctx context.Context, epoch uint64) error
	// Say sends a message, or loses it. It must not block.
	Say(what Message, epoch uint64)
}

// Runner lets a Machine work. All fields are required but Log.
type Runner struct {
	Machine Machine
	Store   Store
	VM      string
	Actions Actions
	Soon    time.Duration // between two attempts at the store or the disks
	Answer  time.Duration // for a target that has GO
	// Limit bounds one call of the store, after which nobody knows what came of it.
	Limit time.Duration
	Log   *slog.Logger
}

// Run begins and returns how it ended. Events come from outside: messages, Prepared, Go, Cut, Cancel. A cancelled ctx
// does not end it, for nobody may leave while it is not known who has the VM; it is for the values.
func (r *Runner) Run(ctx context.Context, events <-chan Event) Over {
	ctx = context.WithoutCancel(ctx)
	s := session{r: r, ctx: ctx, answers: make(chan Event, 1)}
	s.timer = time.NewTimer(time.Hour)
	s.timer.Stop()
	defer s.timer.Stop()
	if over, ended := s.do(r.Machine.Step(Begin{})); ended {
		return over
	}
	for {
		var e Event
		select {
		case e = <-s.answers:
			s.busy = nil
		case <-s.timer.C:
			e = Tick{}
		case x, ok := <-events:
			if !ok {
				events, x = nil, Cut{}
			}
			e = x
		}
		if r.Log != nil {
			r.Log.Debug("hand-over", "vm", r.VM, "event", e)
		}
		if over, ended := s.do(r.Machine.Step(e)); ended {
			return over
		}
	}
}

type session struct {
	r       *Runner
	ctx     context.Context
	answers chan Event
	timer   *time.Timer
	busy    context.CancelFunc // ends the action under way; nil: none is
}

func (s *session) do(effects []Effect) (Over, bool) {
	for _, e := range effects {
		switch e := e.(type) {
		case Wait:
			d := s.r.Soon
			if e.For == Answer {
				d = s.r.Answer
			}
			s.timer.Reset(d)
		case Say:
			s.r.Actions.Say(e.What, e.Epoch)
		case Over:
			s.settle()
			return e, true
		default:
			s.timer.Stop()
			s.settle()
			s.begin(e)
		}
	}
	return Over{}, false
}

// settle ends what is under way, which can only be Copy, and forgets its answer.
func (s *session) settle() {
	if s.busy != nil {
		s.busy()
		<-s.answers
		s.busy = nil
	}
}

func (s *session) begin(e Effect) {
	ctx, cancel := context.WithCancel(s.ctx)
	s.busy = cancel
	go func() {
		defer cancel()
		s.answers <- s.act(ctx, e)
	}()
}

func (s *session) act(ctx context.Context, e Effect) Event {
	a := s.r.Actions
	switch e := e.(type) {
	case Swap:
		ctx, cancel := context.WithTimeout(ctx, s.r.Limit)
		defer cancel()
		now, err := s.r.Store.Swap(ctx, s.r.VM, e.Old, e.New)
		return Stored{now, err}
	case Read:
		ctx, cancel := context.WithTimeout(ctx, s.r.Limit)
		defer cancel()
		now, err := s.r.Store.Read(ctx, s.r.VM)
		return Stored{now, err}
	case Copy:
		return Copied{a.Copy(ctx)}
	case Stop:
		return StopDone{a.Stop(ctx)}
	case SendGo:
		return Sent{a.SendGo(ctx, e.Epoch)}
	case Verify:
		return Verified{a.Verify(ctx)}
	case Take:
		return Taken{a.Take(ctx, e.Epoch)}
	}
	panic("handover: an effect without an action")
}
