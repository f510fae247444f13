package check

import (
	"github.com/covol/covol/ondisk"
)

// checkFixed judges the grow block, the view, and what each slot has at fixed places.
func (c *checker) checkFixed() error {
	if err := c.checkGrow(); err != nil {
		return err
	}
	c.rep.Stats.GroupsReady = c.ready
	c.own = newOwned(c.sb, c.ready)
	v, err := c.checkView()
	if err != nil {
		return err
	}
	for slot := range uint16(c.sb.Slots) {
		if err := c.checkSlot(slot, v); err != nil {
			return err
		}
		if err := c.checkSpace(slot); err != nil {
			return err
		}
	}
	return c.grow(int64(c.ready) * 8)
}

func (c *checker) checkGrow() error {
	b, err := c.load(ondisk.TypeGrow, ondisk.GrowBlock)
	if err == nil {
		c.ready, err = ondisk.DecodeGrow(c.sb, b)
	}
	if err == nil {
		return nil
	}
	if !isFinding(err) {
		return err
	}
	for c.ready = 0; c.ready < c.sb.Groups; c.ready++ {
		if _, e := c.load(ondisk.TypeGroup, c.sb.GroupFirst(c.ready)); e != nil {
			if !isFinding(e) {
				return e
			}
			break
		}
	}
	c.add(Finding{Code: GrowInvalid, Where: Where{Block: ondisk.GrowBlock}, Want: int64(c.ready),
		Text: "the grow block is not valid (" + reason(err) + "); " + plural(uint64(c.ready), "group") + " with valid headers were counted"})
	return nil
}

func (c *checker) checkView() (*ondisk.View, error) {
	b, err := c.r.block(c.ctx, ondisk.ViewBlock)
	var v *ondisk.View
	if err == nil {
		v, err = ondisk.DecodeView(c.sb, b)
	}
	if err != nil && !isFinding(err) {
		return nil, err
	}
	if err != nil {
		c.tell(ViewInvalid, Where{Block: ondisk.ViewBlock}, "the view is not valid (%s)", reason(err))
		return nil, nil
	}
	c.maxEpoch = max(c.maxEpoch, v.Epoch)
	return v, nil
}

// checkSlot judges slot and ballot, and whether what they say can be true with view v, which may be nil.
func (c *checker) checkSlot(slot uint16, v *ondisk.View) error {
	blk := c.sb.BallotBlock(slot)
	b, err := c.r.block(c.ctx, blk)
	if err == nil {
		_, err = ondisk.DecodeBallot(c.sb, slot, b)
	}
	if err != nil && !isFinding(err) {
		return err
	}
	if err != nil {
		c.tell(BallotInvalid, atSlot(slot, blk), "the ballot is not valid (%s)", reason(err))
	}
	blk = c.sb.SlotBlock(slot)
	var s *ondisk.Slot
	if b, err = c.r.block(c.ctx, blk); err == nil {
		s, err = ondisk.DecodeSlot(c.sb, slot, b)
	}
	if err != nil {
		if !isFinding(err) {
			return err
		}
		c.tell(SlotInvalid, atSlot(slot, blk), "the slot is not valid (%s)", reason(err))
		return nil
	}
	c.maxEpoch = max(c.maxEpoch, s.Epoch)
	if v == nil {
		return nil
	}
	if m := v.Members[slot]; m != 0 && (s.State == ondisk.SlotFree || m > s.Incarnation) {
		c.tell(MemberNoSlot, atSlot(slot, blk), "the view has incarnation %d of the slot, which has state %d and incarnation %d", m, s.State, s.Incarnation)
	}
	if s.Epoch > v.Epoch {
		c.tell(SlotAhead, atSlot(slot, blk), "the slot has seen epoch %d, the view is of epoch %d", s.Epoch, v.Epoch)
	}
	return nil
}

func (c *checker) checkSpace(slot uint16) error {
	blk := c.sb.SpaceBlock(slot)
	b, err := c.load(ondisk.TypeSpace, blk)
	if err != nil {
		if !isFinding(err) {
			return err
		}
		c.spacesBroken = true
		c.tell(SpaceInvalid, atSlot(slot, blk), "the space block is not valid (%s)", reason(err))
		return nil
	}
	s := ondisk.DecodeSpace(slot, b)
	c.spaces += s.Clusters
	c.inodes += s.Inodes
	return nil
}
