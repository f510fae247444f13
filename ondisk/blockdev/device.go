// Package blockdev is how covol sees a shared disk: one host's path to it.
//
// Every implementation promises the same and no more (FORMAT.md, "What the disk is trusted for"):
//   - Offsets and lengths are bytes and must be multiples of Geometry.SectorSize; anything else is ErrRange.
//   - A ReadAt or WriteAt is done when it returns nil. A finished write is visible to every reader of the medium,
//     but stable against power loss only after a later Flush, or when it was written with fua.
//   - One sector is written whole or not at all. A longer write may tear between sectors, in any order.
//   - Writes that overlap in time may land in either order.
//   - After an error from WriteAt or Flush the caller must not guess: what was written may be there, or not.
//
// Buffers passed to ReadAt and WriteAt should come from Alloc: O_DIRECT needs page alignment, and
// implementations copy through a buffer of their own when it is missing.
package blockdev

import (
	"context"
	"errors"
)

// Geometry is the shape of a device.
type Geometry struct {
	SectorSize int   // bytes, 512 or 4096; the unit that is written whole
	Size       int64 // bytes, a multiple of SectorSize
}

// Device is one host's path to a disk. All methods may be called concurrently.
type Device interface {
	Geometry() Geometry
	// ReadAt fills p from off.
	ReadAt(ctx context.Context, p []byte, off int64) error
	// WriteAt writes p at off; with fua it is stable when done, though writes before it need not be.
	WriteAt(ctx context.Context, p []byte, off int64, fua bool) error
	// Flush makes every write that was done before the call stable.
	Flush(ctx context.Context) error
	// Discard says that the range's content is not needed any more. Reads of it afterwards return anything
	// that was there before, or zeros. Devices that cannot discard return nil and do nothing.
	Discard(ctx context.Context, off, length int64) error
	// Close gives the device back. No other call may be running or follow.
	Close() error
}

// CompareAndWriter is implemented by devices with an atomic compare-and-swap visible to every host
// (SBC-4 5.3 COMPARE AND WRITE, or a lock of the host where all nodes share one host).
type CompareAndWriter interface {
	// CompareAndWrite replaces old by new at off if the medium holds old, stable when done. old and new have the
	// same length, at most 4096 bytes. After an error the outcome is unknown: re-read before trying again.
	CompareAndWrite(ctx context.Context, off int64, old, new []byte) (swapped bool, err error)
}

// Fencer is implemented by devices that can shut out another node at the storage (SPC-4 5.9 persistent
// reservations).
type Fencer interface {
	// Fence returns nil once no earlier or later write of the victim's registration can land.
	Fence(ctx context.Context, victim uint64) error
}

// Error classes; test with errors.Is.
var (
	ErrFenced = errors.New("write refused: this node is fenced off the device")
	ErrMedium = errors.New("medium error")
	ErrRange  = errors.New("offset or length out of range or not aligned to the sector")
)

// CheckRange returns ErrRange unless [off, off+length) lies inside the device on sector boundaries.
func CheckRange(g Geometry, off, length int64) error {
	ss := int64(g.SectorSize)
	if off < 0 || length < 0 || off%ss != 0 || length%ss != 0 || off > g.Size || length > g.Size-off {
		return ErrRange
	}
	return nil
}
