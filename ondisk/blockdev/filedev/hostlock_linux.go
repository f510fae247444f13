package filedev

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"golang.org/x/sys/unix"
)

// lockBase is where the bytes of LockByte begin, behind the end of any disk.
const lockBase = int64(1) << 62

// ErrLocked means that a byte is locked by someone else, or by this Device already.
var ErrLocked = errors.New("locked on this host")

// hostLocks remembers which bytes this Device holds: the kernel grants them to their holder again.
type hostLocks struct {
	mu sync.Mutex
	// GUARDED_BY(mu); true once the kernel granted it
	held map[int64]bool
}

// reserve takes n for one caller; it reports false if another has it.
func (h *hostLocks) reserve(n int64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.held[n]; ok {
		return false
	}
	if h.held == nil {
		h.held = map[int64]bool{}
	}
	h.held[n] = false
	return true
}

func (h *hostLocks) settle(n int64, granted bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if granted {
		h.held[n] = true
	} else {
		delete(h.held, n)
	}
}

func (h *hostLocks) granted(n int64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.held[n]
}

// LockByte locks byte n against every other Device of this host, also of this process, until UnlockByte, Close or
// the death of the process, however it comes. With wait it blocks the calling thread until the lock is free;
// without, a byte that is taken is ErrLocked. A byte that this Device holds or waits for is ErrLocked either
// way. It needs a Device that was not opened ReadOnly. n must be from 0 to 1<<32-1.
func (d *Device) LockByte(n int64, wait bool) error {
	if err := checkByte(n); err != nil {
		return err
	}
	if !d.locks.reserve(n) {
		return fmt.Errorf("lock byte %d of %s: %w by this device", n, d.path, ErrLocked)
	}
	err := setLock(d.lockFD, unix.F_WRLCK, lockBase+n, 1, wait)
	d.locks.settle(n, err == nil)
	if err != nil {
		if err == unix.EAGAIN || err == unix.EACCES {
			err = ErrLocked
		}
		return fmt.Errorf("lock byte %d of %s: %w", n, d.path, err)
	}
	return nil
}

// UnlockByte gives byte n back. Only the holder may call it.
func (d *Device) UnlockByte(n int64) error {
	if err := checkByte(n); err != nil {
		return err
	}
	if !d.locks.granted(n) {
		return fmt.Errorf("unlock byte %d of %s: not locked by this device", n, d.path)
	}
	if err := setLock(d.lockFD, unix.F_UNLCK, lockBase+n, 1, false); err != nil {
		return fmt.Errorf("unlock byte %d of %s: %w", n, d.path, err)
	}
	d.locks.settle(n, false)
	return nil
}

// ByteLocked reports whether anyone on this host holds byte n, this Device included. It works ReadOnly too.
func (d *Device) ByteLocked(n int64) (bool, error) {
	if err := checkByte(n); err != nil {
		return false, err
	}
	if d.locks.granted(n) {
		return true, nil
	}
	lk := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart, Start: lockBase + n, Len: 1}
	if err := unix.FcntlFlock(uintptr(d.lockFD), unix.F_OFD_GETLK, &lk); err != nil {
		return false, fmt.Errorf("look at lock byte %d of %s: %w", n, d.path, err)
	}
	return lk.Type != unix.F_UNLCK, nil
}

func checkByte(n int64) error {
	if n < 0 || n >= 1<<32 {
		return fmt.Errorf("no lock byte %d", n)
	}
	return nil
}

// setLock sets or clears a lock of the open file description.
func setLock(fd int, kind int16, off, length int64, wait bool) error {
	cmd := unix.F_OFD_SETLK
	if wait {
		cmd = unix.F_OFD_SETLKW
	}
	for {
		lk := unix.Flock_t{Type: kind, Whence: io.SeekStart, Start: off, Len: length}
		if err := unix.FcntlFlock(uintptr(fd), cmd, &lk); err != unix.EINTR {
			return err
		}
	}
}
