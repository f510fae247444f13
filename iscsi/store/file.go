package store

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/blockdev/filedev"
)

// serverByte is the byte of filedev's host locks that keeps two servers off one store; nodes use low ones.
const serverByte = 1<<32 - 1

// File is a file or block device. Beside blockdev.Device it has Zero and Mapped, which package scsi looks for.
type File struct {
	*filedev.Device
	fd int // for space: data goes through the Device
}

// Open opens a store. With a size, in bytes, a file that is not there is made, sparse, of that size; one that is there must
// have it. ErrInUse means that another server has it.
func Open(path string, size int64) (*File, error) {
	if err := create(path, size); err != nil {
		return nil, fmt.Errorf("make %s: %w", path, err)
	}
	dev, err := filedev.Open(path, filedev.Options{Exclusive: true})
	if err != nil {
		return nil, err
	}
	f := &File{Device: dev, fd: -1}
	if err := f.open(size); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), f.Close())
	}
	return f, nil
}

// ErrInUse says that another process serves the store.
var ErrInUse = errors.New("another target serves it")

func (f *File) open(size int64) error {
	if size > 0 && f.RawSize() != size {
		return fmt.Errorf("it has %d bytes, not %d", f.RawSize(), size)
	}
	if err := f.LockByte(serverByte, false); err != nil {
		return fmt.Errorf("%w: %w", ErrInUse, err)
	}
	var err error
	f.fd, err = unix.Open(f.Path(), unix.O_RDWR|unix.O_CLOEXEC, 0)
	return err
}

func create(path string, size int64) error {
	if size <= 0 {
		return nil
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil
	} else if err != nil {
		return err
	}
	return errors.Join(file.Truncate(size), file.Close())
}

// Zero makes the range read as zeros and gives its space back where the system can.
func (f *File) Zero(ctx context.Context, off, length int64) error {
	if err := blockdev.CheckRange(f.Geometry(), off, length); err != nil || length == 0 {
		return err
	}
	for _, mode := range []uint32{unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE, unix.FALLOC_FL_ZERO_RANGE | unix.FALLOC_FL_KEEP_SIZE} {
		err := ignoringEINTR(func() error { return unix.Fallocate(f.fd, mode, off, length) })
		if err == nil || !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EINVAL) {
			return err
		}
	}
	return f.writeZeros(ctx, off, length)
}

func (f *File) writeZeros(ctx context.Context, off, length int64) error {
	zeros := blockdev.Alloc(int(min(length, 1<<20)))
	for length > 0 {
		n := min(length, int64(len(zeros)))
		if err := f.WriteAt(ctx, zeros[:n], off, false); err != nil {
			return err
		}
		off, length = off+n, length-n
	}
	return nil
}

func ignoringEINTR(fn func() error) error {
	for {
		if err := fn(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// Mapped says whether the byte at off has space of its own, and how far that goes. A block device has it everywhere.
func (f *File) Mapped(_ context.Context, off int64) (bool, int64, error) {
	size := f.Geometry().Size
	if f.IsBlock() {
		return true, size - off, nil
	}
	data, err := f.seek(off, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO):
		return false, size - off, nil // a hole up to the end
	case err != nil:
		return false, 0, err
	case data > off:
		return false, min(data, size) - off, nil
	}
	hole, err := f.seek(off, unix.SEEK_HOLE)
	if err != nil {
		return false, 0, err
	}
	return true, min(hole, size) - off, nil
}

func (f *File) seek(off int64, whence int) (at int64, err error) {
	err = ignoringEINTR(func() error {
		at, err = unix.Seek(f.fd, off, whence)
		return err
	})
	if errors.Is(err, unix.EINVAL) { // the filesystem cannot tell
		return map[int]int64{unix.SEEK_DATA: off, unix.SEEK_HOLE: f.Geometry().Size}[whence], nil
	}
	return at, err
}

// Close gives the store free for another server.
func (f *File) Close() error {
	var err error
	if f.fd >= 0 {
		err = unix.Close(f.fd)
	}
	return errors.Join(err, f.Device.Close())
}
