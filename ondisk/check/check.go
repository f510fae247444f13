package check

import (
	"context"
	"errors"
	"fmt"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
)

// ErrMemory says that the volume needs more memory to be checked than Options.MemoryLimit.
var ErrMemory = errors.New("memory limit of the check reached")

// DefaultMaxFindings is how many findings a report keeps unless Options says otherwise.
const DefaultMaxFindings = 10000

// Options changes how a volume is checked. The zero value is what fsck wants.
type Options struct {
	// Progress, if not nil, is told now and then how far a phase is; total is 0 where it is not known.
	Progress func(phase string, done, total int64)
	// Deep also reads all data of files, to find what the medium cannot give back. Data has no checksums.
	Deep bool
	// MemoryLimit bounds what the check remembers, in bytes; 0 for no bound.
	MemoryLimit int64
	// NoOverlay judges the device as it is, dirty journals unread.
	NoOverlay bool
	// MaxFindings bounds the report; 0 for DefaultMaxFindings.
	MaxFindings int
}

// Check judges the volume on dev. An error means that it could not: there is no superblock to go by (ErrCorrupt), the
// format is not known (ErrVersion), the device failed in another way than by a block that cannot be read, ctx ended,
// or ErrMemory. Blocks that cannot be read (blockdev.ErrMedium) are findings.
func Check(ctx context.Context, dev blockdev.Device, o Options) (*Report, error) {
	c := newChecker(ctx, dev, o)
	defer c.r.close()
	if err := c.run(); err != nil {
		return nil, err
	}
	return c.rep, nil
}

func newChecker(ctx context.Context, dev blockdev.Device, o Options) *checker {
	if o.MaxFindings == 0 {
		o.MaxFindings = DefaultMaxFindings
	}
	if o.Progress == nil {
		o.Progress = func(string, int64, int64) {}
	}
	return &checker{ctx: ctx, o: o, r: newReader(dev), rep: &Report{}, dirs: map[uint64]*dir{}, links: map[uint64]*link{},
		orphans: map[uint64]orphan{}, fixed: map[uint64]bool{}}
}

// run walks the volume. What was remembered on the way stays in c.
func (c *checker) run() error {
	for _, phase := range []struct {
		name string
		run  func() error
	}{
		{"super", c.checkSuper}, {"journals", c.checkJournals}, {"fixed", c.checkFixed}, {"names", c.checkNames},
		{"system", c.checkSystem}, {"groups", c.checkGroups}, {"counters", c.checkCounters},
	} {
		c.phase = phase.name
		c.o.Progress(phase.name, 0, 0)
		if err := phase.run(); err != nil {
			return fmt.Errorf("check %s: %w", phase.name, err)
		}
	}
	if c.rep.Dropped > 0 {
		c.rep.Findings = append(c.rep.Findings, Finding{Code: TooMany, Severity: Warning, Text: fmt.Sprintf("%d more findings", c.rep.Dropped), Fix: kinds[TooMany].Fix})
	}
	return nil
}

// checker is the state of one run.
type checker struct {
	ctx   context.Context
	o     Options
	phase string
	r     *reader
	sb    *ondisk.Super
	rep   *Report
	mem   int64 // bytes remembered, about

	ready uint32 // formatted groups
	own   *owned
	// fixed holds the records at fixed places that were visited; those in groups are in own.
	fixed map[uint64]bool
	dirs  map[uint64]*dir
	links map[uint64]*link
	queue []uint64 // directories to walk

	orphans   map[uint64]orphan
	conflicts []conflict

	spaces       int64 // sum of Space.Clusters
	inodes       int64 // sum of Space.Inodes
	spacesBroken bool
	freeBits     uint64 // clear bits of all cluster bitmaps
	bitsBroken   bool
	found        int64 // inodes that exist, root and system records not counted

	logs     []*log // of dirty journals
	maxLSN   uint64
	maxEpoch uint64
	// rescue is set for a repair: what Check need not know is remembered too.
	rescue *rescue
}

// add puts a finding into the report. f needs Code, Where and Text.
func (c *checker) add(f Finding) {
	k := kinds[f.Code]
	f.Severity, f.Fix = k.Severity, k.Fix
	if len(c.rep.Findings) >= c.o.MaxFindings {
		c.rep.Dropped++
		return
	}
	c.rep.Findings = append(c.rep.Findings, f)
}

// tell is add for findings without a range.
func (c *checker) tell(code Code, w Where, format string, args ...any) {
	c.add(Finding{Code: code, Where: w, Text: fmt.Sprintf(format, args...)})
}

// grow counts n bytes more that are remembered.
func (c *checker) grow(n int64) error {
	c.mem += n
	if c.o.MemoryLimit > 0 && c.mem > c.o.MemoryLimit {
		return fmt.Errorf("more than %d bytes: %w", c.o.MemoryLimit, ErrMemory)
	}
	return nil
}

// isFinding reports whether err is a fault of the volume, not of the run.
func isFinding(err error) bool {
	return errors.Is(err, ondisk.ErrCorrupt) || errors.Is(err, blockdev.ErrMedium)
}

// load reads a metadata block and checks its header.
func (c *checker) load(t ondisk.Type, blk uint64) ([]byte, error) {
	b, err := c.r.block(c.ctx, blk)
	if err != nil {
		return nil, err
	}
	if err := ondisk.CheckHeader(b, t, blk, c.sb.UUID); err != nil {
		return b, err
	}
	h := ondisk.GetHeader(b)
	c.maxLSN, c.maxEpoch = max(c.maxLSN, h.LSN), max(c.maxEpoch, h.Epoch)
	return b, nil
}

// reason is err for people, without the place that Where gives.
func reason(err error) string {
	var bad *ondisk.Corrupt
	if !errors.As(err, &bad) {
		return err.Error()
	}
	if bad.Want == nil {
		return fmt.Sprintf("%s: bad %s: %v", bad.Struct, bad.Field, bad.Got)
	}
	return fmt.Sprintf("%s: %s is %v, want %v", bad.Struct, bad.Field, bad.Got, bad.Want)
}

func atSlot(slot uint16, blk uint64) Where {
	s := view.Slot(slot)
	return Where{Block: blk, Slot: &s}
}

func atGroup(g uint32, blk uint64) Where { return Where{Block: blk, Group: &g} }

func plural(n uint64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
