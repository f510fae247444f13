package watchdog

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Open makes the opener of a watchdog device of Linux, such as /dev/watchdog0. Opening starts its timer, with the time
// of the driver.
func Open(path string) func() (Device, error) {
	return func() (Device, error) {
		f, err := os.OpenFile(path, os.O_WRONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, err
		}
		return file{f}, nil
	}
}

// file is the interface of Documentation/watchdog/watchdog-api.rst of the kernel.
type file struct{ f *os.File }

func (d file) SetTimeout(seconds int) (int, error) {
	if err := unix.IoctlSetPointerInt(int(d.f.Fd()), unix.WDIOC_SETTIMEOUT, seconds); err != nil {
		return 0, fmt.Errorf("set its time to %d s: %w", seconds, err)
	}
	granted, err := unix.IoctlGetInt(int(d.f.Fd()), unix.WDIOC_GETTIMEOUT)
	if err != nil {
		return 0, fmt.Errorf("ask for its time: %w", err)
	}
	return granted, nil
}

func (d file) Keepalive() error { return unix.IoctlSetInt(int(d.f.Fd()), unix.WDIOC_KEEPALIVE, 0) }

// Disarm writes the magic character. A driver with nowayout takes it and runs on all the same.
func (d file) Disarm() error {
	_, err := d.f.Write([]byte{'V'})
	return err
}

func (d file) Close() error { return d.f.Close() }
