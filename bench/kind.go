package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/covol/covol/bench/host"
)

// kind is something to measure.
type kind struct {
	name  string
	needs []string      // programs
	why   func() string // nil, or why it cannot be measured although the programs are there
	must  bool          // the report is about it: it is not left out if it cannot be opened
	// open makes the filesystem on t.loop, and says in t by what it is reached.
	open func(ctx context.Context, o options, t *target) error
}

func (k kind) missing() string {
	for _, p := range append([]string{"fio", "losetup"}, k.needs...) {
		if _, err := exec.LookPath(p); err != nil {
			return p + " is not installed"
		}
	}
	if k.why != nil {
		return k.why()
	}
	return ""
}

// kinds begins with covol, whose ratio to the others is reported.
func kinds(o options) []kind {
	return []kind{
		{name: "covol uring", needs: []string{o.covol}, why: uringOff, open: func(_ context.Context, o options, t *target) error {
			return t.openCovol(o, 1, "--transport", "uring")
		}},
		{name: "covol bazil", must: true, needs: []string{o.covol}, open: func(_ context.Context, o options, t *target) error {
			return t.openCovol(o, 1, "--transport", "bazil")
		}},
		{name: "covol volume API", must: true, needs: []string{o.covol}, open: openVolume},
		{name: "ntfs-3g", needs: []string{"ntfs-3g", "mkfs.ntfs"}, open: func(_ context.Context, _ options, t *target) error {
			return t.openServer([]string{"mkfs.ntfs", "-q", "-Q", "-F", t.loop}, "ntfs-3g", "-o", "no_detach", t.loop, t.mnt(1))
		}},
		{name: "fuse2fs", needs: []string{"fuse2fs", "mke2fs"}, open: func(_ context.Context, _ options, t *target) error {
			return t.openServer([]string{"mke2fs", "-q", "-t", "ext4", t.loop}, "fuse2fs", "-f", t.loop, t.mnt(1))
		}},
		{name: "ext4", needs: []string{"mke2fs"}, open: func(_ context.Context, _ options, t *target) error {
			return t.openKernel([]string{"mke2fs", "-q", "-t", "ext4", t.loop}, "ext4")
		}},
		{name: "xfs", needs: []string{"mkfs.xfs"}, open: func(_ context.Context, _ options, t *target) error {
			return t.openKernel([]string{"mkfs.xfs", "-q", "-f", t.loop}, "xfs")
		}},
		{name: "raw device", open: func(_ context.Context, _ options, t *target) error {
			t.file = t.loop
			return nil
		}},
		{name: "raw device, in process", open: openRaw},
	}
}

// uringSwitch is what turns FUSE over io_uring on, see Linux Documentation/filesystems/fuse/fuse-io-uring.rst.
const uringSwitch = "/sys/module/fuse/parameters/enable_uring"

func uringOff() string {
	b, err := os.ReadFile(uringSwitch)
	if err != nil || strings.TrimSpace(string(b)) != "Y" {
		return "FUSE over io_uring is off; switch it on with: echo Y > " + uringSwitch
	}
	return ""
}

// openKernel makes a filesystem of the kernel and mounts it.
func (t *target) openKernel(mkfs []string, fstype string) error {
	if err := host.Run(mkfs...); err != nil {
		return err
	}
	t.mount, t.file = t.mnt(1), filepath.Join(t.mnt(1), fileName)
	return host.Run("mount", "-t", fstype, t.loop, t.mnt(1))
}

// openServer makes a filesystem and starts the server that mounts it, which stays in the foreground.
func (t *target) openServer(mkfs []string, server ...string) error {
	if err := host.Run(mkfs...); err != nil {
		return err
	}
	t.mount, t.file = t.mnt(1), filepath.Join(t.mnt(1), fileName)
	return t.start(server...)
}

// openCovol mounts a volume on so many nodes; the first does the work.
func (t *target) openCovol(o options, nodes int, args ...string) error {
	if err := host.Run(o.covol, "mkfs", "--force", t.loop); err != nil {
		return err
	}
	for i := 1; i <= nodes; i++ {
		if err := os.MkdirAll(t.mnt(i), 0o755); err != nil {
			return err
		}
		m, err := host.Start(o.covol, t.loop, t.mnt(i), fmt.Sprintf("bench%d", i), filepath.Join(t.dir, fmt.Sprintf("node%d.log", i)), args...)
		if err != nil {
			return err
		}
		t.nodes = append(t.nodes, m)
		t.pids = append(t.pids, m.PID())
	}
	t.mount, t.file = t.mnt(1), filepath.Join(t.mnt(1), fileName)
	return nil
}
