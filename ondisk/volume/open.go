package volume

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
)

// Error classes; test with errors.Is. Others are ondisk.ErrCorrupt, ondisk.ErrVersion and those of the device.
var (
	// ErrNotVolume says that the device holds something else, or nothing.
	ErrNotVolume = errors.New("not a covol volume")
	// ErrShort says that the device ends before the volume does.
	ErrShort = errors.New("device shorter than its volume")
)

// Note tells that a copy of the superblock had to be used.
type Note struct {
	Block uint64 // the copy that was used
	Why   error  // what is wrong with the superblock in block 0
}

// String is a sentence for the operator, without a full stop; empty if n is nil.
func (n *Note) String() string {
	if n == nil {
		return ""
	}
	return fmt.Sprintf("superblock copy in block %d was used, because: %v", n.Block, n.Why)
}

// Open reads the superblock of the volume on dev. note is nil unless a copy had to be used.
func Open(ctx context.Context, dev blockdev.Device) (super *ondisk.Super, note *Note, err error) {
	blocks := uint64(dev.Geometry().Size) / ondisk.BlockSize
	if blocks == 0 {
		return nil, nil, fmt.Errorf("device of %d bytes: %w", dev.Geometry().Size, ErrNotVolume)
	}
	super, first := readSuper(ctx, dev, ondisk.SuperBlock)
	switch {
	case first == nil:
		return super, nil, longEnough(super, blocks)
	case final(first):
		return nil, nil, first
	}
	ours := looksOurs(first)
	unread := first // what could not be read may be the one that is valid
	for _, blk := range []uint64{ondisk.SuperCopyBlock, blocks - 1} {
		if blk >= blocks {
			continue
		}
		super, err := readSuper(ctx, dev, blk)
		switch {
		case err == nil:
			return super, &Note{Block: blk, Why: first}, longEnough(super, blocks)
		case final(err):
			return nil, nil, err
		}
		ours = ours || looksOurs(err)
		if !errors.Is(err, ondisk.ErrCorrupt) && errors.Is(unread, ondisk.ErrCorrupt) {
			unread = err
		}
	}
	if ours || !errors.Is(unread, ondisk.ErrCorrupt) {
		return nil, nil, fmt.Errorf("no valid superblock, nor a valid copy in blocks %d and %d: %w", ondisk.SuperCopyBlock, blocks-1, unread)
	}
	what, err := Identify(ctx, dev)
	if err != nil {
		return nil, nil, err
	}
	if what == "" {
		what = "nothing known"
	}
	return nil, nil, fmt.Errorf("the device holds %s: %w", what, ErrNotVolume)
}

// final tells errors that no copy can mend: another version, or the caller gave up.
func final(err error) bool {
	return errors.Is(err, ondisk.ErrVersion) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// looksOurs tells a damaged superblock from the absence of one: the magic was right.
func looksOurs(err error) bool {
	var c *ondisk.Corrupt
	return errors.As(err, &c) && c.Field != "magic"
}

func readSuper(ctx context.Context, dev blockdev.Device, blk uint64) (*ondisk.Super, error) {
	b, err := ReadBlock(ctx, dev, blk)
	if err != nil {
		return nil, fmt.Errorf("read superblock: %w", err)
	}
	return ondisk.DecodeSuper(b, blk)
}

func longEnough(s *ondisk.Super, blocks uint64) error {
	if s.Blocks > blocks {
		return fmt.Errorf("superblock says %d blocks of %d bytes, the device has %d: %w", s.Blocks, ondisk.BlockSize, blocks, ErrShort)
	}
	return nil
}

// ReadBlock reads one metadata block without any check of its content.
func ReadBlock(ctx context.Context, dev blockdev.Device, blk uint64) ([]byte, error) {
	b := blockdev.Alloc(ondisk.BlockSize)
	if blk >= uint64(dev.Geometry().Size)/ondisk.BlockSize {
		return nil, fmt.Errorf("block %d: %w", blk, blockdev.ErrRange)
	}
	if err := dev.ReadAt(ctx, b, int64(blk)*ondisk.BlockSize); err != nil {
		return nil, fmt.Errorf("block %d: %w", blk, err)
	}
	return b, nil
}

// IsCovol reports whether b, a block of a device, carries the magic of covol, be the rest valid or not.
func IsCovol(b []byte) bool {
	return len(b) >= 4 && binary.LittleEndian.Uint32(b) == ondisk.Magic
}
