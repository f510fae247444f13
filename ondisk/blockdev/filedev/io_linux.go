package filedev

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"
)

// maxTransfer is the longest single transfer in bytes; the kernel cuts at 2 GiB - 4 KiB and reports it as short.
const maxTransfer = 1 << 30

// ReadAt fills p from off.
func (d *Device) ReadAt(ctx context.Context, p []byte, off int64) error {
	if err := d.begin(ctx, "read", off, int64(len(p))); err != nil {
		return err
	}
	err := d.pieces(p, off, func(q []byte, at int64, bounced []byte) error {
		if bounced == nil {
			return d.transfer(q, at, d.pread)
		}
		err := d.transfer(bounced, at, d.pread)
		copy(q, bounced)
		return err
	})
	if err != nil {
		return opError("read", off, int64(len(p)), err)
	}
	return nil
}

// WriteAt writes p at off; with fua by RWF_DSYNC.
func (d *Device) WriteAt(ctx context.Context, p []byte, off int64, fua bool) error {
	if err := d.begin(ctx, "write", off, int64(len(p))); err != nil {
		return err
	}
	if fua {
		if err := d.syncFailed(); err != nil {
			return opError("write", off, int64(len(p)), err)
		}
	}
	err := d.pieces(p, off, func(q []byte, at int64, bounced []byte) error {
		if bounced != nil {
			copy(bounced, q)
			q = bounced
		}
		return d.transfer(q, at, func(b []byte, at int64) (int, error) { return d.pwrite(b, at, fua) })
	})
	if err == nil && fua && !d.writesThrough() {
		err = d.sync()
	}
	if err != nil {
		return opError("write", off, int64(len(p)), err)
	}
	return nil
}

func (d *Device) begin(ctx context.Context, op string, off, length int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return d.check(op, off, length)
}

// pieces calls fn for p, or, where p is not aligned, for pieces of it with an aligned buffer of the same length.
func (d *Device) pieces(p []byte, off int64, fn func(q []byte, at int64, bounced []byte) error) error {
	if !d.mustBounce(p) {
		return fn(p, off, nil)
	}
	pooled := bouncePool.Get().(*[]byte)
	defer bouncePool.Put(pooled)
	for len(p) > 0 {
		n := min(len(p), bounceSize)
		if err := fn(p[:n], off, (*pooled)[:n]); err != nil {
			return err
		}
		p, off = p[n:], off+int64(n)
	}
	return nil
}

// transfer calls io until all of p went through.
func (d *Device) transfer(p []byte, off int64, io func([]byte, int64) (int, error)) error {
	for len(p) > 0 {
		n, err := io(p[:min(len(p), maxTransfer)], off)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return err
		}
		if n = d.progress(n, len(p)); n == 0 {
			return errShrunk
		}
		p, off = p[n:], off+int64(n)
	}
	return nil
}

// progress rounds a short transfer of n out of want bytes down to whole sectors, which is where direct I/O can go
// on. 0 means that there is no going on.
func (d *Device) progress(n, want int) int {
	if n < want {
		n -= n % d.geo.SectorSize
	}
	return n
}

func (d *Device) pread(p []byte, off int64) (int, error) { return unix.Pread(d.fd, p, off) }

func (d *Device) pwrite(p []byte, off int64, fua bool) (int, error) {
	if !fua || !d.writesThrough() {
		return unix.Pwrite(d.fd, p, off)
	}
	n, err := unix.Pwritev2(d.fd, [][]byte{p}, off, unix.RWF_DSYNC)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		d.noDSync.Store(true)
		return unix.Pwrite(d.fd, p, off)
	}
	return n, err
}

// Flush is fdatasync.
func (d *Device) Flush(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := d.syncFailed(); err != nil {
		return opError("flush", 0, 0, err)
	}
	if err := d.sync(); err != nil {
		return opError("flush", 0, 0, err)
	}
	return nil
}

// sync is fdatasync. In buffered mode one at a time: the kernel tells of a lost page to one of those that sync at
// the same moment, and the others must not report success.
func (d *Device) sync() error {
	if !d.direct {
		d.syncing.Lock()
		defer d.syncing.Unlock()
		if err := d.syncFailed(); err != nil {
			return err
		}
	}
	for {
		err := unix.Fdatasync(d.fd)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			d.poison(err)
		}
		return err
	}
}

// writesThrough reports whether a fua write is one call. In buffered mode it is not, so that all errors of
// writing pages back are met in sync.
func (d *Device) writesThrough() bool { return d.direct && !d.noDSync.Load() }

func (d *Device) poison(err error) { d.poisoned.CompareAndSwap(nil, &poisonedSync{err}) }

// syncFailed returns the error of the first failed fdatasync, nil if there was none.
func (d *Device) syncFailed() error {
	if p := d.poisoned.Load(); p != nil {
		return p.err
	}
	return nil
}

// Discard punches a hole into a file or gives blocks of a device back, where that is supported.
func (d *Device) Discard(ctx context.Context, off, length int64) error {
	if err := d.begin(ctx, "discard", off, length); err != nil {
		return err
	}
	if length == 0 {
		return nil
	}
	for {
		var err error
		if d.block {
			err = discardBlocks(d.fd, off, length)
		} else {
			err = unix.Fallocate(d.fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, length)
		}
		switch err {
		case nil, unix.EOPNOTSUPP, unix.ENOSYS:
			return nil
		case unix.EINTR:
			continue
		}
		return opError("discard", off, length, err)
	}
}
