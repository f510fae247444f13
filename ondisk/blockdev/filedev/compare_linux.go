package filedev

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/covol/covol/ondisk/blockdev"
)

// CompareAndWrite is atomic against every CompareAndWrite of every process OF THIS HOST, and of nothing else: it
// is an agreement between processes that lock the range first, not a command of the disk. WriteAt does not
// take part. On a block device it fails with errors.ErrUnsupported unless Options.OneHost was set.
func (d *Device) CompareAndWrite(ctx context.Context, off int64, old, new []byte) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if err := blockdev.CheckCompare(d.geo, off, old, new); err != nil {
		return false, err
	}
	if d.block && !d.opts.OneHost {
		return false, fmt.Errorf("compare and write on %s, which other hosts may share: %w", d.path, errors.ErrUnsupported)
	}
	d.caw.Lock()
	defer d.caw.Unlock()
	n := int64(len(old))
	if err := setLock(d.lockFD, unix.F_WRLCK, off, n, true); err != nil {
		return false, opError("lock for compare and write", off, n, err)
	}
	swapped, err := d.compareLocked(ctx, off, old, new)
	if uerr := setLock(d.lockFD, unix.F_UNLCK, off, n, false); uerr != nil {
		err = errors.Join(err, opError("unlock after compare and write", off, n, uerr))
	}
	return swapped, err
}

func (d *Device) compareLocked(ctx context.Context, off int64, old, new []byte) (bool, error) {
	buf := blockdev.Alloc(len(old))
	if err := d.ReadAt(ctx, buf, off); err != nil {
		return false, fmt.Errorf("compare: %w", err)
	}
	if !bytes.Equal(buf, old) {
		return false, nil
	}
	copy(buf, new)
	if err := d.WriteAt(context.WithoutCancel(ctx), buf, off, true); err != nil {
		return false, fmt.Errorf("swap: %w", err)
	}
	return true, nil
}
