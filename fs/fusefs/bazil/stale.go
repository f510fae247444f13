package bazil

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// subtype is what /proc/mounts shows behind "fuse.".
const subtype = "covol"

// ErrMounted is returned where a living covol mount is at the place already.
var ErrMounted = errors.New("already mounted")

// patience is how long a mount may take to show that it lives.
const patience = 10 * time.Second

// CleanStale unmounts covol mounts at dir whose server is dead ("transport endpoint is not connected"). ErrMounted
// says that one lives. Other mounts, and their absence, are none of its business: nil.
func CleanStale(dir string) error {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("mount point: %w", err)
	}
	// Symbolic links are followed in the parent only: dir itself may be beyond asking.
	if parent, err := filepath.EvalSymlinks(filepath.Dir(abs)); err == nil {
		abs = filepath.Join(parent, filepath.Base(abs))
	}
	for {
		mi, err := findMount(abs)
		if err != nil {
			return err
		}
		if mi == nil || mi.fstype != "fuse."+subtype {
			return nil
		}
		err = askMount(abs)
		if !errors.Is(err, unix.ENOTCONN) && !errors.Is(err, unix.ECONNABORTED) {
			if err == nil {
				return fmt.Errorf("mount point %s: %w", dir, ErrMounted)
			}
			return fmt.Errorf("mount point %s: a mount is there: %w", dir, err)
		}
		if err := unmount(abs, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("clear dead mount %s: %w", dir, err)
		}
	}
}

// askMount makes the server of a mount answer.
func askMount(dir string) error {
	answer := make(chan error, 1)
	go func() {
		var st unix.Statfs_t
		answer <- unix.Statfs(dir, &st)
	}()
	select {
	case err := <-answer:
		return err
	case <-time.After(patience):
		return errors.New("its server does not answer")
	}
}

// mountInfo is a line of /proc/self/mountinfo (proc_pid_mountinfo(5)).
type mountInfo struct {
	device string // major:minor
	point  string
	fstype string
}

// findMount returns the uppermost mount at exactly dir, or nil.
func findMount(dir string) (*mountInfo, error) {
	return lastMount(func(mi *mountInfo) bool { return mi.point == dir })
}

// lastMount returns the latest mount of this mount namespace that fits, or nil.
func lastMount(fits func(*mountInfo) bool) (*mountInfo, error) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("list mounts: %w", err)
	}
	var found *mountInfo
	for line := range strings.Lines(string(b)) {
		if mi := parseMountInfo(line); mi != nil && fits(mi) {
			found = mi
		}
	}
	return found, nil
}

func parseMountInfo(line string) *mountInfo {
	left, right, ok := strings.Cut(line, " - ")
	l, r := strings.Fields(left), strings.Fields(right)
	if !ok || len(l) < 5 || len(r) < 1 {
		return nil
	}
	return &mountInfo{device: l[2], point: unescape(l[4]), fstype: r[0]}
}

// unescape undoes \ooo.
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
