package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/covol/covol/fs/fusefs/bazil"
)

// canonical is the absolute path of a mount point without symbolic links, which is how mounts are listed and control
// sockets named. It never looks at a directory that is a mount point: the mount may be dead, or its root be locked by a
// node that is, and who asks for the state of a mount must not wait for its files.
func canonical(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	all, err := mounts()
	if err != nil {
		return "", err
	}
	points := map[string]bool{}
	for _, m := range all {
		points[m.dir] = true
	}
	for range maxLinks {
		if parent, err := filepath.EvalSymlinks(filepath.Dir(abs)); err == nil {
			abs = filepath.Join(parent, filepath.Base(abs))
		}
		if points[abs] {
			return abs, nil
		}
		target, err := os.Readlink(abs)
		if err != nil {
			return abs, nil // it is no link, or nothing is there
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(abs), target)
		}
		abs = filepath.Clean(target)
	}
	return "", fmt.Errorf("%s: too many symbolic links", dir)
}

// maxLinks bounds the symbolic links that are followed, as the kernel does.
const maxLinks = 40

// checkMountPoint refuses a place that nothing can be mounted on, before anything else is done. A mount that a dead
// process left there is cleared.
func checkMountPoint(dir string) (string, error) {
	abs, err := canonical(dir)
	if err != nil {
		return "", fmt.Errorf("mount point %s: %w", dir, err)
	}
	if err := bazil.CleanStale(abs); err != nil {
		if errors.Is(err, bazil.ErrMounted) {
			return "", hint(err, "Unmount it first: covol umount %s", dir)
		}
		return "", err
	}
	fi, err := os.Stat(abs)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "", hint(fmt.Errorf("mount point %s does not exist", dir), "Make it: mkdir -p %s", dir)
	case err != nil:
		return "", fmt.Errorf("mount point: %w", err)
	case !fi.IsDir():
		return "", fmt.Errorf("mount point %s is not a directory", dir)
	}
	m, err := mountAt(abs)
	if err != nil {
		return "", err
	}
	if m != nil {
		return "", hint(fmt.Errorf("mount point %s is in use: %s (%s) is mounted there", dir, m.source, m.fstype), "Choose another directory, or unmount it first: umount %s", dir)
	}
	return abs, nil
}

// mountEntry is a line of /proc/self/mounts.
type mountEntry struct{ source, dir, fstype string }

// covolType is the type of our mounts as the kernel lists it.
const covolType = "fuse.covol"

// mountAt is the uppermost mount at exactly dir, nil if there is none.
func mountAt(dir string) (*mountEntry, error) {
	all, err := mounts()
	if err != nil {
		return nil, err
	}
	var found *mountEntry
	for i := range all {
		if all[i].dir == dir {
			found = &all[i]
		}
	}
	return found, nil
}

func mounts() ([]mountEntry, error) {
	b, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil, fmt.Errorf("list mounts: %w", err)
	}
	var all []mountEntry
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) >= 3 {
			all = append(all, mountEntry{source: unescape(f[0]), dir: unescape(f[1]), fstype: f[2]})
		}
	}
	return all, nil
}

// unescape undoes the octal escapes of /proc/self/mounts.
func unescape(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		if s[0] == '\\' && len(s) >= 4 {
			if n, err := strconv.ParseUint(s[1:4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				s = s[4:]
				continue
			}
		}
		b.WriteByte(s[0])
		s = s[1:]
	}
	return b.String()
}
