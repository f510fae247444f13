// Package memdev is a disk in memory: Image, sparse content that is copied for free (simdisk, writelog and
// tests fork thousands a second), and Device, the plain blockdev.Device on an Image.
//
// Device trusts itself: every write is stable when done and nothing ever fails. For a disk that behaves as badly
// as disks do, use simdisk.
package memdev

import (
	"bytes"
	"context"
	"fmt"
	"sync"

	"github.com/covol/covol/ondisk/blockdev"
)

// Device is a perfect disk in memory with compare-and-write.
type Device struct {
	geo blockdev.Geometry

	mu sync.RWMutex
	// GUARDED_BY(mu)
	img *Image
}

var (
	_ blockdev.Device           = (*Device)(nil)
	_ blockdev.CompareAndWriter = (*Device)(nil)
)

// New makes a device on img, which belongs to the device from then on; nil means zeros. It panics unless the
// sector size is 512 or 4096 and divides the size: geometries are constants of tests.
func New(geo blockdev.Geometry, img *Image) *Device {
	CheckGeometry(geo)
	if img == nil {
		img = NewImage()
	}
	return &Device{geo: geo, img: img}
}

// CheckGeometry panics unless the sector size is 512 or 4096 and divides a size that is not negative.
func CheckGeometry(geo blockdev.Geometry) {
	if (geo.SectorSize != 512 && geo.SectorSize != 4096) || geo.Size < 0 || geo.Size%int64(geo.SectorSize) != 0 {
		panic(fmt.Sprintf("memdev: no such geometry: %+v", geo))
	}
}

// Geometry returns what New was given.
func (d *Device) Geometry() blockdev.Geometry { return d.geo }

// Image returns a copy of the content.
func (d *Device) Image() *Image {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.img.Fork()
}

// Clone returns an independent device with the same content.
func (d *Device) Clone() *Device { return &Device{geo: d.geo, img: d.Image()} }

// Hash identifies the content, see Image.Hash.
func (d *Device) Hash() uint64 {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.img.Hash()
}

func (d *Device) check(ctx context.Context, op string, off, length int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := blockdev.CheckRange(d.geo, off, length); err != nil {
		return fmt.Errorf("%s %d bytes at %d: %w", op, length, off, err)
	}
	return nil
}

// ReadAt copies from the image.
func (d *Device) ReadAt(ctx context.Context, p []byte, off int64) error {
	if err := d.check(ctx, "read", off, int64(len(p))); err != nil {
		return err
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	d.img.Read(p, off)
	return nil
}

// WriteAt copies into the image; fua makes no difference.
func (d *Device) WriteAt(ctx context.Context, p []byte, off int64, _ bool) error {
	if err := d.check(ctx, "write", off, int64(len(p))); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.img.Write(p, off)
	return nil
}

// Flush has nothing to do.
func (d *Device) Flush(ctx context.Context) error { return ctx.Err() }

// Discard makes the range read as zeros.
func (d *Device) Discard(ctx context.Context, off, length int64) error {
	if err := d.check(ctx, "discard", off, length); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.img.Zero(off, length)
	return nil
}

// CompareAndWrite is atomic against every other call.
func (d *Device) CompareAndWrite(ctx context.Context, off int64, old, new []byte) (bool, error) {
	if err := d.check(ctx, "compare and write", off, int64(len(old))); err != nil {
		return false, err
	}
	if err := blockdev.CheckCompare(d.geo, off, old, new); err != nil {
		return false, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	cur := make([]byte, len(old))
	d.img.Read(cur, off)
	if !bytes.Equal(cur, old) {
		return false, nil
	}
	d.img.Write(new, off)
	return true, nil
}

// Close does nothing: the content can still be had by Image.
func (d *Device) Close() error { return nil }
