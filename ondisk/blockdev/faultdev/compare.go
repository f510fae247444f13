package faultdev

import (
	"bytes"
	"context"
	"errors"

	"github.com/covol/covol/ondisk/blockdev"
)

// errInjected marks errors that a rule made.
var errInjected = errors.New("injected fault")

// Injected reports whether err came from a rule, not from the device below.
func Injected(err error) bool { return errors.Is(err, errInjected) }

// compareDevice is a Device over one that can compare and write.
type compareDevice struct {
	*Device
	caw blockdev.CompareAndWriter
}

var _ blockdev.CompareAndWriter = compareDevice{}

// As returns d as a device that is a CompareAndWriter and a Submitter if the one below is.
func (d *Device) As() blockdev.Device {
	caw, swaps := d.inner.(blockdev.CompareAndWriter)
	sub, submits := d.inner.(blockdev.Submitter)
	switch {
	case swaps && submits:
		return struct {
			compareDevice
			submitter
		}{compareDevice{d, caw}, submitter{d, sub}}
	case swaps:
		return compareDevice{d, caw}
	case submits:
		return struct {
			*Device
			submitter
		}{d, submitter{d, sub}}
	}
	return d
}

// CompareAndWrite compares and writes unless a rule strikes.
func (c compareDevice) CompareAndWrite(ctx context.Context, off int64, old, new []byte) (bool, error) {
	n := int64(len(new))
	switch a := c.stay(c.judge(Compare, off, n)); a {
	case "":
		return c.caw.CompareAndWrite(ctx, off, old, new)
	case Corrupt:
		bad := bytes.Clone(new)
		c.spoil(bad, off)
		return c.caw.CompareAndWrite(ctx, off, old, bad)
	case LateError:
		if _, err := c.caw.CompareAndWrite(ctx, off, old, new); err != nil {
			return false, err
		}
		return false, fault(Compare, off, n, blockdev.ErrMedium)
	default:
		return false, fault(Compare, off, n, class(a))
	}
}
