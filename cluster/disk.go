package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/covol/covol/cluster/paxos"
	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/sched"
)

// disk reads and swaps the view block and the slot blocks. It may be used concurrently.
type disk struct {
	dev   blockdev.Device
	caw   blockdev.CompareAndWriter
	votes *votes // not nil: the device has no compare-and-write, or we only look
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
	pending    uint64      // highest epoch that a vote has begun on
	hidden     bool        // a vote is under way that hides the newest view
}

// slotImage is one slot block as read.
type slotImage struct {
	raw  []byte
	slot *ondisk.Slot // nil if the block is not valid
	disk []byte       // as it lies there; raw may be what a vote makes of it
}

// openDisk finds out whether dev swaps, by swapping the view block with itself.
func openDisk(ctx context.Context, c *Config) (*disk, error) {
	d := &disk{dev: c.Dev, sb: c.Super, sched: c.Sched, rand: c.Rand}
	votes := func() *disk {
		d.votes = newVotes(c.Dev, c.Super, c.Sched)
		d.dev = d.votes.late
		return d
	}
	caw, ok := c.Dev.(blockdev.CompareAndWriter)
	if !ok {
		return votes(), nil
	}
	raw := blockdev.Alloc(ondisk.BlockSize)
	if err := d.read(ctx, ondisk.ViewBlock, raw); err != nil {
		return nil, fmt.Errorf("read the view block: %w", err)
	}
	_, err := caw.CompareAndWrite(ctx, ondisk.ViewBlock*ondisk.BlockSize, raw, raw)
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return votes(), nil
	case err != nil:
		return nil, fmt.Errorf("try compare-and-write on the view block: %w", err)
	}
	d.caw = caw
	return d, d.takeVotes(ctx, raw)
}

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
	var state *paxos.State
	var err error
	if d.votes != nil {
		state, err = d.votes.reader.Read(ctx)
	} else if err = d.read(ctx, ondisk.ViewBlock, im.viewRaw); err != nil {
		err = fmt.Errorf("read the view block: %w", err)
	}
	if err != nil {
		return nil, err
	}
	area := blockdev.Alloc(int(d.sb.Slots) * ondisk.BlockSize)
	if err := d.read(ctx, d.sb.SlotBlock(0), area); err != nil {
		return nil, fmt.Errorf("read the slot area: %w", err)
	}
	im.end = d.sched.Now()
	im.slots = make([]slotImage, d.sb.Slots)
	for i := range im.slots {
		raw := area[i*ondisk.BlockSize : (i+1)*ondisk.BlockSize]
		im.slots[i].raw, im.slots[i].disk = raw, raw
		if s, err := ondisk.DecodeSlot(d.sb, uint16(i), raw); err == nil {
			im.slots[i].slot = s
		}
	}
	if state != nil {
		im.voted(d.sb, state)
	} else if im.view, im.viewErr = ondisk.DecodeView(d.sb, im.viewRaw); im.viewErr != nil {
		im.view = nil
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
	return slotImage{raw, s, raw}, nil
}

// swap replaces old by new in block blk, stable when done. After an error either may be there.
func (d *disk) swap(ctx context.Context, blk uint64, old, new []byte) (bool, error) {
	if d.caw == nil {
		return d.replace(ctx, blk, old, new)
	}
	ctx, done := d.bounded(ctx)
	defer done()
	return d.caw.CompareAndWrite(ctx, int64(blk)*ondisk.BlockSize, aligned(old), aligned(new))
}

func aligned(p []byte) []byte {
	if blockdev.Aligned(p) {
		return p
	}
	a := blockdev.Alloc(len(p))
	copy(a, p)
	return a
}

// Read draws random bytes.
func (d *disk) Read(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rand.Read(p)
}

// writer draws a number that names one write.
func (d *disk) writer() (uint64, error) {
	var b [8]byte
	if _, err := io.ReadFull(d, b[:]); err != nil {
		return 0, fmt.Errorf("draw a random number: %w", err)
	}
	return binary.LittleEndian.Uint64(b[:]) | 1, nil
}
