package volume

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"

	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
)

// identifyWindow covers every signature looked for, in bytes: the farthest is that of VMFS, at 1 MiB.
const identifyWindow = 1<<20 + 64<<10

// Identify names what the device seems to hold, with its article ("an ext4 file system"), or returns "" if no known
// signature is there. It is a guard against accidents, not a proof: data without a signature is not seen.
func Identify(ctx context.Context, dev blockdev.Device) (string, error) {
	g := dev.Geometry()
	b := blockdev.Alloc(identifyWindow)
	n := min(int64(len(b)), g.Size)
	if err := dev.ReadAt(ctx, b[:n], 0); err != nil {
		return "", fmt.Errorf("look for signatures: %w", err)
	}
	if what := identify(b); what != "" {
		return what, nil
	}
	if blocks := uint64(g.Size) / ondisk.BlockSize; blocks > 0 {
		last, err := ReadBlock(ctx, dev, blocks-1)
		if err != nil {
			return "", fmt.Errorf("look for signatures: %w", err)
		}
		if IsCovol(last) {
			return "a covol volume", nil
		}
		if bytes.HasPrefix(last[ondisk.BlockSize-512:], []byte("EFI PART")) {
			return "a GPT partition table (its backup)", nil
		}
	}
	return "", nil
}

// signature is a text at a fixed offset.
type signature struct {
	off  int
	text string
	what string
}

var signatures = []signature{
	{0, "QFI\xfb", "a qcow2 image"},
	{0, "vhdxfile", "a VHDX image"},
	{0, "KDMV", "a VMDK image"},
	{0, "LUKS\xba\xbe", "a LUKS volume"},
	{0, "XFSB", "an XFS file system"},
	{0x10040, "_BHRfS_M", "a Btrfs file system"},
	{0x10000, "\x01\x16\x19\x70", "a GFS2 file system"},
	{0x800, "OCFSV2", "an OCFS2 file system"},
	{0x1000, "OCFSV2", "an OCFS2 file system"},
	{0x2000, "OCFSV2", "an OCFS2 file system"},
	{0x100000, "\x0d\xd0\x01\xc0", "a VMFS volume"},
	{0, "\xfc\x4e\x2b\xa9", "a Linux RAID member"},
	{0x1000, "\xfc\x4e\x2b\xa9", "a Linux RAID member"},
	{3, "NTFS    ", "an NTFS file system"},
	{3, "EXFAT   ", "an exFAT file system"},
	{0x8001, "CD001", "an ISO 9660 image"},
	{0, "hsqs", "a SquashFS image"},
	{0x1000 - 10, "SWAPSPACE2", "Linux swap space"},
	{0x1000 - 10, "SWAP-SPACE", "Linux swap space"},
	{0x4000 - 10, "SWAPSPACE2", "Linux swap space"},
	{0x10000 - 10, "SWAPSPACE2", "Linux swap space"},
}

// identify looks at the first bytes of a device, at least identifyWindow of them.
func identify(b []byte) string {
	if IsCovol(b) || IsCovol(b[ondisk.SuperCopyBlock*ondisk.BlockSize:]) {
		return "a covol volume"
	}
	for sector := range 4 {
		if s := b[512*sector:]; bytes.HasPrefix(s, []byte("LABELONE")) && bytes.HasPrefix(s[24:], []byte("LVM2")) {
			return "an LVM2 physical volume"
		}
	}
	for _, s := range signatures {
		if bytes.HasPrefix(b[s.off:], []byte(s.text)) {
			return s.what
		}
	}
	if what := identifyExt(b[1024:2048]); what != "" {
		return what
	}
	for _, off := range []int{512, 4096} {
		if bytes.HasPrefix(b[off:], []byte("EFI PART")) {
			return "a GPT partition table"
		}
	}
	if b[510] == 0x55 && b[511] == 0xaa {
		return identifyBoot(b[:512])
	}
	return ""
}

// identifyExt looks at the superblock of ext2, ext3 or ext4 and tells them apart as blkid does: by what only the
// younger ones can have.
func identifyExt(b []byte) string {
	le := binary.LittleEndian
	if le.Uint16(b[0x38:]) != 0xef53 {
		return ""
	}
	compat, incompat, ro := le.Uint32(b[0x5c:]), le.Uint32(b[0x60:]), le.Uint32(b[0x64:])
	switch {
	case incompat&^uint32(0x16) != 0 || ro&^uint32(0x7) != 0: // beyond filetype, recover, meta_bg; sparse, large, btree
		return "an ext4 file system"
	case compat&0x4 != 0:
		return "an ext3 file system"
	}
	return "an ext2 file system"
}

// identifyBoot looks at a boot sector, which has its mark: FAT, or a partition table with at least one partition.
func identifyBoot(b []byte) string {
	if bytes.HasPrefix(b[82:], []byte("FAT32")) || bytes.HasPrefix(b[54:], []byte("FAT1")) {
		return "a FAT file system"
	}
	for i := range 4 {
		if p := b[446+16*i:]; p[0]&0x7f == 0 && p[4] != 0 {
			return "an MBR partition table"
		}
	}
	return ""
}
