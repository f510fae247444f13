package paxos

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/sched"
)

// Reader reads the view block and the ballots. It remembers torn ballots from look to look. It may be used concurrently.
type Reader struct {
	dev   blockdev.Device
	sb    *ondisk.Super
	sched sched.Scheduler

	mu sync.Mutex
	// GUARDED_BY(mu): by slot
	bad []badBlock
}

// badBlock is a ballot block that is not valid.
type badBlock struct {
	raw  []byte
	last time.Duration // look
	age  time.Duration // how long it has been the same, as far as we have looked
}

// NewReader makes a Reader of dev, which must not be behind a gate.
func NewReader(dev blockdev.Device, sb *ondisk.Super, s sched.Scheduler) *Reader {
	return &Reader{dev: dev, sb: sb, sched: s, bad: make([]badBlock, sb.Slots)}
}

// Read reads the view block and then the ballots; each read may take the profile's IOBound. A view block that is not
// valid is not an error.
func (r *Reader) Read(ctx context.Context) (*State, error) {
	s := &State{Start: r.sched.Now(), Ballots: make([]*ondisk.Ballot, r.sb.Slots)}
	raw := blockdev.Alloc(ondisk.BlockSize)
	if err := bounded(ctx, r.sched, r.sb, func(ctx context.Context) error {
		return r.dev.ReadAt(ctx, raw, ondisk.ViewBlock*ondisk.BlockSize)
	}); err != nil {
		return nil, fmt.Errorf("read the view block: %w", err)
	}
	area := blockdev.Alloc(int(r.sb.Slots) * ondisk.BlockSize)
	if err := bounded(ctx, r.sched, r.sb, func(ctx context.Context) error {
		return r.dev.ReadAt(ctx, area, int64(r.sb.BallotBlock(0))*ondisk.BlockSize)
	}); err != nil {
		return nil, fmt.Errorf("read the ballots: %w", err)
	}
	s.Block, s.Err = ondisk.DecodeView(r.sb, raw)
	if s.Err != nil {
		s.Block = nil
	}
	for i := range s.Ballots {
		b := area[i*ondisk.BlockSize : (i+1)*ondisk.BlockSize]
		if v, err := ondisk.DecodeBallot(r.sb, uint16(i), b); err == nil {
			s.Ballots[i] = v
		}
		s.torn = r.isTorn(i, b, s.Ballots[i] == nil) || s.torn
	}
	s.settle()
	return s, nil
}

// isTorn reports whether block i, which is bad or not, must be waited for. A bad one that has been the same for W need not.
func (r *Reader) isTorn(i int, raw []byte, bad bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := &r.bad[i]
	if !bad {
		*b = badBlock{}
		return false
	}
	now := r.sched.Now()
	if b.raw == nil || !bytes.Equal(b.raw, raw) {
		*b = badBlock{raw: bytes.Clone(raw), last: now}
	}
	b.age += min(now-b.last, 2*r.sb.Profile.Heartbeat) // a gap between two looks is not time that was watched
	b.last = now
	return b.age < r.sb.Profile.Wait()
}

// bounded gives op the time that one I/O may take.
func bounded(ctx context.Context, s sched.Scheduler, sb *ondisk.Super, op func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := s.AfterFunc(sb.Profile.IOBound, cancel)
	defer stop()
	return op(ctx)
}
