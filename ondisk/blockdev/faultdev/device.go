package faultdev

import (
	"bytes"
	"context"
	"sync"
	"time"

	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/sched"
)

// Device is a device with faults. As makes it a blockdev.CompareAndWriter and a blockdev.Submitter too, where the device
// below is one.
type Device struct {
	inner blockdev.Device
	sched sched.Scheduler

	mu sync.Mutex
	// GUARDED_BY(mu)
	rules []*armed
	// GUARDED_BY(mu)
	counts map[Op]int64
	// GUARDED_BY(mu)
	strikes int64
	// GUARDED_BY(mu)
	waiting int
	// GUARDED_BY(mu): set when the rules are replaced
	lifted sched.Event
}

// strike is what a rule does to one operation.
type strike struct {
	action Action // "": none
	time   time.Duration
	lifted sched.Event
}

// armed is a rule and what it has seen.
type armed struct {
	Rule
	matched int64
	struck  bool
}

var _ blockdev.Device = (*Device)(nil)

// New puts rules before dev. Rules that take time use the real clock.
func New(dev blockdev.Device, rules Rules) *Device { return NewSched(dev, rules, sched.Real{}) }

// NewSched is New with the time and the procedures of s.
func NewSched(dev blockdev.Device, rules Rules, s sched.Scheduler) *Device {
	d := &Device{inner: dev, sched: s, counts: map[Op]int64{}, lifted: s.NewEvent()}
	d.Set(rules)
	return d
}

// Set replaces the rules; the new ones count from now on. Count and Strikes go on. What hangs fails now, and what is held
// goes on now; the new rules do not look at it.
func (d *Device) Set(rules Rules) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lifted.Set()
	d.lifted = d.sched.NewEvent()
	d.rules = nil
	for _, r := range rules {
		d.rules = append(d.rules, &armed{Rule: r})
	}
}

// Count is how many operations of a kind there were; Any is all.
func (d *Device) Count(op Op) int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.counts[op]
}

// Strikes is how many operations a rule struck. A test that fails operation 1, 2, 3, ... is done when a run ends
// with none.
func (d *Device) Strikes() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.strikes
}

// Waiting is how many operations hang, are held or delayed now.
func (d *Device) Waiting() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.waiting
}

// judge counts an operation and returns what the first rule that strikes it does.
func (d *Device) judge(op Op, off, length int64) strike {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.counts[op]++
	d.counts[Any]++
	var s strike
	for _, r := range d.rules {
		if r.strikes(op, off, length) && s.action == "" {
			s = strike{r.Action, r.For, d.lifted}
		}
	}
	if s.action != "" {
		d.strikes++
	}
	return s
}

// stay lets the time of a strike pass, and returns what is to be done then. It does not listen to a context: nobody calls
// back what is on its way to a disk.
func (d *Device) stay(s strike) Action {
	switch s.action {
	case Hang, Hold, Delay:
	default:
		return s.action
	}
	d.count(1)
	defer d.count(-1)
	if s.action == Delay {
		_ = d.sched.Sleep(context.Background(), s.time)
		return ""
	}
	_ = s.lifted.Wait(context.Background())
	if s.action == Hold {
		return ""
	}
	return Error
}

func (d *Device) count(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.waiting += n
}

func (r *armed) strikes(op Op, off, length int64) bool {
	if r.Op != Any && r.Op != op {
		return false
	}
	if r.Sticky && r.struck {
		return true
	}
	if r.To != 0 && (op == Flush || off >= r.To || off+length <= r.From) {
		return false
	}
	r.matched++
	if (r.Nth != 0 && r.matched != r.Nth) || (r.HasAfter && r.matched <= r.After) || (r.Once && r.struck) {
		return false
	}
	r.struck = true
	return true
}

func fault(op Op, off, n int64, class error) error {
	return &blockdev.OpError{Op: string(op), Off: off, Len: n, Class: class, Err: errInjected}
}

// Geometry is the inner device's.
func (d *Device) Geometry() blockdev.Geometry { return d.inner.Geometry() }

// Close closes the inner device.
func (d *Device) Close() error { return d.inner.Close() }

// ReadAt reads unless a rule strikes.
func (d *Device) ReadAt(ctx context.Context, p []byte, off int64) error {
	return d.read(ctx, p, off, d.judge(Read, off, int64(len(p))))
}

func (d *Device) read(ctx context.Context, p []byte, off int64, s strike) error {
	switch a := d.stay(s); a {
	case "":
		return d.inner.ReadAt(ctx, p, off)
	case Corrupt:
		if err := d.inner.ReadAt(ctx, p, off); err != nil {
			return err
		}
		d.spoil(p, off)
		return nil
	case Lost:
		clear(p)
		return nil
	case LateError:
		_ = d.inner.ReadAt(ctx, p, off) // the caller gets an error either way
		return fault(Read, off, int64(len(p)), blockdev.ErrMedium)
	default:
		return fault(Read, off, int64(len(p)), class(a))
	}
}

// WriteAt writes unless a rule strikes.
func (d *Device) WriteAt(ctx context.Context, p []byte, off int64, fua bool) error {
	return d.write(ctx, p, off, fua, d.judge(Write, off, int64(len(p))))
}

func (d *Device) write(ctx context.Context, p []byte, off int64, fua bool, s strike) error {
	n := int64(len(p))
	switch a := d.stay(s); a {
	case "":
		return d.inner.WriteAt(ctx, p, off, fua)
	case Corrupt:
		bad := bytes.Clone(p)
		d.spoil(bad, off)
		return d.inner.WriteAt(ctx, bad, off, fua)
	case Lost:
		return nil
	case Late:
		d.later(bytes.Clone(p), off, fua, s.time)
		return nil
	case LateError:
		if err := d.inner.WriteAt(ctx, p, off, fua); err != nil {
			return err
		}
		return fault(Write, off, n, blockdev.ErrMedium)
	case Torn:
		ss := d.Geometry().SectorSize
		if err := d.inner.WriteAt(ctx, p[:len(p)/ss/2*ss], off, fua); err != nil {
			return err
		}
		return fault(Write, off, n, blockdev.ErrMedium)
	default:
		return fault(Write, off, n, class(a))
	}
}

// later writes p once the time has passed. Whoever asked for it believes that it is done.
func (d *Device) later(p []byte, off int64, fua bool, after time.Duration) {
	d.count(1)
	d.sched.AfterFunc(after, func() {
		defer d.count(-1)
		_ = d.inner.WriteAt(context.Background(), p, off, fua)
	})
}

// Flush flushes unless a rule strikes.
func (d *Device) Flush(ctx context.Context) error { return d.flush(ctx, d.judge(Flush, 0, 0)) }

func (d *Device) flush(ctx context.Context, s strike) error {
	return d.plain(Flush, 0, 0, s, func() error { return d.inner.Flush(ctx) })
}

// Discard discards unless a rule strikes.
func (d *Device) Discard(ctx context.Context, off, n int64) error {
	return d.plain(Discard, off, n, d.judge(Discard, off, n), func() error { return d.inner.Discard(ctx, off, n) })
}

// plain is for operations without data.
func (d *Device) plain(op Op, off, n int64, s strike, do func() error) error {
	switch a := d.stay(s); a {
	case "":
		return do()
	case Lost:
		return nil
	case LateError:
		if err := do(); err != nil {
			return err
		}
		return fault(op, off, n, blockdev.ErrMedium)
	default:
		return fault(op, off, n, class(a))
	}
}

func class(a Action) error {
	if a == Fenced {
		return blockdev.ErrFenced
	}
	return blockdev.ErrMedium
}

// spoil changes one byte of every sector; which one depends on the sector's place.
func (d *Device) spoil(p []byte, off int64) {
	ss := d.Geometry().SectorSize
	for at := 0; at < len(p)/ss*ss; at += ss { // a bad length is for the device below to refuse
		place := uint64(off)/uint64(ss) + uint64(at/ss)
		p[at+int(place*2654435761%uint64(ss))] ^= 0x40
	}
}
