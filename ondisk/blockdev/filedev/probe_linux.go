package filedev

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/covol/covol/ondisk/blockdev"
)

// probe finds out geometry and alignment of the open device.
func (d *Device) probe() error {
	sector, err := d.sectorSize()
	if err != nil {
		return err
	}
	if sector != 512 && sector != 4096 {
		return fmt.Errorf("sector size of %d bytes is not supported", sector)
	}
	if d.block {
		if d.rawSize, err = deviceSize(d.fd); err != nil {
			return fmt.Errorf("size of device: %w", err)
		}
	}
	d.geo = blockdev.Geometry{SectorSize: sector, Size: d.rawSize - d.rawSize%int64(sector)}
	return nil
}

func (d *Device) sectorSize() (int, error) {
	mem, off := d.dioAlign()
	d.memory = blockdev.PageSize
	if mem > 0 && mem <= blockdev.PageSize {
		d.memory = mem
	}
	switch {
	case d.block:
		n, err := unix.IoctlGetInt(d.fd, unix.BLKSSZGET)
		if err != nil {
			return 0, fmt.Errorf("sector size of device: %w", err)
		}
		return n, nil
	case !d.direct:
		d.memory = 1
		return 512, nil
	case off > 512:
		return max(off, 4096), nil
	case off > 0:
		return 512, nil
	}
	return d.trySector(), nil
}

// dioAlign asks statx for the alignment of direct I/O: of buffers and of offsets, 0 where it does not tell.
func (d *Device) dioAlign() (mem, off int) {
	var st unix.Statx_t
	err := unix.Statx(d.fd, "", unix.AT_EMPTY_PATH, unix.STATX_DIOALIGN, &st)
	if err != nil || st.Mask&unix.STATX_DIOALIGN == 0 {
		return 0, 0
	}
	return int(st.Dio_mem_align), int(st.Dio_offset_align)
}

// trySector finds by a read whether direct I/O in units of 512 bytes works, for kernels whose statx does not say.
func (d *Device) trySector() int {
	buf := blockdev.Alloc(512)
	for {
		_, err := unix.Pread(d.fd, buf, 0)
		switch err {
		case unix.EINTR:
		case unix.EINVAL:
			return 4096
		default:
			return 512 // any other error is for the first real read to report
		}
	}
}

// Magic numbers of filesystems (linux/magic.h).
const (
	magicExt   = 0xef53
	magicXFS   = 0x58465342
	magicBtrfs = 0x9123683e
)

// atOnce reports whether the kernel gives what a ring submits to the device while it submits. Where it cannot, it puts
// the operations into a queue of its own, where Op.Begin is not asked any more: such files are served by threads.
func (d *Device) atOnce() bool {
	if d.block {
		return true
	}
	var st unix.Statfs_t
	if !d.direct || unix.Fstatfs(d.fd, &st) != nil {
		return false
	}
	switch uint32(st.Type) {
	case magicExt, magicXFS, magicBtrfs:
		return true
	}
	return false
}
