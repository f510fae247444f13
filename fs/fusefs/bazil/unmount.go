package bazil

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ErrBusy is returned by Unmount while files of the mount are open or somebody's working directory is there.
var ErrBusy = errors.New("in use: close its files and leave its directories first")

// grace is how long an unmounted filesystem may take to answer what is in flight.
const grace = 30 * time.Second

// Unmount unmounts and waits until everything is closed. If the mount is in use it stays, and the error is ErrBusy.
func (m *Mount) Unmount() error {
	select {
	case <-m.done:
		return nil
	default:
	}
	if err := m.unmount(0); err != nil {
		return fmt.Errorf("unmount %s: %w", m.dir, err)
	}
	return m.wait()
}

// TakeDown unmounts unless the mount is in use, which is ErrBusy, and waits for nothing: Done tells when requests that
// are in flight have been answered.
func (m *Mount) TakeDown() error {
	if err := m.unmount(0); err != nil && !errors.Is(err, errNotThere) {
		return fmt.Errorf("unmount %s: %w", m.dir, err)
	}
	return nil
}

// Abort ends the connection at once, whatever is in flight: programs get ENOTCONN, also those that wait for an answer
// now. The mount stays in the tree, dead, until Unmount or Close. It is for a device that does not let go of requests.
func (m *Mount) Abort() error {
	if err := m.abort(); err != nil {
		return fmt.Errorf("abort %s: %w", m.dir, err)
	}
	return nil
}

// Cut takes the mount out of the tree and aborts it, without waiting for anything, for a process that ends.
func (m *Mount) Cut() error {
	aborted := m.Abort() // first: programs are let go, whatever becomes of the rest
	err := m.unmount(unix.MNT_DETACH)
	if errors.Is(err, errNotThere) {
		err = nil
	}
	if err != nil {
		err = fmt.Errorf("detach %s: %w", m.dir, err)
	}
	return errors.Join(aborted, err)
}

// Detach takes the mount out of the tree at once and goes on serving those who still use it; Done tells when the last
// one has left.
func (m *Mount) Detach() error {
	if err := m.unmount(unix.MNT_DETACH); err != nil {
		return fmt.Errorf("detach %s: %w", m.dir, err)
	}
	return nil
}

// Close ends the mount for good: unmounts it, or if it is in use detaches it and cuts off those who use it, who get
// ENOTCONN from then on. For the end of the process.
func (m *Mount) Close() error {
	err := m.Unmount()
	switch {
	case errors.Is(err, ErrBusy):
		m.log.Warn("fuse: mount is in use and cut off", "mount", m.dir)
		if err := m.unmount(unix.MNT_DETACH | unix.MNT_FORCE); err != nil {
			return fmt.Errorf("detach %s: %w", m.dir, err)
		}
	case !errors.Is(err, errNotThere):
		return err
	}
	if err := m.abort(); err != nil {
		m.log.Warn("fuse: abort", "mount", m.dir, "error", err)
	}
	return m.wait()
}

// errNotThere is returned when the mount is not at its place: detached, or with another one on top.
var errNotThere = errors.New("not mounted there any more, or something else is mounted over it")

// unmount unmounts this mount, not what else may be at its place by now.
func (m *Mount) unmount(flags int) error {
	mi, err := findMount(m.dir)
	if err != nil {
		return err
	}
	if mi == nil || mi.device != m.device {
		return errNotThere
	}
	return unmount(m.dir, flags)
}

// wait waits for the connection to end. It outlives an unmount where another mount namespace has a copy of the mount;
// those copies are cut off.
func (m *Mount) wait() error {
	for range 2 {
		select {
		case <-m.done:
			return nil
		case <-time.After(grace):
			if err := m.abort(); err != nil {
				return fmt.Errorf("unmount %s: still used elsewhere, and abort: %w", m.dir, err)
			}
		}
	}
	return fmt.Errorf("unmount %s: requests in flight do not end", m.dir)
}

// abort makes the kernel end the connection, which works whether or not the mount is still in the tree. A connection has
// no name but the number of its mount, and the kernel gives that to another mount once ours has ended.
func (m *Mount) abort() error {
	if m.ended.Load() {
		return nil
	}
	if taken, err := m.numberTaken(); taken || err != nil {
		return err
	}
	err := m.abortAt("/sys/fs/fuse/connections")
	if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	// Nobody has mounted fusectl, or the connection is gone already.
	tmp, err := os.MkdirTemp("", "fusectl")
	if err != nil {
		return err
	}
	defer os.Remove(tmp)
	if err := unix.Mount("fusectl", tmp, "fusectl", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount fusectl: %w", err)
	}
	defer unix.Unmount(tmp, unix.MNT_DETACH)
	if err := m.abortAt(tmp); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// CutOff takes the covol mount at dir, whose process does not answer any more, out of the tree and aborts it, so that
// programs get ENOTCONN. Nothing is done if there is none.
func CutOff(dir string) error {
	mi, err := findMount(dir)
	if err != nil || mi == nil || mi.fstype != "fuse."+subtype {
		return err
	}
	m := &Mount{dir: dir, device: mi.device}
	return m.Cut()
}

// numberTaken reports whether the number of this mount is that of a mount at another place.
func (m *Mount) numberTaken() (bool, error) {
	mi, err := lastMount(func(mi *mountInfo) bool { return mi.device == m.device && mi.point != m.dir })
	return mi != nil, err
}

func (m *Mount) abortAt(fusectl string) error {
	_, minor, _ := strings.Cut(m.device, ":")
	return os.WriteFile(filepath.Join(fusectl, minor, "abort"), []byte("1"), 0)
}

// unmount unmounts by itself, or through the setuid helper where it may not.
func unmount(dir string, flags int) error {
	err := unix.Unmount(dir, flags|unix.UMOUNT_NOFOLLOW)
	switch err {
	case unix.EBUSY:
		return ErrBusy
	case unix.EPERM:
		return fusermount(dir, flags&unix.MNT_DETACH != 0)
	case nil:
		return nil
	}
	return err
}

func fusermount(dir string, lazy bool) error {
	arg := "-u"
	if lazy {
		arg = "-uz"
	}
	out, err := exec.Command("fusermount3", arg, "--", dir).CombinedOutput()
	switch {
	case err == nil:
		return nil
	case strings.Contains(string(out), "busy"):
		return ErrBusy
	}
	return fmt.Errorf("fusermount3: %w: %s", err, strings.TrimSpace(string(out)))
}

// setReadAhead raises the read-ahead of the mount above the kernel's 128 KiB. Where that is not allowed buffered
// sequential reads are slower, nothing else.
func (m *Mount) setReadAhead(bytes int) {
	path := filepath.Join("/sys/class/bdi", m.device, "read_ahead_kb")
	if err := os.WriteFile(path, []byte(strconv.Itoa(bytes>>10)), 0); err != nil {
		m.log.Info("fuse: read-ahead stays at the kernel's default", "mount", m.dir, "error", err)
	}
}
