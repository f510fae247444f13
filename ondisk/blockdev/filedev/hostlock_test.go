package filedev_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/blockdev/devtest"
	"github.com/covol/covol/ondisk/blockdev/filedev"
)

// childEnv tells the test binary to be a node: "lock PATH N" holds byte N until killed, "count PATH N" counts up.
const childEnv = "COVOL_FILEDEV_CHILD"

func TestMain(m *testing.M) {
	if job := os.Getenv(childEnv); job != "" {
		if err := child(strings.Fields(job)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func child(job []string) error {
	d, err := filedev.Open(job[1], filedev.Options{})
	if err != nil {
		return err
	}
	if job[0] == "lock" {
		if err := d.LockByte(5, false); err != nil {
			return err
		}
		fmt.Println("locked")
		select {} // until killed
	}
	old, next := make([]byte, 512), make([]byte, 512)
	for done := 0; done < 40; {
		if err := d.ReadAt(ctx, old, 0); err != nil {
			return err
		}
		copy(next, old)
		if next[0]++; next[0] == 0 {
			next[1]++
		}
		swapped, err := d.CompareAndWrite(ctx, 0, old, next)
		if err != nil {
			return err
		}
		if swapped {
			done++
		}
	}
	return nil
}

func startChild(t *testing.T, job string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	c := exec.Command(exe)
	c.Env = append(os.Environ(), childEnv+"="+job)
	c.Stderr = os.Stderr
	return c
}

func TestKilledHolderFreesItsByte(t *testing.T) {
	path := newFile(t, t.TempDir(), devtest.Size)
	c := startChild(t, "lock "+path)
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "locked\n", line)

	d, ro := open(t, path, filedev.Options{}), open(t, path, filedev.Options{ReadOnly: true})
	for _, dev := range []*filedev.Device{d, ro} {
		locked, err := dev.ByteLocked(5)
		require.NoError(t, err)
		assert.True(t, locked)
		locked, err = dev.ByteLocked(6)
		require.NoError(t, err)
		assert.False(t, locked)
	}
	require.ErrorIs(t, d.LockByte(5, false), filedev.ErrLocked)
	got := make(chan error)
	go func() { got <- d.LockByte(5, true) }()

	require.NoError(t, c.Process.Kill())
	require.Error(t, c.Wait())
	require.NoError(t, <-got, "the lock proves the death")
	locked, err := ro.ByteLocked(5)
	require.NoError(t, err)
	assert.True(t, locked)
}

func TestLockBytes(t *testing.T) {
	path := newFile(t, t.TempDir(), 4096)
	a, b := open(t, path, filedev.Options{}), open(t, path, filedev.Options{NoDirect: true})
	require.NoError(t, a.LockByte(1, false))
	require.NoError(t, b.LockByte(2, true))
	assert.ErrorIs(t, b.LockByte(1, false), filedev.ErrLocked)
	assert.ErrorIs(t, a.LockByte(1, false), filedev.ErrLocked, "held by itself")
	assert.ErrorIs(t, a.LockByte(1, true), filedev.ErrLocked, "must not wait for itself")
	for _, d := range []*filedev.Device{a, b} {
		for n, want := range map[int64]bool{0: false, 1: true, 2: true, 3: false} {
			locked, err := d.ByteLocked(n)
			require.NoError(t, err)
			assert.Equal(t, want, locked, n)
		}
	}
	assert.Error(t, b.UnlockByte(1), "not its own")
	require.NoError(t, a.UnlockByte(1))
	assert.Error(t, a.UnlockByte(1))
	require.NoError(t, b.LockByte(1, false))

	for _, n := range []int64{-1, 1 << 32} {
		assert.Error(t, a.LockByte(n, false))
		assert.Error(t, a.UnlockByte(n))
		_, err := a.ByteLocked(n)
		assert.Error(t, err)
	}
	require.NoError(t, a.LockByte(1<<32-1, false))

	// Descriptors of the same inode that come and go must not free anything, as they would with plain fcntl locks.
	c, err := filedev.Open(path, filedev.Options{})
	require.NoError(t, err)
	_, err = c.CompareAndWrite(ctx, 0, make([]byte, 512), make([]byte, 512))
	require.NoError(t, err)
	require.NoError(t, c.Close())
	locked, err := a.ByteLocked(2)
	require.NoError(t, err)
	assert.True(t, locked)
}

func TestCloseFreesBytes(t *testing.T) {
	path := newFile(t, t.TempDir(), 4096)
	a, err := filedev.Open(path, filedev.Options{})
	require.NoError(t, err)
	require.NoError(t, a.LockByte(1, false))
	b := open(t, path, filedev.Options{})
	require.NoError(t, a.Close())
	assert.NoError(t, b.LockByte(1, false))
}

func TestCompareCountsOverDevices(t *testing.T) {
	path := newFile(t, t.TempDir(), devtest.Size)
	var w []blockdev.CompareAndWriter
	for range 3 {
		d := open(t, path, filedev.Options{})
		w = append(w, d, d)
	}
	devtest.CountUp(t, w, open(t, path, filedev.Options{}), 15)
}

func TestCompareCountsOverProcesses(t *testing.T) {
	path := newFile(t, t.TempDir(), devtest.Size)
	var all []*exec.Cmd
	for range 3 {
		c := startChild(t, "count "+path)
		require.NoError(t, c.Start())
		all = append(all, c)
	}
	for _, c := range all {
		require.NoError(t, c.Wait())
	}
	p := make([]byte, 512)
	require.NoError(t, open(t, path, filedev.Options{}).ReadAt(ctx, p, 0))
	assert.Equal(t, 120, int(p[0])+int(p[1])<<8)
}

func TestWithoutRWFDSync(t *testing.T) {
	devtest.Run(t, func(t *testing.T) blockdev.Device {
		d := open(t, newFile(t, t.TempDir(), devtest.Size), filedev.Options{})
		d.RefuseDSync()
		return d
	})
}

func dyingThread(fn func()) {
	filedev.LockThread()
	fn()
}

// loop attaches a file as a loop device with the given sector size and returns its path.
func loop(t *testing.T, size int64, sector int) string {
	t.Helper()
	f, err := os.OpenFile(newFile(t, t.TempDir(), size), os.O_RDWR, 0)
	require.NoError(t, err)
	defer f.Close() //nolint:errcheck // the loop device has a reference of its own
	ctl, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("SKIP: no loop devices, block devices were not tested: %v", err)
	}
	defer ctl.Close() //nolint:errcheck // nothing was written
	for range 20 {
		n, err := unix.IoctlRetInt(int(ctl.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			t.Skipf("SKIP: no free loop device, block devices were not tested: %v", err)
		}
		path := fmt.Sprintf("/dev/loop%d", n)
		dev, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Skipf("SKIP: block devices were not tested: %v", err)
		}
		err = unix.IoctlLoopConfigure(int(dev.Fd()), &unix.LoopConfig{Fd: uint32(f.Fd()), Size: uint32(sector)})
		if err == unix.EBUSY { // someone was quicker
			require.NoError(t, dev.Close())
			continue
		}
		require.NoError(t, err)
		t.Cleanup(func() {
			assert.NoError(t, unix.IoctlSetInt(int(dev.Fd()), unix.LOOP_CLR_FD, 0))
			assert.NoError(t, dev.Close())
		})
		return path
	}
	t.Skip("SKIP: no loop device, block devices were not tested")
	return ""
}
