package check

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
)

// draft is the volume as a repair wants it: the device below, blocks that are to be written laid over it. It is what
// the rounds of planning check, so that a plan is proven before the first byte of it is written.
//
// Images are kept in a Store under the number of their block. The value is one byte, how the block is to be written,
// and the block.
type draft struct {
	blockdev.Device
	images Store
	have   bitmapOf // blocks with an image: the store need not be asked for the others
}

// How a block is to be written.
const (
	viaJournal byte = 'j' // metadata that a journal may hold
	direct     byte = 'd' // superblocks, view, slots, ballots, heads of journals
	fill       byte = 'f' // file data, in clusters that no other file has
)

// errReadOnly refuses what would go past the plan.
var errReadOnly = errors.New("a draft is not written")

func newDraft(dev blockdev.Device, s Store) *draft {
	return &draft{Device: dev, images: s, have: bitmapOf{}}
}

func imageKey(blk uint64) []byte { return binary.BigEndian.AppendUint64([]byte{'i'}, blk) }

// put plans to write b to blk.
func (d *draft) put(how byte, blk uint64, b []byte) error {
	v := make([]byte, 1+ondisk.BlockSize)
	v[0] = how
	copy(v[1:], b)
	d.have.set(blk)
	if err := d.images.Put(imageKey(blk), v); err != nil {
		return fmt.Errorf("plan of block %d: %w", blk, err)
	}
	return nil
}

// image is what is planned for blk, nil if nothing is.
func (d *draft) image(blk uint64) ([]byte, error) {
	if !d.have.has(blk) {
		return nil, nil
	}
	v, err := d.images.Get(imageKey(blk))
	if err == nil && len(v) != 1+ondisk.BlockSize {
		err = errForgotten
	}
	if err != nil {
		return nil, fmt.Errorf("plan of block %d: %w", blk, err)
	}
	return v[1:], nil
}

var errForgotten = errors.New("the index has lost an entry")

// ReadAt gives what the device will hold. A medium error of the device does not matter where all is planned anew.
func (d *draft) ReadAt(ctx context.Context, p []byte, off int64) error {
	first, n := uint64(off)/ondisk.BlockSize, len(p)/ondisk.BlockSize
	planned := 0
	for i := range n {
		if d.have.has(first + uint64(i)) {
			planned++
		}
	}
	if planned < n || n*ondisk.BlockSize != len(p) || off%ondisk.BlockSize != 0 {
		if err := d.Device.ReadAt(ctx, p, off); err != nil {
			return err
		}
	}
	if planned == 0 {
		return nil
	}
	for i := range n {
		b, err := d.image(first + uint64(i))
		if err != nil {
			return err
		}
		if b != nil {
			copy(p[i*ondisk.BlockSize:], b)
		}
	}
	return nil
}

// WriteAt is refused.
func (d *draft) WriteAt(context.Context, []byte, int64, bool) error { return errReadOnly }

// Discard is refused.
func (d *draft) Discard(context.Context, int64, int64) error { return errReadOnly }

// each gives fn all that is planned in one way, ascending.
func (d *draft) each(how byte, fn func(blk uint64, b []byte) error) error {
	var failed error
	n := 0
	err := d.images.Ascend([]byte{'i'}, func(key, v []byte) bool {
		if key[0] != 'i' || len(key) != 9 {
			return false
		}
		n++
		if len(v) == 1+ondisk.BlockSize && v[0] == how {
			failed = fn(binary.BigEndian.Uint64(key[1:]), v[1:])
		}
		return failed == nil
	})
	switch {
	case failed != nil:
		return failed
	case err == nil && n != d.have.count():
		err = errForgotten
	}
	if err != nil {
		return fmt.Errorf("read the plan: %w", err)
	}
	return nil
}

// bitmapOf is a set of block numbers.
type bitmapOf map[uint64]*[pageWords]uint64

func (m bitmapOf) has(n uint64) bool {
	p := m[n/pageBits]
	return p != nil && p[n/64%pageWords]>>(n%64)&1 != 0
}

func (m bitmapOf) set(n uint64) {
	p := m[n/pageBits]
	if p == nil {
		p = new([pageWords]uint64)
		m[n/pageBits] = p
	}
	p[n/64%pageWords] |= 1 << (n % 64)
}

func (m bitmapOf) count() int {
	n := uint64(0)
	for _, p := range m {
		n += onesOf(p)
	}
	return int(n)
}
