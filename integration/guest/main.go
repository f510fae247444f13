// Guest is the init of the virtual machine in the tests of package integration: it loads the modules it finds beside
// itself, mounts the first virtio disk, reads, writes, and powers off. It tells how far it is on the console.
package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	if err := job(); err != nil {
		fmt.Printf("guest: FAILED: %v\n", err)
	} else {
		fmt.Println("guest: done")
	}
	unix.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

func job() error {
	steps := []struct {
		name string
		do   func() error
	}{
		{"system", mountSystem}, {"modules", loadModules}, {"disk", waitDisk},
		{"mount", func() error { return unix.Mount("/dev/vda", "/mnt", "ext4", 0, "") }},
		{"read", readBack}, {"write", write}, {"unmount", func() error { return unix.Unmount("/mnt", 0) }},
	}
	for _, s := range steps {
		if err := s.do(); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		fmt.Printf("guest: %s ok\n", s.name)
	}
	return nil
}

func mountSystem() error {
	for _, dir := range []string{"/dev", "/proc", "/mnt"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	// The kernel may have mounted it.
	if err := unix.Mount("dev", "/dev", "devtmpfs", 0, ""); err != nil && !errors.Is(err, unix.EBUSY) {
		return err
	}
	return unix.Mount("proc", "/proc", "proc", 0, "")
}

// loadModules loads /modules/* in the order of their names.
func loadModules() error {
	list, err := filepath.Glob("/modules/*.ko")
	if err != nil {
		return err
	}
	sort.Strings(list)
	for _, path := range list {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("%s: %w", path, err)
		}
		f.Close()
	}
	return nil
}

// waitDisk waits for the driver to find the disk.
func waitDisk() error {
	for range 3000 {
		if _, err := os.Stat("/dev/vda"); err == nil {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return errors.New("no /dev/vda")
}

// readBack prints the digest of the file that the host has put there.
func readBack() error {
	f, err := os.Open("/mnt/from-host")
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	fmt.Printf("guest: from-host %x\n", h.Sum(nil))
	return nil
}

// write leaves two files, one of them large enough for the disk to be busy.
func write() error {
	if err := writeFile("/mnt/from-guest", []byte("written inside the guest\n")); err != nil {
		return err
	}
	b := make([]byte, 8<<20)
	for i := range b {
		b[i] = byte(i>>12) ^ byte(i)
	}
	if err := writeFile("/mnt/large-from-guest", b); err != nil {
		return err
	}
	fmt.Printf("guest: large-from-guest %x\n", sha256.Sum256(b))
	return nil
}

func writeFile(path string, b []byte) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if _, err := f.Write(b); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return f.Close()
}
