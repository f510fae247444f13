package check

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
)

// DefaultIndexMemory is how many bytes of index a repair keeps in memory unless RepairOptions says otherwise.
const DefaultIndexMemory = 256 << 20

// RepairOptions changes how a volume is repaired.
type RepairOptions struct {
	// Progress is as in Options. The phases come again with every round.
	Progress func(phase string, done, total int64)
	// Deep also reads all data of files, and writes zeros where the medium does not give it back.
	Deep bool
	// IndexMemory bounds what the index of owners and the plan take in memory, in bytes; beyond it they move to what
	// OpenIndex opens. 0 is DefaultIndexMemory. Without OpenIndex there is no bound.
	IndexMemory int64
	OpenIndex   func() (Store, error)
	// Held are blocks that the caller has written to keep others away, view and slots, with what they held before. They
	// are judged as they were and are not written: it is for the caller to leave them right.
	Held map[uint64][]byte
	// MaxFindings bounds the findings of one round; 0 for DefaultMaxFindings.
	MaxFindings int
}

// Repaired is one finding and what was done about it.
type Repaired struct {
	Finding
	Done string `json:"done"`
	// Round counts from 0: what is found in later rounds was hidden by earlier faults, or follows from their repair.
	Round int `json:"round"`
}

// RepairReport is the outcome of a repair.
type RepairReport struct {
	// Repaired are all findings that were acted on, in the order in which that was done. One fault may show itself by
	// several findings one after the other.
	Repaired []Repaired `json:"repaired"`
	Replayed []Replayed `json:"replayed"`
	// Blocks is how many blocks were written, journals and their heads not counted.
	Blocks int `json:"blocks_written"`
	Rounds int `json:"rounds"`
	// Stuck says why errors are left, "" if none are.
	Stuck string `json:"stuck,omitempty"`
	// Left is what a check of the volume said when all was done.
	Left *Report `json:"-"`
}

// Changed reports whether anything was written.
func (r *RepairReport) Changed() bool { return r.Blocks > 0 || len(r.Replayed) > 0 }

// repairer is the state of one repair.
type repairer struct {
	ctx context.Context
	dev blockdev.Device // as it is, with what the caller holds as it was
	raw blockdev.Device // to be written
	// held is what the caller holds, with what was planned for it.
	held map[uint64][]byte
	o    RepairOptions
	rep  *RepairReport

	unit     int // most blocks of one inode that may have to be written at once
	torn     map[uint64]bool
	ours     bitmapOf // blocks that the plan itself has taken or given up
	grouped  map[uint32]bool
	maxLSN   uint64
	maxEpoch uint64
	dids     []Repaired // of the round in hand
}

// Repair makes the volume on dev consistent. Nobody else may use the volume meanwhile.
//
// Journals are replayed first. Then rounds of check and plan go on over a draft of the volume in memory until a check of
// the draft finds nothing, and only then is the plan written: through a journal of the volume itself, so that it is there
// as a whole or not at all however it is interrupted (apply.go). Whatever the damage, Repair ends.
//
// An error means that the repair could not run; see Check for its classes, and ErrNoRoom. Nothing but replayed journals
// has been written then, unless the device failed while the plan was being written. If faults are left that Repair does not know how
// to mend, RepairReport.Left has them and Stuck says why; what could be repaired has been.
func Repair(ctx context.Context, dev blockdev.Device, o RepairOptions) (*RepairReport, error) {
	if o.IndexMemory == 0 {
		o.IndexMemory = DefaultIndexMemory
	}
	r := &repairer{ctx: ctx, dev: dev, raw: dev, o: o, rep: &RepairReport{Repaired: []Repaired{}, Replayed: []Replayed{}}, torn: map[uint64]bool{}, ours: bitmapOf{}}
	if len(o.Held) > 0 {
		r.held = maps.Clone(o.Held)
		r.dev = &heldDevice{dev, r.held}
	}
	if err := r.replay(); err != nil {
		return nil, fmt.Errorf("replay journals: %w", err)
	}
	if err := r.mend(); err != nil {
		return r.rep, err
	}
	var err error
	r.rep.Left, err = Check(ctx, r.dev, Options{Progress: o.Progress, Deep: o.Deep, MaxFindings: o.MaxFindings})
	if err != nil {
		return r.rep, err
	}
	if !r.rep.Left.Clean() && r.rep.Stuck == "" {
		r.rep.Stuck = "what was written does not read back as planned"
	}
	return r.rep, nil
}

// mend plans and writes.
func (r *repairer) mend() error {
	images := newSpill(r.o.IndexMemory/2, r.o.OpenIndex)
	defer images.Close()
	d := newDraft(r.dev, images)
	sb, err := r.plan(d)
	if err != nil {
		return err
	}
	if len(d.have) == 0 {
		return nil
	}
	if err := images.Verify(); err != nil {
		return fmt.Errorf("the plan is not whole any more, nothing was written: %w", err)
	}
	return r.apply(d, sb)
}

// maxRounds bounds the planning. Each stage needs a round, and some a second; more are needed only where there are more
// findings than one report holds.
const maxRounds = 40

// plan goes on until the draft is clean, or nothing more can be done.
func (r *repairer) plan(d *draft) (*ondisk.Super, error) {
	for ; ; r.rep.Rounds++ {
		c, changed, err := r.round(d)
		switch {
		case errors.Is(err, ErrNoRoom):
			r.rep.Stuck = err.Error()
			return c.sb, nil
		case err != nil:
			return nil, err
		case c.rep.Clean():
			return c.sb, nil
		case changed == 0:
			r.rep.Stuck = "no repair is known for what is left"
			return c.sb, nil
		case r.rep.Rounds >= maxRounds && c.rep.Dropped == 0, r.rep.Rounds >= 100*maxRounds:
			r.rep.Stuck = fmt.Sprintf("after %d rounds each repair still uncovers another fault", r.rep.Rounds)
			return c.sb, nil
		}
	}
}

// round checks the draft once and plans for what it finds.
func (r *repairer) round(d *draft) (*checker, int, error) {
	index := newSpill(r.o.IndexMemory/2, r.o.OpenIndex)
	defer index.Close()
	c := newChecker(r.ctx, d, Options{Progress: r.o.Progress, Deep: r.o.Deep && r.rep.Rounds == 0, NoOverlay: true, MaxFindings: r.o.MaxFindings})
	defer c.r.close()
	c.rescue = &rescue{claims: &claims{index}, strays: map[uint64][]stray{}, torn: r.torn, wanted: map[uint64]bool{}}
	if err := c.run(); err != nil {
		return c, 0, err
	}
	if err := index.Verify(); err != nil {
		return c, 0, fmt.Errorf("index of owners: %w", err)
	}
	r.maxLSN, r.maxEpoch = max(r.maxLSN, c.maxLSN), max(r.maxEpoch, c.maxEpoch)
	c.maxLSN, c.maxEpoch = r.maxLSN, r.maxEpoch
	if c.rep.Clean() {
		return c, 0, nil
	}
	r.unit = int(c.sb.JournalBlocks) / 4
	r.grouped, r.dids = map[uint32]bool{}, nil
	p := &planner{r: r, c: c, d: d, edits: map[uint64]*edit{}, broken: map[uint64]bool{}, adopted: map[uint64]uint64{}, moved: map[uint64]uint64{}, revived: map[uint64]bool{}}
	p.room = newRoom(p)
	err := p.fix()
	r.maxLSN, r.maxEpoch = max(r.maxLSN, c.maxLSN), max(r.maxEpoch, c.maxEpoch)
	if err == nil {
		r.rep.Repaired = append(r.rep.Repaired, r.dids...)
	}
	return c, p.changed, err
}

// did records what is done about a finding.
func (r *repairer) did(f *Finding, done string) {
	r.dids = append(r.dids, Repaired{*f, done, r.rep.Rounds})
}

// mayHaveTorn remembers that a directory may have lost names: a file that keeps one there may get it back.
func (r *repairer) mayHaveTorn(in *ondisk.Inode) {
	if isDir(in) {
		r.torn[in.Ino] = true
	}
}

// heldDevice shows blocks as they were before the caller took them.
type heldDevice struct {
	blockdev.Device
	held map[uint64][]byte
}

func (d *heldDevice) ReadAt(ctx context.Context, p []byte, off int64) error {
	if err := d.Device.ReadAt(ctx, p, off); err != nil {
		return err
	}
	for i := 0; i+ondisk.BlockSize <= len(p) && off%ondisk.BlockSize == 0; i += ondisk.BlockSize {
		if b := d.held[uint64(off+int64(i))/ondisk.BlockSize]; b != nil {
			copy(p[i:], b)
		}
	}
	return nil
}
