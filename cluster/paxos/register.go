package paxos

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
)

// Errors of Propose; test with errors.Is. The vote may be repeated after each of them.
var (
	// ErrContended means that others began higher ballots again and again.
	ErrContended = errors.New("the vote is contended")
	// ErrUnclear means that a block is torn, or was not what this node had written.
	ErrUnclear = errors.New("a ballot block is not readable or not ours")
	// ErrLease means that this node has no lease, or not enough of it.
	ErrLease = errors.New("no lease to vote under")
)

// Register is one life's part in the votes: the only writer of the ballot block of its slot. Methods must not be called
// concurrently.
type Register struct {
	*Reader
	slot        uint16
	incarnation uint32
	rand        io.Reader // for the pauses between two tries
	leased      func() bool

	epoch, floor uint64       // highest number used or met in epoch
	unsure       atomic.Int64 // writes that were given up and may still land
}

// NewRegister makes the part of a life that owns slot (V1). leased reports whether a write may begin (V2).
func NewRegister(r *Reader, slot uint16, incarnation uint32, random io.Reader, leased func() bool) *Register {
	return &Register{Reader: r, slot: slot, incarnation: incarnation, rand: random, leased: leased}
}

// tries is how many ballots one Propose begins.
const tries = 6

// Propose asks for want as the view after base. It returns whether want was decided: false and nil mean that another view
// has followed base, or did before. After an error want may still be decided, by this node or another.
func (r *Register) Propose(ctx context.Context, base, want *ondisk.View) (bool, error) {
	if want.Epoch != base.Epoch+1 {
		return false, fmt.Errorf("view of epoch %d proposed after epoch %d", want.Epoch, base.Epoch)
	}
	for try := range tries {
		s, err := r.ready(ctx)
		if err != nil {
			return false, err
		}
		if s.Hidden() {
			return false, r.finish(ctx, s)
		}
		if s.View.Epoch != base.Epoch {
			return false, r.copyView(ctx, s, s.View)
		}
		if err := r.copyView(ctx, s, base); err != nil { // nobody loses base when the ballots go on
			return false, err
		}
		out, err := r.run(ctx, s, want.Epoch, base, want)
		switch {
		case err != nil:
			return false, err
		case out.state == won:
			return out.value.Writer == want.Writer, nil
		case out.state == passed:
			return false, nil
		}
		if err := r.pause(ctx, try); err != nil {
			return false, err
		}
	}
	return false, ErrContended
}

// Finish brings a vote to its end that hides the view before it, if there is one.
func (r *Register) Finish(ctx context.Context) error {
	s, err := r.ready(ctx)
	if err != nil || !s.Hidden() {
		return err
	}
	return r.finish(ctx, s)
}

// finish holds the vote that s shows with no wish of our own: its base is not known any more.
func (r *Register) finish(ctx context.Context, s *State) error {
	if err := r.copyView(ctx, s, s.View); err != nil { // our ballot may be the only one that still tells of it
		return err
	}
	_, err := r.run(ctx, s, s.Pending, nil, nil)
	return err
}

// Settle returns once no write of this life can land any more.
func (r *Register) Settle(ctx context.Context) error {
	for r.unsure.Load() > 0 {
		if err := r.sched.Sleep(ctx, r.sb.Profile.Heartbeat/4); err != nil {
			return fmt.Errorf("wait for writes whose outcome is not known: %w", err)
		}
	}
	return nil
}

// ready waits for writes whose outcome is not known, and reads all blocks.
func (r *Register) ready(ctx context.Context) (*State, error) {
	if err := r.Settle(ctx); err != nil {
		return nil, err
	}
	s, err := r.Read(ctx)
	switch {
	case err != nil:
		return nil, err
	case s.View == nil:
		return nil, s.Err
	case s.torn:
		if own := s.Ballots[r.slot]; own != nil || !r.onlyOurs(s) {
			return nil, ErrUnclear
		}
	}
	return s, nil
}

// onlyOurs reports whether no block but our own is torn. Ours was torn by a write of this life or of one before it; no
// write to it is under way, and what it proposed had no effect, because we do not go on with it.
func (r *Register) onlyOurs(s *State) bool {
	for i, b := range s.Ballots {
		if b == nil && i != int(r.slot) {
			return false
		}
	}
	return true
}

// result is what came of one vote.
type result struct {
	state outcome
	value *ondisk.View // if won
}

// run holds one vote.
func (r *Register) run(ctx context.Context, s *State, epoch uint64, base, want *ondisk.View) (result, error) {
	if r.epoch != epoch {
		r.epoch, r.floor = epoch, 0
	}
	v := begin(r.slot, r.incarnation, epoch, base, want, s.Ballots, r.floor)
	r.floor = v.mine.MBal
	for {
		b := ondisk.EncodeBallot(r.sb, &v.mine)
		if err := r.write(ctx, r.sb.BallotBlock(r.slot), b); err != nil {
			return result{}, fmt.Errorf("write ballot %d of epoch %d: %w", v.mine.MBal, epoch, err)
		}
		s, err := r.Read(ctx)
		if err != nil {
			return result{}, err
		}
		switch out := v.read(s.Ballots, s.torn); out {
		case goOn:
		case won:
			value := viewOf(&v.mine, epoch)
			return result{won, value}, r.copyView(ctx, s, value)
		case unclear:
			return result{}, ErrUnclear
		default:
			r.floor = max(r.floor, v.high)
			return result{state: out}, nil
		}
	}
}

// copyView brings the view block up to v, which is decided, if s shows an older one.
func (r *Register) copyView(ctx context.Context, s *State, v *ondisk.View) error {
	if s.Block != nil && s.Block.Epoch >= v.Epoch {
		return nil
	}
	if err := r.write(ctx, ondisk.ViewBlock, ondisk.EncodeView(r.sb, v)); err != nil {
		return fmt.Errorf("write the view block: %w", err)
	}
	return nil
}

// write writes a block under the lease, within the bound of one I/O.
func (r *Register) write(ctx context.Context, blk uint64, b []byte) error {
	if !r.leased() {
		return ErrLease
	}
	p := blockdev.Alloc(len(b))
	copy(p, b)
	err := bounded(ctx, r.sched, r.sb, func(ctx context.Context) error {
		return r.dev.WriteAt(ctx, p, int64(blk)*ondisk.BlockSize, true)
	})
	if err != nil {
		r.unsure.Add(1) // by a timer: a clock that jumps does not end it
		r.sched.AfterFunc(r.sb.Profile.IOBound+r.sb.Profile.Guard, func() { r.unsure.Add(-1) })
	}
	return err
}

// pause lets others finish: a random time that doubles from try to try.
func (r *Register) pause(ctx context.Context, try int) error {
	var b [8]byte
	if _, err := io.ReadFull(r.rand, b[:]); err != nil {
		return fmt.Errorf("draw a random number: %w", err)
	}
	most := r.sb.Profile.Heartbeat / 32 << try
	return r.sched.Sleep(ctx, time.Duration(binary.LittleEndian.Uint64(b[:])%uint64(most+1)))
}
