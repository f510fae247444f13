package filedev

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/covol/covol/ondisk/blockdev"
)

// errShrunk is the cause when the kernel transfers nothing inside the device's size.
var errShrunk = errors.New("end of device before the size it had when it was opened")

// classify finds the error class of an errno of block I/O (block/blk-core.c, blk_errors), nil if it has none.
func classify(err error) error {
	switch {
	case errors.Is(err, unix.EBADE): // BLK_STS_RESV_CONFLICT
		return blockdev.ErrFenced
	case errors.Is(err, errShrunk):
		return blockdev.ErrMedium
	}
	var no unix.Errno
	if !errors.As(err, &no) {
		return nil
	}
	switch no {
	case unix.EIO, unix.ENODATA, unix.EILSEQ, unix.EREMOTEIO, unix.ENOLINK, unix.ETIMEDOUT, unix.ENXIO, unix.ENODEV,
		unix.ENOSPC, unix.EDQUOT, unix.EUCLEAN, unix.EOVERFLOW, unix.ENOMEDIUM, unix.ESTALE:
		return blockdev.ErrMedium
	}
	return nil
}

func opError(op string, off, length int64, err error) error {
	return &blockdev.OpError{Op: op, Off: off, Len: length, Class: classify(err), Err: err}
}

func (d *Device) check(op string, off, length int64) error {
	if err := blockdev.CheckRange(d.geo, off, length); err != nil {
		return &blockdev.OpError{Op: op, Off: off, Len: length, Class: err}
	}
	return nil
}
