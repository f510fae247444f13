package check

import (
	"errors"
	"fmt"

	"github.com/covol/covol/ondisk"
)

// checkSuper finds the superblock, by its copies if need be, and compares them.
func (c *checker) checkSuper() error {
	primary, err := c.readSuper(ondisk.SuperBlock)
	if err != nil && !isFinding(err) {
		return err
	}
	from := "the superblock"
	c.sb = primary
	if primary == nil {
		c.tell(SuperInvalid, Where{Block: ondisk.SuperBlock}, "the superblock is not valid (%s)", reason(err))
		for _, blk := range []uint64{ondisk.SuperCopyBlock, c.r.blocks - 1} {
			sb, e := c.readSuper(blk)
			if e != nil && !isFinding(e) {
				return e
			}
			if sb != nil && (blk == ondisk.SuperCopyBlock || blk == sb.Blocks-1) {
				c.sb, from = sb, fmt.Sprintf("the copy in block %d", blk)
				break
			}
		}
	}
	if c.sb == nil {
		return fmt.Errorf("no superblock and no copy of it is valid: %w", err)
	}
	if c.sb.Blocks > c.r.blocks {
		return fmt.Errorf("the device has %d blocks, the volume %d: %w", c.r.blocks, c.sb.Blocks,
			&ondisk.Corrupt{Struct: "super", Block: ondisk.SuperBlock, Field: "blocks", Got: c.sb.Blocks, Want: c.r.blocks})
	}
	c.rep.UUID, c.rep.Label = c.sb.UUID.String(), c.sb.Label
	c.rep.Stats.ClusterSize, c.rep.Stats.Groups = c.sb.ClusterSize, c.sb.Groups
	for _, blk := range []uint64{ondisk.SuperCopyBlock, c.sb.Blocks - 1} {
		sb, err := c.readSuper(blk)
		switch {
		case err != nil && !isFinding(err) && !errors.Is(err, ondisk.ErrVersion):
			return err
		case err != nil:
			c.tell(SuperCopyInvalid, Where{Block: blk}, "the copy of the superblock is not valid (%s)", reason(err))
		case *sb != *c.sb:
			c.tell(SuperCopyDiffers, Where{Block: blk}, "the copy differs from %s", from)
		}
	}
	return nil
}

// readSuper returns nil and the reason if blk holds no superblock.
func (c *checker) readSuper(blk uint64) (*ondisk.Super, error) {
	b, err := c.r.raw(c.ctx, blk)
	if err != nil {
		return nil, err
	}
	sb, err := ondisk.DecodeSuper(b, blk)
	if err != nil {
		return nil, err
	}
	return sb, nil
}
