package scsi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"

	"github.com/covol/covol/ondisk/blockdev"
)

// Zeroer is implemented by devices whose ranges can be made to read as zeros while their space is given back. A unit is
// thinly provisioned where its device is one.
type Zeroer interface {
	// Zero returns nil once [off, off+length) reads as zeros. Off and length are bytes, multiples of the sector.
	Zero(ctx context.Context, off, length int64) error
}

// Mapper is implemented by devices that know where they have space.
type Mapper interface {
	// Mapped says whether the byte at off has space of its own, and for how many bytes from there that is so.
	Mapped(ctx context.Context, off int64) (mapped bool, length int64, err error)
}

// Options describe a unit. The zero value is a unit that forgets its registrations.
type Options struct {
	Serial   string // unit serial number, unique; at most 32 characters
	Vendor   string // 8 characters; empty is COVOL
	Product  string // 16 characters
	Revision string // 4 characters
	// ID is the NAA identifier's low 60 bits; hosts tell units apart by it.
	ID uint64
	// MaxTransfer is the most bytes of one command; 0 is 4 MiB.
	MaxTransfer int
	ReadOnly    bool
	Keeper      Keeper // for APTPL; nil means that it is not offered
	Log         *slog.Logger
}

// Unit is a logical unit. Its methods may be called concurrently.
type Unit struct {
	dev    blockdev.Device
	geo    blockdev.Geometry
	zeroer Zeroer
	mapper Mapper
	opts   Options
	ranges rangeLock
	attn   attentions
	server *Server // set by NewServer

	gate sync.RWMutex // see the invariants of the package
	// GUARDED_BY(gate)
	pr reservations
	// GUARDED_BY(gate)
	old *Nexus // who holds the unit by RESERVE of SPC-2
	// GUARDED_BY(gate)
	protected bool // SWP of the control mode page
}

// NewUnit makes a unit on dev and takes over what its Keeper has.
func NewUnit(dev blockdev.Device, o Options) (*Unit, error) {
	if o.MaxTransfer == 0 {
		o.MaxTransfer = 4 << 20
	}
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	u := &Unit{dev: dev, geo: dev.Geometry(), opts: o}
	if o.MaxTransfer%u.geo.SectorSize != 0 || u.geo.Size < int64(u.geo.SectorSize) {
		return nil, fmt.Errorf("transfers of %d bytes on a device of %d bytes with sectors of %d", o.MaxTransfer, u.geo.Size, u.geo.SectorSize)
	}
	u.zeroer, _ = dev.(Zeroer)
	u.mapper, _ = dev.(Mapper)
	u.ranges.init()
	u.attn.init()
	if o.Keeper != nil {
		pr, err := loadReservations(o.Keeper)
		if err != nil {
			return nil, fmt.Errorf("load reservations: %w", err)
		}
		u.pr = pr
	}
	return u, nil
}

// Geometry is the shape of the unit.
func (u *Unit) Geometry() blockdev.Geometry { return u.geo }

func (u *Unit) blocks() uint64 { return uint64(u.geo.Size) / uint64(u.geo.SectorSize) }

// DataOut is how many bytes of data a CDB takes from its initiator, as far as can be told without running it. A transfer
// that is too long counts as none: Execute will refuse it.
func (u *Unit) DataOut(cdb []byte) int {
	r, cdb, err := find(cdb)
	if err != nil || r.out == nil {
		return 0
	}
	n := r.out(u, cdb)
	if n > uint64(2*u.opts.MaxTransfer) {
		return 0
	}
	return int(n)
}

// Execute runs a command and returns when it is done. With an ended ctx a command that has not begun fails; one that has
// is finished.
func (u *Unit) Execute(ctx context.Context, c *Command) Result {
	r, cdb, err := find(c.CDB)
	if err != nil {
		if code, pending := u.attn.take(c.Nexus); pending {
			return fail(&Sense{Key: UnitAttention, Code: code})
		}
		return fail(err)
	}
	own := *c
	own.CDB = cdb
	in, err := u.run(ctx, &request{&own, u, r})
	if err != nil {
		u.tell(r, c.Nexus, err)
		return fail(err)
	}
	return Result{Status: Good, In: in[:min(len(in), r.allocation(cdb))]}
}

func (u *Unit) run(ctx context.Context, r *request) ([]byte, error) {
	if r.row.alone {
		u.gate.Lock()
		defer u.gate.Unlock()
	} else {
		u.gate.RLock()
		defer u.gate.RUnlock()
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !r.row.early {
		if code, pending := u.attn.take(r.Nexus); pending {
			return nil, &Sense{Key: UnitAttention, Code: code}
		}
	}
	if err := u.conflict(r); err != nil {
		return nil, err
	}
	if err := r.row.checkBits(r.CDB); err != nil {
		return nil, err
	}
	if r.row.writes && (u.opts.ReadOnly || u.protected) {
		return nil, &Sense{Key: DataProtect, Code: WriteProtected}
	}
	return r.row.run(ctx, r)
}

// tell logs what is worth an operator's attention: errors of the device behind.
func (u *Unit) tell(r *row, n Nexus, err error) {
	var s *Sense
	if errors.As(err, &s) && s.Key != HardwareError && s.Key != MediumError || errors.Is(err, errConflict) || errors.Is(err, errConditionMet) {
		return
	}
	u.opts.Log.Error("command failed", "command", r.name, "initiator", n.Initiator, "error", err)
}

// Attach says that a nexus has come: its first command meets a unit attention, POWER ON when it is new, I_T NEXUS LOSS
// when an earlier session of it was lost.
func (u *Unit) Attach(n Nexus, lost bool) {
	code := PowerOnReset
	if lost {
		code = NexusLoss
	}
	u.attn.attach(n, code)
}

// Detach says that a nexus is gone. What it reserved by RESERVE is released (SPC-2 5.5.1); registrations stay.
func (u *Unit) Detach(n Nexus) {
	u.gate.Lock()
	defer u.gate.Unlock()
	if u.old != nil && *u.old == n {
		u.old = nil
	}
	u.attn.detach(n)
}

// Reset is LOGICAL UNIT RESET (SAM-5 6.3.3): it returns when no command is running. The transport must have seen to it
// that the commands which wait do not start.
func (u *Unit) Reset() {
	u.gate.Lock()
	defer u.gate.Unlock()
	u.old = nil
	u.attn.raiseAll(BusDeviceReset)
}

// Drain returns when every command that was running has ended.
func (u *Unit) Drain() {
	u.gate.Lock()
	//lint:ignore SA2001 nothing is to be done but to wait
	u.gate.Unlock()
}
