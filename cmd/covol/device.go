package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/covol/covol/cluster"
	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev/filedev"
	"github.com/covol/covol/ondisk/volume"
)

// device is what DEVICE names: a file, a block device, or a logical unit of an iSCSI target.
type device interface {
	disk
	// Path is what it was opened by, without secrets.
	Path() string
	// hostLocks are those of the host, nil if the device has none.
	hostLocks() cluster.HostLocks
	// onlyHere reports whether all nodes that can use it run on this host.
	onlyHere() bool
}

// fileDevice is a file or block device.
type fileDevice struct{ *filedev.Device }

func (d fileDevice) hostLocks() cluster.HostLocks { return d.Device }
func (d fileDevice) onlyHere() bool               { return !d.IsBlock() || isLoop(d.Path()) }

// openDevice opens a device and says what to do if that fails.
func openDevice(path string, o filedev.Options) (device, error) {
	if isRemote(path) {
		return openRemote(path)
	}
	o.OneHost = o.OneHost || isLoop(path)
	dev, err := filedev.Open(path, o)
	switch {
	case err == nil:
		return fileDevice{dev}, nil
	case errors.Is(err, os.ErrNotExist):
		return nil, hint(err, "Give a block device or an image file; an image of 4 GiB is made by: truncate -s 4G %s", path)
	case errors.Is(err, syscall.EBUSY):
		return nil, hint(err, "The kernel uses this device: it is mounted, swap, or part of a RAID or LVM volume. Free it first.")
	case errors.Is(err, os.ErrPermission):
		return nil, hint(err, "Run it as root.")
	}
	return nil, err
}

// loopMajor is the major number of loop devices, see Linux Documentation/admin-guide/devices.txt.
const loopMajor = 7

// isLoop reports whether path is a loop device, which no other host can see.
func isLoop(path string) bool {
	var st unix.Stat_t
	return unix.Stat(path, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFBLK && unix.Major(st.Rdev) == loopMajor
}

// onlyHere reports whether all nodes that can use the device run on this host.
func onlyHere(dev device, oneHost bool) bool { return oneHost || dev.onlyHere() }

// openSuper reads the superblock of the volume on dev.
func openSuper(ctx context.Context, dev device) (*ondisk.Super, *volume.Note, error) {
	super, note, err := volume.Open(ctx, dev)
	if err == nil {
		return super, note, nil
	}
	path := dev.Path()
	err = fmt.Errorf("%s: %w", path, err)
	switch {
	case errors.Is(err, volume.ErrNotVolume):
		return nil, nil, hint(err, "Make a volume on it with: covol mkfs %s", path)
	case errors.Is(err, volume.ErrShort):
		return nil, nil, hint(err, "The device has shrunk, or is another one. Nothing was changed; give it back its size first.")
	case errors.Is(err, ondisk.ErrVersion):
		return nil, nil, hint(err, "Use a covol that knows this format; this one is shown by: covol version")
	case errors.Is(err, ondisk.ErrCorrupt):
		return nil, nil, hint(err, "Superblock and copies are damaged. Save the device, then look at it with: covol dump %s block 0", path)
	}
	return nil, nil, err
}

// inUseBy returns the names of nodes that have the volume on dev mounted, and says so while it has to wait for proof.
func inUseBy(ctx context.Context, dev device, super *ondisk.Super, say func(string)) ([]string, error) {
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-done:
		case <-time.After(progressAfter):
			say(fmt.Sprintf("waiting for a sign of life of other nodes, at most %s", ago(super.Profile.Wait())))
		}
	}()
	names, err := cluster.InUse(ctx, dev, super, dev.hostLocks())
	if err != nil {
		return nil, fmt.Errorf("%s: look whether it is mounted: %w", dev.Path(), err)
	}
	return names, nil
}
