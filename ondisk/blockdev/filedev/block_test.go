package filedev_test

import (
	"context"
	"errors"
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

func TestBlockDevices(t *testing.T) {
	for _, sector := range []int{512, 4096} {
		t.Run(fmt.Sprint(sector), func(t *testing.T) {
			path := loop(t, devtest.Size, sector)
			zero := make([]byte, devtest.Size)
			devtest.Run(t, func(t *testing.T) blockdev.Device {
				d := open(t, path, filedev.Options{OneHost: true})
				require.True(t, d.IsBlock())
				require.True(t, d.Direct())
				require.Equal(t, sector, d.Geometry().SectorSize)
				require.NoError(t, d.WriteAt(ctx, zero, 0, false))
				return d
			})
		})
	}
}

func TestBlockDeviceIsNotOneHost(t *testing.T) {
	d := open(t, loop(t, devtest.Size, 512), filedev.Options{})
	swapped, err := d.CompareAndWrite(ctx, 0, make([]byte, 512), make([]byte, 512))
	assert.ErrorIs(t, err, errors.ErrUnsupported)
	assert.False(t, swapped)
	require.NoError(t, d.LockByte(1, false))
	locked, err := open(t, d.Path(), filedev.Options{ReadOnly: true}).ByteLocked(1)
	require.NoError(t, err)
	assert.True(t, locked)
}

func TestExclusive(t *testing.T) {
	path := loop(t, devtest.Size, 512)
	first := open(t, path, filedev.Options{Exclusive: true})
	_, err := filedev.Open(path, filedev.Options{Exclusive: true})
	assert.ErrorIs(t, err, unix.EBUSY)
	open(t, path, filedev.Options{})
	require.NoError(t, first.Flush(context.Background()))
}

// TestBadSectors has a device-mapper target whose middle cannot be read or written.
func TestBadSectors(t *testing.T) {
	below := loop(t, devtest.Size, 512)
	name := fmt.Sprintf("covol-filedev-%d", os.Getpid())
	table := fmt.Sprintf("0 1024 linear %s 0\n1024 8 error\n1032 1016 linear %s 1032\n", below, below)
	c := exec.Command("dmsetup", "create", "--noudevsync", name)
	c.Stdin = strings.NewReader(table)
	if out, err := c.CombinedOutput(); err != nil {
		t.Skipf("SKIP: no device mapper, medium errors of devices were not tested: %v: %s", err, out)
	}
	t.Cleanup(func() {
		out, err := exec.Command("dmsetup", "remove", "--noudevsync", "--retry", name).CombinedOutput()
		assert.NoError(t, err, "%s", out)
	})
	path := "/dev/mapper/" + name
	if _, err := os.Stat(path); err != nil {
		out, err := exec.Command("dmsetup", "mknodes", name).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	for _, o := range []filedev.Options{{}, {NoUring: true}} {
		d, err := filedev.Open(path, o)
		require.NoError(t, err)
		p := blockdev.Alloc(8192)
		const bad = 1024 * 512
		for _, fua := range []bool{false, true} {
			for _, err := range []error{
				d.ReadAt(ctx, p, bad), d.WriteAt(ctx, p, bad-4096, fua),
				submitOne(d, blockdev.Op{Kind: blockdev.OpRead, Buf: p, Off: bad}),
				submitOne(d, blockdev.Op{Kind: blockdev.OpWrite, Buf: p, Off: bad, FUA: fua}),
			} {
				require.ErrorIs(t, err, blockdev.ErrMedium)
				require.ErrorIs(t, err, unix.EIO)
			}
		}
		assert.NoError(t, d.ReadAt(ctx, p, bad+4096))
		assert.NoError(t, d.WriteAt(ctx, p, bad-8192, true))
		assert.NoError(t, d.Flush(ctx), "a bad sector does not spoil the device")
		require.NoError(t, d.Close())
	}
}

// TestFullFilesystem has a file that is larger than its filesystem: writes fail with a real errno on every way in.
func TestFullFilesystem(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("filedev", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("SKIP: cannot mount a tmpfs, failing writes were not tested: %v", err)
	}
	t.Cleanup(func() { assert.NoError(t, unix.Unmount(dir, 0)) })
	path := newFile(t, dir, devtest.Size)
	p := blockdev.Alloc(devtest.Size / 2)
	for _, o := range []filedev.Options{{}, {NoDirect: true}, {NoUring: true}} {
		for _, fua := range []bool{false, true} {
			d, err := filedev.Open(path, o)
			require.NoError(t, err)
			for _, err := range []error{
				d.WriteAt(ctx, p, 0, fua), submitOne(d, blockdev.Op{Kind: blockdev.OpWrite, Buf: p, FUA: fua}),
			} {
				require.ErrorIs(t, err, blockdev.ErrMedium)
				require.ErrorIs(t, err, unix.ENOSPC)
				require.ErrorContains(t, err, "write 524288 bytes at 0")
			}
			require.NoError(t, d.Discard(ctx, 0, devtest.Size))
			assert.NoError(t, d.WriteAt(ctx, p[:4096], 0, fua))
			assert.NoError(t, d.Flush(ctx))
			require.NoError(t, d.Close())
		}
	}
}
