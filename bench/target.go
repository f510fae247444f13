package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/covol/covol/bench/host"
)

// kind is something to measure.
type kind struct {
	name  string
	needs []string // programs
	// open makes the filesystem on t.loop and returns the file to work on.
	open func(o options, t *target) (file string, err error)
}

func (k kind) missing() string {
	for _, p := range append([]string{"fio", "losetup"}, k.needs...) {
		if _, err := exec.LookPath(p); err != nil {
			return p + " is not installed"
		}
	}
	return ""
}

func kinds(o options) []kind {
	return []kind{
		{"covol", []string{o.covol}, func(o options, t *target) (string, error) { return openCovol(o, t, 1) }},
		{"covol, 3 nodes", []string{o.covol}, func(o options, t *target) (string, error) { return openCovol(o, t, 3) }},
		{"ntfs-3g", []string{"ntfs-3g", "mkfs.ntfs"}, func(_ options, t *target) (string, error) {
			return t.mounted([]string{"mkfs.ntfs", "-q", "-Q", "-F", t.loop}, []string{"ntfs-3g", t.loop, t.mnt(1)})
		}},
		{"fuse2fs", []string{"fuse2fs", "mke2fs"}, func(_ options, t *target) (string, error) {
			return t.mounted([]string{"mke2fs", "-q", "-t", "ext4", t.loop}, []string{"fuse2fs", t.loop, t.mnt(1)})
		}},
		{"ext4", []string{"mke2fs"}, func(_ options, t *target) (string, error) {
			return t.mounted([]string{"mke2fs", "-q", "-t", "ext4", t.loop}, []string{"mount", t.loop, t.mnt(1)})
		}},
		{"raw device", nil, func(_ options, t *target) (string, error) { return t.loop, nil }},
	}
}

// target is a kind with its loop device.
type target struct {
	kind  kind
	dir   string
	loop  string
	file  string
	nodes []*host.Mount
}

func (t *target) mnt(i int) string { return filepath.Join(t.dir, fmt.Sprintf("mnt%d", i)) }

func (t *target) open(o options) (err error) {
	for i := 1; i <= 3; i++ {
		if err := os.MkdirAll(t.mnt(i), 0o755); err != nil {
			return err
		}
	}
	img := filepath.Join(t.dir, "disk.img")
	if err := host.Run("fallocate", "-l", fmt.Sprintf("%dM", 2*o.size+512), img); err != nil {
		return err
	}
	out, err := exec.Command("losetup", "--direct-io=on", "--show", "-f", img).Output()
	if err != nil {
		return fmt.Errorf("losetup: %w", err)
	}
	t.loop = strings.TrimSpace(string(out))
	if t.file, err = t.kind.open(o, t); err != nil {
		return err
	}
	// Lay the file out, and the file behind the loop device with it.
	_, err = fio("--filename="+t.file, fmt.Sprintf("--size=%dM", o.size), "--rw=write", "--bs=1M", "--iodepth=4", "--end_fsync=1")
	return err
}

// mounted makes a filesystem and mounts it by a command that goes to the background.
func (t *target) mounted(mkfs, mount []string) (string, error) {
	if err := host.Run(mkfs...); err != nil {
		return "", err
	}
	if err := host.Run(mount...); err != nil {
		return "", err
	}
	return filepath.Join(t.mnt(1), "file"), nil
}

// openCovol mounts on so many nodes; node 1 does the work.
func openCovol(o options, t *target, nodes int) (string, error) {
	if err := host.Run(o.covol, "mkfs", "--force", t.loop); err != nil {
		return "", err
	}
	for i := 1; i <= nodes; i++ {
		m, err := host.Start(o.covol, t.loop, t.mnt(i), fmt.Sprintf("bench%d", i), filepath.Join(t.dir, fmt.Sprintf("node%d.log", i)))
		if err != nil {
			return "", err
		}
		t.nodes = append(t.nodes, m)
	}
	return filepath.Join(t.mnt(1), "file"), nil
}

func (t *target) close() {
	for _, n := range t.nodes {
		_ = n.Signal(syscall.SIGTERM)
	}
	for _, n := range t.nodes {
		_ = n.Wait()
	}
	for i := 1; i <= 3; i++ {
		host.Unmount(t.mnt(i))
	}
	for try := 0; t.loop != "" && try < 50 && host.Run("losetup", "-d", t.loop) != nil; try++ {
		time.Sleep(100 * time.Millisecond)
	}
}
