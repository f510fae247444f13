package filedev

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// deviceSize asks a block device for its size in bytes (BLKGETSIZE64).
func deviceSize(fd int) (int64, error) {
	var n uint64
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.BLKGETSIZE64, uintptr(unsafe.Pointer(&n))); errno != 0 {
		return 0, errno
	}
	return int64(n), nil
}

// discardBlocks gives a range of a block device back (BLKDISCARD).
func discardBlocks(fd int, off, length int64) error {
	r := [2]uint64{uint64(off), uint64(length)}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.BLKDISCARD, uintptr(unsafe.Pointer(&r))); errno != 0 {
		return errno
	}
	return nil
}
