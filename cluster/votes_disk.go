package cluster

import (
	"bytes"
	"context"
	"fmt"
	"sync/atomic"

	"github.com/covol/covol/cluster/paxos"
	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/sched"
)

// votes is what a device without compare-and-write needs: views are agreed on by package paxos, and plain writes may land
// after their caller has given them up. LEASES.md, "Votes", has the rules.
type votes struct {
	reader *paxos.Reader
	late   *lateDevice
}

func newVotes(dev blockdev.Device, sb *ondisk.Super, s sched.Scheduler) *votes {
	late := &lateDevice{Device: dev, sched: s, profile: sb.Profile}
	return &votes{reader: paxos.NewReader(late, sb, s), late: late}
}

// lateDevice knows whether a write of this node may still land. It may be used concurrently. A write that ended in an error
// counts until D + g later, by a timer: a clock that jumps does not end it.
type lateDevice struct {
	blockdev.Device
	sched   sched.Scheduler
	profile ondisk.Profile

	open atomic.Int64 // writes that may still land
}

// WriteAt writes, and remembers a write whose outcome is not known.
func (d *lateDevice) WriteAt(ctx context.Context, p []byte, off int64, fua bool) error {
	d.open.Add(1)
	err := d.Device.WriteAt(ctx, p, off, fua)
	if err != nil {
		d.sched.AfterFunc(d.profile.IOBound+d.profile.Guard, func() { d.open.Add(-1) })
	} else {
		d.open.Add(-1)
	}
	return err
}

// settle returns once no write of this node can land any more. With compare-and-write there is nothing to wait for: what
// lands late compares with what is gone.
func (d *disk) settle(ctx context.Context) error {
	if d.votes == nil {
		return nil
	}
	for d.votes.late.open.Load() > 0 {
		if err := d.sched.Sleep(ctx, d.sb.Profile.Heartbeat/4); err != nil {
			return fmt.Errorf("wait for writes whose outcome is not known: %w", err)
		}
	}
	return nil
}

// write writes one block plainly, stable when done.
func (d *disk) write(ctx context.Context, blk uint64, b []byte) error {
	ctx, done := d.bounded(ctx)
	defer done()
	return d.dev.WriteAt(ctx, aligned(b), int64(blk)*ondisk.BlockSize, true)
}

// voted makes of an image of the slot blocks what they mean with the view that was voted, which was read before them.
func (im *image) voted(sb *ondisk.Super, s *paxos.State) {
	im.view, im.viewErr, im.hidden = s.View, s.Err, s.Hidden()
	im.pending = s.Pending
	if im.view == nil {
		return
	}
	im.viewErr, im.viewRaw = nil, ondisk.EncodeView(sb, im.view)
	for i := range im.slots {
		im.slots[i] = held(sb, uint16(i), im.view, im.slots[i])
	}
}

// held is what a slot block means with the view v: a life whose end was voted on is over whatever its block says. The end
// is shown as the block that compare-and-write would have put there. A doomed life still has the block that its owner
// writes. A block that belongs to an earlier life than the holder's was written late and tells nothing.
func held(sb *ondisk.Super, index uint16, v *ondisk.View, im slotImage) slotImage {
	h, s := v.Holders[index], im.slot
	if h.Incarnation == 0 || s != nil && s.Incarnation > h.Incarnation {
		return im
	}
	mine := s != nil && s.Incarnation == h.Incarnation
	over := ondisk.Slot{Index: index, State: ondisk.SlotActive, Incarnation: h.Incarnation}
	if mine {
		over = *s
	}
	switch h.State {
	case ondisk.HolderHeld, ondisk.HolderDoomed:
		if !mine {
			im.slot = nil
		}
		return im
	case ondisk.HolderFree:
		over = *freeOf(&over)
	default:
		if over.State == ondisk.SlotFree {
			over.State = ondisk.SlotActive
		}
		over.Seq = deadBit
		if by, ok := lifeThatRecovers(v, h.State); ok {
			over.Seq = deadSeq(by)
		}
	}
	return slotImage{raw: ondisk.EncodeSlot(sb, &over), slot: &over, disk: im.disk}
}

// takeVotes brings a view block that nodes without compare-and-write have left behind up to what they voted.
func (d *disk) takeVotes(ctx context.Context, raw []byte) error {
	s, err := paxos.NewReader(d.dev, d.sb, d.sched).Read(ctx)
	if err != nil {
		return err
	}
	if s.Block == nil || s.View.Epoch == s.Block.Epoch {
		return nil
	}
	if _, err := d.swap(ctx, ondisk.ViewBlock, raw, ondisk.EncodeView(d.sb, s.View)); err != nil {
		return fmt.Errorf("bring the view block up to epoch %d: %w", s.View.Epoch, err)
	}
	return nil
}

// replace is a swap for a tool that has the volume alone: a read, a comparison and a plain write. It is safe only because
// every slot is taken, so that nobody votes; see Hold.settle.
func (d *disk) replace(ctx context.Context, blk uint64, old, new []byte) (bool, error) {
	start, now := d.sched.Now(), blockdev.Alloc(len(old))
	if err := d.read(ctx, blk, now); err != nil {
		return false, err
	}
	if !bytes.Equal(now, old) {
		return false, nil
	}
	if err := d.write(ctx, blk, new); err != nil {
		return false, err
	}
	if took, bound := d.sched.Now()-start, d.sb.Profile.IOBound; took > bound {
		return false, fmt.Errorf("compare and plain write took %v, the bound is %v", took, bound)
	}
	return true, nil
}
