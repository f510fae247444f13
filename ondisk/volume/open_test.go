package volume_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/blockdev/faultdev"
	"github.com/covol/covol/ondisk/blockdev/memdev"
	"github.com/covol/covol/ondisk/volume"
	"github.com/covol/covol/ondisk/volume/volumetest"
)

var ctx = context.Background()

const size = int64(256 << 20)

func put(t *testing.T, dev blockdev.Device, blk uint64, b []byte) {
	t.Helper()
	require.NoError(t, dev.WriteAt(ctx, b, int64(blk)*ondisk.BlockSize, false))
}

func TestOpenTakesTheFirstGoodSuperblock(t *testing.T) {
	b := volumetest.New(t, size, volumetest.Options())
	last := b.S.Blocks - 1
	junk := make([]byte, ondisk.BlockSize)
	torn := ondisk.EncodeSuper(b.S, 0)
	torn[700] ^= 1
	for _, c := range []struct {
		why  string
		bad  map[uint64][]byte
		used uint64
		note string
	}{
		{"all good", nil, 0, ""},
		{"torn", map[uint64][]byte{0: torn}, 8, "copy in block 8 was used, because: corrupt super in block 0: crc"},
		{"overwritten", map[uint64][]byte{0: junk}, 8, "magic"},
		{"two bad", map[uint64][]byte{0: junk, 8: junk}, last, fmt.Sprintf("copy in block %d was used", last)},
		{"copies bad", map[uint64][]byte{8: junk, last: junk}, 0, ""},
		{"a copy in the wrong place", map[uint64][]byte{0: ondisk.EncodeSuper(b.S, 8)}, 8, "own number"},
	} {
		dev := b.Dev.Clone()
		for blk, raw := range c.bad {
			put(t, dev, blk, raw)
		}
		s, note, err := volume.Open(ctx, dev)
		require.NoError(t, err, c.why)
		assert.Equal(t, b.S, s)
		if c.note == "" {
			assert.Nil(t, note, c.why)
			assert.Empty(t, note.String())
			continue
		}
		assert.Equal(t, c.used, note.Block)
		assert.Contains(t, note.String(), c.note)
	}
}

func TestOpenSaysWhyNot(t *testing.T) {
	b := volumetest.New(t, size, volumetest.Options())
	last := b.S.Blocks - 1
	open := func(change func(dev *memdev.Device)) error {
		dev := b.Dev.Clone()
		change(dev)
		_, _, err := volume.Open(ctx, dev)
		require.Error(t, err)
		return err
	}
	damaged := func(blk uint64) []byte {
		raw := ondisk.EncodeSuper(b.S, blk)
		raw[4000] ^= 1
		return raw
	}
	err := open(func(dev *memdev.Device) {
		for _, blk := range []uint64{0, 8, last} {
			put(t, dev, blk, damaged(blk))
		}
	})
	assert.ErrorIs(t, err, ondisk.ErrCorrupt)
	assert.ErrorContains(t, err, "nor a valid copy in blocks 8 and 65535")

	version := ondisk.EncodeSuper(b.S, 0)
	version[6]++
	ondisk.Seal(version)
	assert.ErrorIs(t, open(func(dev *memdev.Device) { put(t, dev, 0, version) }), ondisk.ErrVersion, "copies are not asked")

	feature := *b.S
	feature.Incompat = ondisk.IncompatShared
	assert.ErrorIs(t, open(func(dev *memdev.Device) { put(t, dev, 0, ondisk.EncodeSuper(&feature, 0)) }), ondisk.ErrVersion)

	none := make([]byte, ondisk.BlockSize)
	err = open(func(dev *memdev.Device) { put(t, dev, 0, none); put(t, dev, 8, none); put(t, dev, last, none) })
	assert.ErrorIs(t, err, volume.ErrNotVolume)
	assert.ErrorContains(t, err, "nothing known")
	copy(none, "XFSB")
	err = open(func(dev *memdev.Device) { put(t, dev, 0, none); put(t, dev, 8, none); put(t, dev, last, none) })
	assert.ErrorIs(t, err, volume.ErrNotVolume)
	assert.ErrorContains(t, err, "XFS")

	short := memdev.New(blockdev.Geometry{SectorSize: 512, Size: size - 512}, b.Dev.Image())
	_, _, err = volume.Open(ctx, short)
	assert.ErrorIs(t, err, volume.ErrShort)
	assert.ErrorContains(t, err, "superblock says 65536 blocks of 4096 bytes, the device has 65535")
	for _, n := range []int64{0, 512, 4096, 5 * 4096, 9 * 4096} {
		_, _, err = volume.Open(ctx, memdev.New(blockdev.Geometry{SectorSize: 512, Size: n}, nil))
		assert.ErrorIs(t, err, volume.ErrNotVolume, "%d bytes", n)
	}
	stopped, cancel := context.WithCancel(ctx)
	cancel()
	_, _, err = volume.Open(stopped, b.Dev)
	assert.ErrorIs(t, err, context.Canceled)
}

func TestOpenWithUnreadableBlocks(t *testing.T) {
	b := volumetest.New(t, size, volumetest.Options())
	_, note, err := volume.Open(ctx, faultdev.New(b.Dev, faultdev.Must("read 0..4096 error")))
	require.NoError(t, err)
	assert.Equal(t, uint64(8), note.Block)
	assert.ErrorIs(t, note.Why, blockdev.ErrMedium)
	empty := memdev.New(b.Dev.Geometry(), nil)
	for _, where := range []string{"0..4096", "32768..36864", fmt.Sprintf("%d..%d", size-4096, size)} {
		_, _, err = volume.Open(ctx, faultdev.New(empty, faultdev.Must("read "+where+" error")))
		assert.ErrorIs(t, err, blockdev.ErrMedium, "what cannot be read may be a superblock: %s", where)
	}
}

// The real tools of each format make one, and Identify must name it.
func TestIdentifyWhatRealToolsMake(t *testing.T) {
	for _, c := range []struct {
		want string
		tool []string
	}{
		{"an ext2 file system", []string{"mkfs.ext2", "-q", "-F"}},
		{"an ext3 file system", []string{"mkfs.ext3", "-q", "-F"}},
		{"an ext4 file system", []string{"mkfs.ext4", "-q", "-F"}},
		{"an XFS file system", []string{"mkfs.xfs", "-q", "-f"}},
		{"a Btrfs file system", []string{"mkfs.btrfs", "-q", "-f"}},
		{"an NTFS file system", []string{"mkfs.ntfs", "-q", "-F", "-f"}},
		{"a FAT file system", []string{"mkfs.vfat"}},
		{"Linux swap space", []string{"mkswap"}},
		{"a qcow2 image", []string{"qemu-img", "create", "-q", "-f", "qcow2"}},
	} {
		t.Run(c.want, func(t *testing.T) {
			tool, err := exec.LookPath(c.tool[0])
			if err != nil {
				if tool, err = exec.LookPath("/usr/sbin/" + c.tool[0]); err != nil {
					t.Skipf("SKIP: no %s on this machine", c.tool[0])
				}
			}
			path := filepath.Join(t.TempDir(), "img")
			args := append(c.tool[1:], path)
			if c.tool[0] == "qemu-img" {
				args = append(args, "320M")
			} else {
				require.NoError(t, os.WriteFile(path, nil, 0o600))
				require.NoError(t, os.Truncate(path, 320<<20))
			}
			out, err := exec.Command(tool, args...).CombinedOutput()
			require.NoError(t, err, "%s", out)
			f, err := os.Open(path)
			require.NoError(t, err)
			defer func() { _ = f.Close() }()
			head := make([]byte, 2<<20)
			_, _ = f.ReadAt(head, 0)
			img := memdev.NewImage()
			img.Write(head, 0)
			got, err := volume.Identify(ctx, memdev.New(blockdev.Geometry{SectorSize: 512, Size: 320 << 20}, img))
			require.NoError(t, err)
			assert.Equal(t, c.want, got)
		})
	}
}

func TestIdentifySignatures(t *testing.T) {
	for _, c := range []struct {
		off        int64
		data, want string
	}{
		{0, "", ""},
		{0, "vhdxfile", "a VHDX image"},
		{0, "KDMV", "a VMDK image"},
		{0, "LUKS\xba\xbe", "a LUKS volume"},
		{0x10000, "\x01\x16\x19\x70", "a GFS2 file system"},
		{0x1000, "OCFSV2", "an OCFS2 file system"},
		{1 << 20, "\x0d\xd0\x01\xc0", "a VMFS volume"},
		{0x1000, "\xfc\x4e\x2b\xa9", "a Linux RAID member"},
		{3, "EXFAT   ", "an exFAT file system"},
		{0x8001, "CD001", "an ISO 9660 image"},
		{4096, "EFI PART", "a GPT partition table"},
		{size - 512, "EFI PART", "a GPT partition table (its backup)"},
		{0, "covl", "a covol volume"},
		{8 * 4096, "covl", "a covol volume"},
		{size - 4096, "covl", "a covol volume"},
		{510, "\x55\xaa", ""}, // a boot sector without partitions
		{2 << 20, "XFSB", ""},
	} {
		img := memdev.NewImage()
		img.Write([]byte(c.data), c.off)
		got, err := volume.Identify(ctx, memdev.New(blockdev.Geometry{SectorSize: 512, Size: size}, img))
		require.NoError(t, err)
		assert.Equal(t, c.want, got, "%q at %#x", c.data, c.off)
	}
}
