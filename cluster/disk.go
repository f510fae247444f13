package cluster

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/sched"
)

// disk reads and swaps the view block and the slot blocks. It may be used concurrently.
type disk struct {
	dev   blockdev.Device
	caw   blockdev.CompareAndWriter // nil: the device has none
	sb    *ondisk.Super
	sched sched.Scheduler
	mu    sync.Mutex
	// GUARDED_BY(mu)
	rand io.Reader
}

// image is what one look at the disk showed.
type image struct {
	start, end time.Duration // of the look; the content was there at some instant in between
	viewRaw    []byte
	view       *ondisk.View // nil if the block is not valid
	viewErr    error
	slots      []slotImage // one per slot
}

// slotImage is one slot block as read.
type slotImage struct {
	raw  []byte
	slot *ondisk.Slot // nil if the block is not valid
}

// openDisk finds out whether dev swaps, by swapping the view block with itself.
func openDisk(ctx context.Context, c *Config) (*disk, error) {
	d := &disk{dev: c.Dev, sb: c.Super, sched: c.Sched, rand: c.Rand}
	caw, ok := c.Dev.(blockdev.CompareAndWriter)
	if !ok {
		return d, nil
	}
	raw := blockdev.Alloc(ondisk.BlockSize)
	if err := d.read(ctx, ondisk.ViewBlock, raw); err != nil {
		return nil, fmt.Errorf("read the view block: %w", err)
	}
	_, err := caw.CompareAndWrite(ctx, ondisk.ViewBlock*ondisk.BlockSize, raw, raw)
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return d, nil
	case err != nil:
		return nil, fmt.Errorf("try compare-and-write on the view block: %w", err)
	}
	d.caw = caw
	return d, nil
}

func (d *disk) swaps() bool { return d.caw != nil }

func (d *disk) bounded(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	stop := d.sched.AfterFunc(d.sb.Profile.IOBound, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}

func (d *disk) read(ctx context.Context, blk uint64, p []byte) error {
	ctx, done := d.bounded(ctx)
	defer done()
	return d.dev.ReadAt(ctx, p, int64(blk)*ondisk.BlockSize)
}

// look reads the view block and then all slots. In that order: whoever the view lists had written its slot before.
func (d *disk) look(ctx context.Context) (*image, error) {
	im := &image{start: d.sched.Now(), viewRaw: blockdev.Alloc(ondisk.BlockSize)}
	if err := d.read(ctx, ondisk.ViewBlock, im.viewRaw); err != nil {
		return nil, fmt.Errorf("read the view block: %w", err)
	}
	area := blockdev.Alloc(int(d.sb.Slots) * ondisk.BlockSize)
	if err := d.read(ctx, d.sb.SlotBlock(0), area); err != nil {
		return nil, fmt.Errorf("read the slot area: %w", err)
	}
	im.end = d.sched.Now()
	im.view, im.viewErr = ondisk.DecodeView(d.sb, im.viewRaw)
	im.slots = make([]slotImage, d.sb.Slots)
	for i := range im.slots {
		raw := area[i*ondisk.BlockSize : (i+1)*ondisk.BlockSize]
		im.slots[i].raw = raw
		if s, err := ondisk.DecodeSlot(d.sb, uint16(i), raw); err == nil {
			im.slots[i].slot = s
		}
	}
	return im, nil
}

func (d *disk) readSlot(ctx context.Context, index uint16) (slotImage, error) {
	raw := blockdev.Alloc(ondisk.BlockSize)
	if err := d.read(ctx, d.sb.SlotBlock(index), raw); err != nil {
		return slotImage{}, fmt.Errorf("read slot %d: %w", index, err)
	}
	s, err := ondisk.DecodeSlot(d.sb, index, raw)
	if err != nil {
		s = nil
	}
	return slotImage{raw, s}, nil
}

// swap replaces old by new in block blk, stable when done. After an error either may be there. Without compare-and-write
// it is a read, a comparison and a write: whoever relies on it must keep to the rules of LEASES.md, "one node".
func (d *disk) swap(ctx context.Context, blk uint64, old, new []byte) (bool, error) {
	off := int64(blk) * ondisk.BlockSize
	if d.caw != nil {
		ctx, done := d.bounded(ctx)
		defer done()
		return d.caw.CompareAndWrite(ctx, off, aligned(old), aligned(new))
	}
	start, now := d.sched.Now(), blockdev.Alloc(len(old))
	if err := d.read(ctx, blk, now); err != nil {
		return false, err
	}
	if !bytes.Equal(now, old) {
		return false, nil
	}
	ctx, done := d.bounded(ctx)
	defer done()
	if err := d.dev.WriteAt(ctx, aligned(new), off, true); err != nil {
		return false, err
	}
	if took, bound := d.sched.Now()-start, d.sb.Profile.IOBound; took > bound {
		return false, fmt.Errorf("compare and plain write took %v, the bound is %v", took, bound)
	}
	return true, nil
}

func aligned(p []byte) []byte {
	if blockdev.Aligned(p) {
		return p
	}
	a := blockdev.Alloc(len(p))
	copy(a, p)
	return a
}

// writer draws a number that names one write.
func (d *disk) writer() (uint64, error) {
	var b [8]byte
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := io.ReadFull(d.rand, b[:]); err != nil {
		return 0, fmt.Errorf("draw a random number: %w", err)
	}
	return binary.LittleEndian.Uint64(b[:]) | 1, nil
}
