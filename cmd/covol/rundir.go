package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
)

// runDirs are where control sockets may be, the preferred one first.
func runDirs() []string {
	dirs := []string{"/run/covol"}
	if x := os.Getenv("XDG_RUNTIME_DIR"); x != "" {
		dirs = append(dirs, filepath.Join(x, "covol"))
	}
	return dirs
}

// socketName names the control socket of a canonical mount point. A hash, because paths of sockets are short.
func socketName(dir string) string {
	sum := sha256.Sum256([]byte(dir))
	return hex.EncodeToString(sum[:8]) + ".sock"
}

// listenControl opens the control socket of a mount point, only for its owner. A socket whose process is dead is replaced.
func listenControl(dir string) (net.Listener, error) {
	var errs []error
	for _, run := range runDirs() {
		if err := os.MkdirAll(run, 0o755); err != nil {
			errs = append(errs, err)
			continue
		}
		path := filepath.Join(run, socketName(dir))
		if answers(path) {
			return nil, hint(fmt.Errorf("mount point %s is in use: another covol is mounting or leaving it", dir), "Look at it with: covol status %s", dir)
		}
		_ = os.Remove(path)
		old := syscall.Umask(0o177)
		ln, err := net.Listen("unix", path)
		syscall.Umask(old)
		if err == nil {
			return ln, nil
		}
		errs = append(errs, err)
	}
	return nil, fmt.Errorf("control socket: %w", errors.Join(errs...))
}

// answers reports whether a process listens on a socket.
func answers(path string) bool {
	c, err := net.Dial("unix", path)
	if err != nil {
		return false
	}
	_ = c.Close()
	return true
}

// findControl is the control socket of a mount point, "" if no process serves it.
func findControl(dir string) string {
	for _, run := range runDirs() {
		if path := filepath.Join(run, socketName(dir)); answers(path) {
			return path
		}
	}
	return ""
}

// allControls are the control sockets of all mounts of this host. Those of dead processes are removed.
func allControls() []string {
	var found []string
	for _, run := range runDirs() {
		paths, _ := filepath.Glob(filepath.Join(run, "*.sock"))
		for _, path := range paths {
			if answers(path) {
				found = append(found, path)
			} else {
				_ = os.Remove(path)
			}
		}
	}
	return found
}
