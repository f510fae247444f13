package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/sched"
)

// Hold is a tool that has a volume for itself. It has claimed every slot, as a node claims one, and renews them all, so
// that no node finds a slot to join in; and the view lists it in one of them, so that what a dead tool left in the
// journal of that slot is replayed by whoever comes next. LEASES.md, "a tool alone", has the protocol.
type Hold struct {
	cfg    Config
	disk   *disk
	gate   *Gate
	before map[uint64][]byte
	old    []*ondisk.Slot // what each slot held before, nil if that was not valid

	// Owned by the procedure that claims, then by the renewer, then by Release.
	mine    []*ondisk.Slot // nil where the slot is not ours
	raw     [][]byte
	viewRaw []byte
	view    *ondisk.View
	locked  []bool

	stop context.CancelFunc
	quit sched.Event // the renewer has ended
}

// toolMark begins the names of tools; no node has such a name by accident.
const toolMark = "fsck@"

// IsTool reports whether name is that of a tool that has the volume for itself.
func IsTool(name string) bool { return strings.HasPrefix(name, toolMark) }

// ToolName is the name under which a tool holds a volume.
func ToolName(host string, pid int) string {
	name := fmt.Sprintf("%s%s/%d", toolMark, host, pid)
	return name[:min(len(name), ondisk.NameSize)]
}

// HomeSlot is the slot in which the view lists a tool: it may write to the journal of that slot.
const HomeSlot view.Slot = 0

// Exclusive takes the volume for a tool. cfg needs what Join needs, but no procedures; Name must come from ToolName.
// What it waits for is bounded by the profile's Wait, as for a join. Errors: ErrMounted, or of the device.
func Exclusive(ctx context.Context, cfg Config) (*Hold, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	names, err := inUse(ctx, cfg.Sched, cfg.Dev, cfg.Super, cfg.Host, cfg.Machine)
	if err != nil {
		return nil, fmt.Errorf("look whether the volume is mounted: %w", err)
	}
	if len(names) > 0 {
		return nil, &Mounted{names}
	}
	d, err := openDisk(ctx, &cfg)
	if err != nil {
		return nil, err
	}
	n := cfg.Super.Slots
	h := &Hold{cfg: cfg, disk: d, gate: newGate(cfg.Sched, gateMargin(cfg.Super.Profile)), before: map[uint64][]byte{}, old: make([]*ondisk.Slot, n),
		mine: make([]*ondisk.Slot, n), raw: make([][]byte, n), locked: make([]bool, n), quit: cfg.Sched.NewEvent()}
	if err := h.claim(ctx); err != nil {
		h.gate.close(ErrLeft)
		return nil, errors.Join(fmt.Errorf("take the volume: %w", err), h.giveBack(context.WithoutCancel(ctx)))
	}
	ctx, h.stop = context.WithCancel(context.WithoutCancel(ctx))
	cfg.Sched.Go("cluster hold", func() { h.renew(ctx) })
	return h, nil
}

// Wrap puts the lease of the tool before dev: what is written while the hold cannot be renewed waits, and fails once it
// is lost.
func (h *Hold) Wrap(dev blockdev.Device) blockdev.Device { return h.gate.Wrap(dev) }

// Before is what the blocks that Exclusive has written held before, by number.
func (h *Hold) Before() map[uint64][]byte { return h.before }

// Life is the incarnation in which the view lists the tool, in slot HomeSlot.
func (h *Hold) Life() view.NodeID {
	return view.NodeID{Slot: HomeSlot, Incarnation: view.Incarnation(h.mine[HomeSlot].Incarnation)}
}

// claim takes slot by slot, and then enters the view.
func (h *Hold) claim(ctx context.Context) error {
	start := h.cfg.Sched.Now()
	im, err := h.disk.look(ctx)
	if err != nil {
		return err
	}
	v := im.view
	if v == nil {
		v = &ondisk.View{Members: make([]uint32, len(im.slots)), Recovering: make([]uint32, len(im.slots))}
	}
	if v.Holders == nil {
		v.Holders = make([]ondisk.Holder, len(im.slots))
	}
	h.viewRaw = blockdev.Alloc(ondisk.BlockSize) // where views are voted on, it may be older than im.view
	if err := h.disk.read(ctx, ondisk.ViewBlock, h.viewRaw); err != nil {
		return fmt.Errorf("read the view block: %w", err)
	}
	h.before[ondisk.ViewBlock] = slices.Clone(h.viewRaw)
	v.Epoch = max(v.Epoch, im.pending) // above every vote that has begun: this view is the newest then
	for j, s := range im.slots {
		if s.slot != nil {
			v.Epoch = max(v.Epoch, s.slot.Epoch)
		}
		h.old[j] = s.slot
	}
	for j, s := range im.slots {
		if err := h.take(ctx, uint16(j), s, v); err != nil {
			return err
		}
	}
	if h.disk.votes != nil {
		if err := h.settle(ctx); err != nil {
			return err
		}
	}
	next := &ondisk.View{Epoch: v.Epoch + 1, Members: slices.Clone(v.Members), Recovering: slices.Clone(v.Recovering),
		Holders: slices.Clone(v.Holders)}
	next.Members[HomeSlot] = h.mine[HomeSlot].Incarnation
	if err := h.setView(ctx, next); err != nil {
		return err
	}
	h.gate.extend(start + h.cfg.Super.Profile.Lease)
	return nil
}

// take claims slot j, which held im.
func (h *Hold) take(ctx context.Context, j uint16, im slotImage, v *ondisk.View) error {
	if h.cfg.Host != nil {
		if err := h.cfg.Host.LockByte(int64(j), false); err != nil {
			return fmt.Errorf("slot %d: %w", j, &Mounted{[]string{"a process of this host"}})
		}
		h.locked[j] = true
	}
	inc := max(v.Members[j], v.Recovering[j], v.Holders[j].Incarnation)
	if im.slot != nil {
		inc = max(inc, im.slot.Incarnation)
	} else {
		inc += unknownLives
	}
	p := h.cfg.Super.Profile
	ms := func(d time.Duration) uint32 { return uint32(d.Milliseconds()) }
	s := &ondisk.Slot{Index: j, State: ondisk.SlotJoining, Incarnation: inc + 1, Epoch: v.Epoch, Name: h.cfg.Name, Addr: h.cfg.Addr,
		Boot: h.cfg.Machine.Boot, Host: h.cfg.Machine.Host, Pid: h.cfg.Machine.Pid,
		Profile: [4]uint32{ms(p.Heartbeat), ms(p.Lease), ms(p.IOBound), ms(p.Guard)}}
	h.before[h.cfg.Super.SlotBlock(j)] = slices.Clone(im.disk)
	if h.disk.votes != nil {
		s.Arbitration = ondisk.ByVote
	}
	return h.write(ctx, s, im.disk)
}

// write swaps the block of slot s.Index from old to s.
func (h *Hold) write(ctx context.Context, s *ondisk.Slot, old []byte) error {
	var err error
	if s.Writer, err = h.disk.writer(); err != nil {
		return err
	}
	s.Seq++
	raw := ondisk.EncodeSlot(h.cfg.Super, s)
	ok, err := h.disk.swap(ctx, h.cfg.Super.SlotBlock(s.Index), old, raw)
	if err == nil && !ok || err != nil {
		im, rerr := h.disk.readSlot(ctx, s.Index)
		switch {
		case rerr != nil:
			return fmt.Errorf("slot %d: %w", s.Index, errors.Join(err, rerr))
		case bytes.Equal(im.raw, raw): // it was done, whatever was said
		case err != nil:
			return fmt.Errorf("slot %d: %w", s.Index, err)
		default:
			return &Mounted{[]string{nameOrSlot(im.slot, int(s.Index))}}
		}
	}
	h.mine[s.Index], h.raw[s.Index] = s, raw
	return nil
}

func (h *Hold) setView(ctx context.Context, v *ondisk.View) error {
	var err error
	if v.Writer, err = h.disk.writer(); err != nil {
		return err
	}
	raw := ondisk.EncodeView(h.cfg.Super, v)
	ok, err := h.disk.swap(ctx, ondisk.ViewBlock, h.viewRaw, raw)
	if err != nil {
		return fmt.Errorf("view: %w", err)
	}
	if !ok {
		return errors.New("another node has changed the view")
	}
	h.view, h.viewRaw = v, raw
	return nil
}

// settle is what a device without compare-and-write needs: whoever began to claim before us has shown himself when the
// delay is over.
func (h *Hold) settle(ctx context.Context) error {
	p := h.cfg.Super.Profile
	if err := h.cfg.Sched.Sleep(ctx, p.IOBound+p.Guard); err != nil {
		return err
	}
	im, err := h.disk.look(ctx)
	if err != nil {
		return err
	}
	for j, s := range im.slots {
		if !bytes.Equal(s.raw, h.raw[j]) {
			return &Mounted{[]string{nameOrSlot(s.slot, j)}}
		}
	}
	return nil
}

// renew is the heartbeat of all slots. The lease is extended when all of one round are done.
func (h *Hold) renew(ctx context.Context) {
	defer h.quit.Set()
	p := h.cfg.Super.Profile
	for {
		if h.cfg.Sched.Sleep(ctx, p.Heartbeat) != nil {
			return
		}
		start := h.cfg.Sched.Now()
		err := h.renewAll(ctx)
		var lost *Mounted
		switch {
		case ctx.Err() != nil:
			return
		case errors.As(err, &lost):
			h.gate.close(fmt.Errorf("%w: a slot was taken away: %w", ErrWithdrawn, err))
			return
		case err != nil:
			h.cfg.Log.Warn("hold not renewed", "err", err)
		case h.cfg.Sched.Now()-start <= p.IOBound || h.disk.votes == nil:
			h.gate.extend(start + p.Lease)
		}
	}
}

func (h *Hold) renewAll(ctx context.Context) error {
	for j := range h.mine {
		s := *h.mine[j]
		if err := h.write(ctx, &s, h.raw[j]); err != nil {
			return err
		}
	}
	return nil
}

// Release gives the volume back. With clean, all journals have been replayed: the view is left empty. Else it is left
// with those whose journals have not been, and they will be replayed by who comes next. The device is not used any more
// when Release returns; after an error the slots are as those of a dead node.
func (h *Hold) Release(ctx context.Context, clean bool) error {
	h.gate.close(ErrLeft)
	if err := h.gate.drain(ctx); err != nil {
		return fmt.Errorf("give the volume back: I/O in flight: %w", err)
	}
	h.stop()
	_ = h.quit.Wait(context.Background())
	if _, err := h.gate.next(); errors.Is(err, ErrWithdrawn) {
		h.unlock()
		return fmt.Errorf("give the volume back: %w", err)
	}
	next := &ondisk.View{Epoch: h.view.Epoch + 1, Members: make([]uint32, len(h.mine)), Recovering: make([]uint32, len(h.mine)),
		Holders: h.view.Holders}
	if !clean {
		copy(next.Members, h.view.Members)
		copy(next.Recovering, h.view.Recovering)
	}
	err := h.setView(ctx, next)
	return errors.Join(err, h.giveBack(ctx))
}

// giveBack frees the slots that are ours.
func (h *Hold) giveBack(ctx context.Context) error {
	defer h.unlock()
	var errs []error
	for j, s := range h.mine {
		if s == nil {
			continue
		}
		free := freeOf(s)
		free.Name = ""
		if h.old[j] != nil {
			free.Name = h.old[j].Name
		}
		if h.view != nil {
			free.Epoch = h.view.Epoch
		}
		if err := h.write(ctx, free, h.raw[j]); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (h *Hold) unlock() {
	for j, ours := range h.locked {
		if !ours {
			continue
		}
		h.locked[j] = false
		if err := h.cfg.Host.UnlockByte(int64(j)); err != nil {
			h.cfg.Log.Warn("lock of a slot not given back", "slot", j, "err", err)
		}
	}
}
