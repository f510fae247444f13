package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/covol/covol/bench/host"
)

// fileName is the file that data work is done on.
const fileName = "file"

// target is a kind with its loop device.
type target struct {
	kind   kind
	dir    string
	loop   string
	mount  string // directory of the filesystem; empty: it has none
	file   string // path that fio works on; empty: disk is used
	disk   disk   // nil: file is used
	closer func() // of disk
	nodes  []*host.Mount
	server *exec.Cmd // of a peer, in the foreground
	pids   []int     // of the processes that serve the filesystem; none: the kernel does, or this process
}

func (t *target) mnt(i int) string { return filepath.Join(t.dir, fmt.Sprintf("mnt%d", i)) }

// open makes device and filesystem, and lays out the file that data work is done on.
func (t *target) open(ctx context.Context, o options) error {
	if err := os.MkdirAll(t.mnt(1), 0o755); err != nil {
		return err
	}
	if err := t.attach(o.disk); err != nil {
		return err
	}
	if err := t.kind.open(ctx, o, t); err != nil {
		return err
	}
	if t.file == "" {
		return layOut(ctx, t.disk, o.size)
	}
	_, err := fio(ctx, "--filename="+t.file, fmt.Sprintf("--size=%dM", o.size), "--rw=write", "--bs=1M", "--iodepth=4", "--end_fsync=1", "--direct=1")
	return err
}

// attach makes a device of so many MiB, of which nothing takes room yet.
func (t *target) attach(mib int) error {
	img := filepath.Join(t.dir, "disk.img")
	if err := host.Run("truncate", "-s", fmt.Sprintf("%dM", mib), img); err != nil {
		return err
	}
	out, err := exec.Command("losetup", "--direct-io=on", "--show", "-f", img).Output()
	if err != nil {
		return fmt.Errorf("losetup: %w", err)
	}
	t.loop = strings.TrimSpace(string(out))
	return nil
}

// start runs a server until the mount point is one.
func (t *target) start(args ...string) error {
	t.server = exec.Command(args[0], args[1:]...)
	var messages bytes.Buffer
	t.server.Stderr = &messages
	t.server.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt is for the benchmark, which unmounts
	if err := t.server.Start(); err != nil {
		return err
	}
	t.pids = []int{t.server.Process.Pid}
	for try := 0; try < 100; try++ {
		if mounted(t.mnt(1)) {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	_ = t.server.Process.Kill()
	_ = t.server.Wait() // it writes messages no more
	t.server = nil
	return fmt.Errorf("%s has not mounted: %s", args[0], messages.String())
}

// mounted reports whether dir is on another device than its parent.
func mounted(dir string) bool {
	var a, b syscall.Stat_t
	return syscall.Stat(dir, &a) == nil && syscall.Stat(filepath.Dir(dir), &b) == nil && a.Dev != b.Dev
}

func (t *target) close() {
	if t.closer != nil {
		t.closer()
	}
	for _, n := range t.nodes {
		_ = n.Signal(syscall.SIGTERM)
	}
	for _, n := range t.nodes {
		_ = n.Wait()
	}
	if len(t.nodes) == 0 && mounted(t.mnt(1)) {
		host.Unmount(t.mnt(1))
	}
	if t.server != nil {
		_ = t.server.Wait() // ends with its mount
	}
	for try := 0; t.loop != "" && try < 50 && host.Run("losetup", "-d", t.loop) != nil; try++ {
		time.Sleep(100 * time.Millisecond)
	}
	_ = os.Remove(filepath.Join(t.dir, "disk.img"))
}

// serverTime is the processor time that the serving processes have used, negative if there are none.
func (t *target) serverTime() time.Duration {
	if len(t.pids) == 0 {
		return -1
	}
	var sum time.Duration
	for _, pid := range t.pids {
		d, err := processTime(pid)
		if err != nil {
			return -1
		}
		sum += d
	}
	return sum
}

// clockTick is the unit of times in /proc/PID/stat, USER_HZ, which is 100 on every Linux that people run.
const clockTick = time.Second / 100

func processTime(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	return parseTime(string(b))
}

// parseTime adds utime and stime, fields 14 and 15 of proc_pid_stat(5). The name, field 2, may have spaces.
func parseTime(stat string) (time.Duration, error) {
	_, rest, ok := strings.Cut(stat[max(0, strings.LastIndexByte(stat, ')')):], ") ")
	f := strings.Fields(rest)
	if !ok || len(f) < 13 {
		return 0, errors.New("stat of a process: too short")
	}
	var sum time.Duration
	for _, s := range f[11:13] {
		n, err := strconv.ParseUint(s, 10, 63)
		if err != nil {
			return 0, fmt.Errorf("stat of a process: %w", err)
		}
		sum += time.Duration(n) * clockTick
	}
	return sum, nil
}
