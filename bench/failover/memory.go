package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// memory is what an idle node weighs, in bytes.
type memory struct {
	node, nodePeak int64 // of the mount process
	helper         int64 // the most that the event helper had while it was there; 0: none was seen
}

// weigh mounts a volume on one node and looks at it while nobody uses it.
func weigh(ctx context.Context, o options, dir string) (m memory, err error) {
	dir = filepath.Join(dir, "memory")
	if err := makeVolume(o, dir, "default"); err != nil {
		return m, err
	}
	watching, seen := context.WithCancel(ctx)
	helper := make(chan int64, 1)
	go func() { helper <- watchHelper(watching, o.covol) }()
	node, err := startNode(o, dir, survivorName)
	if err == nil {
		select {
		case <-ctx.Done():
		case <-time.After(o.idle):
		}
		m.node, err = memoryOf(node.PID(), "VmRSS")
		m.nodePeak, _ = memoryOf(node.PID(), "VmHWM")
		_ = node.Leave()
	}
	seen()
	m.helper = <-helper
	return m, err
}

// watchHelper returns the most memory that any event helper of that program had until ctx ends. A helper lives for the
// moment of one batch, so it is looked for all the time.
func watchHelper(ctx context.Context, covol string) (most int64) {
	for ctx.Err() == nil {
		dirs, _ := filepath.Glob("/proc/[0-9]*")
		for _, d := range dirs {
			line, _ := os.ReadFile(filepath.Join(d, "cmdline"))
			if !bytes.Contains(line, []byte("\x00event-store\x00")) {
				continue
			}
			if exe, _ := os.Readlink(filepath.Join(d, "exe")); !sameFile(exe, covol) {
				continue
			}
			pid, _ := strconv.Atoi(filepath.Base(d))
			for { // until it is gone
				n, err := memoryOf(pid, "VmHWM")
				if err != nil {
					break
				}
				most = max(most, n)
				time.Sleep(time.Millisecond)
			}
		}
		time.Sleep(2 * time.Millisecond)
	}
	return most
}

func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// memoryOf is a line of /proc/PID/status, in bytes.
func memoryOf(pid int, what string) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	return parseMemory(string(b), what)
}

func parseMemory(status, what string) (int64, error) {
	for line := range strings.Lines(status) {
		if value, ok := strings.CutPrefix(line, what+":"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("%s: %w", what, err)
			}
			return kib << 10, nil
		}
	}
	return 0, fmt.Errorf("no %s: the process has ended", what)
}
