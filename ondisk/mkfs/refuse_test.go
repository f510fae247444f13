package mkfs_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/blockdev/memdev"
	"github.com/covol/covol/ondisk/mkfs"
	"github.com/covol/covol/ondisk/volume"
	"github.com/covol/covol/ondisk/volume/volumetest"
)

// refused formats and wants an error of that class and an untouched device.
func refused(t *testing.T, dev *memdev.Device, o mkfs.Options, class error, text string) {
	t.Helper()
	before := dev.Hash()
	_, err := mkfs.Format(context.Background(), dev, o)
	require.ErrorIs(t, err, class)
	require.ErrorContains(t, err, text)
	require.Equal(t, before, dev.Hash(), "the device was changed")
}

func TestRefusesSizesAndOptions(t *testing.T) {
	refused(t, newDev(256*mib-512), fixed(), mkfs.ErrTooSmall, "268434944")
	refused(t, newDev(0), fixed(), mkfs.ErrTooSmall, "")
	refused(t, newDev(64*tib+4096), fixed(), mkfs.ErrTooLarge, "")
	for text, change := range map[string]func(o *mkfs.Options){
		"label":         func(o *mkfs.Options) { o.Label = strings.Repeat("x", 65) },
		"control":       func(o *mkfs.Options) { o.Label = "a\nb" },
		"UTF-8":         func(o *mkfs.Options) { o.Label = "\xff" },
		"cluster size":  func(o *mkfs.Options) { o.ClusterSize = 5000 },
		"power of two":  func(o *mkfs.Options) { o.ClusterSize = 2 << 20 },
		"slots":         func(o *mkfs.Options) { o.Slots = 256 },
		"journal":       func(o *mkfs.Options) { o.JournalBytes = 4096 },
		"groups":        func(o *mkfs.Options) { o.GroupBlocks = 100 },
		"whole":         func(o *mkfs.Options) { o.GroupBlocks, o.ClusterSize = 2049, 8192 },
		"default, san":  func(o *mkfs.Options) { o.Profile = "slow" },
		"want 1048576 ": func(o *mkfs.Options) { o.JournalBytes = 2 << 30 },
	} {
		o := fixed()
		change(&o)
		refused(t, newDev(256*mib), o, mkfs.ErrOption, text)
	}
	o := fixed()
	o.Slots, o.JournalBytes = 200, 1<<20
	refused(t, newDev(256*mib), o, mkfs.ErrTooSmall, "more than half")
}

func TestOptionsReachTheVolume(t *testing.T) {
	for _, c := range []uint32{4 << 10, 16 << 10, 1 << 20} {
		o := fixed()
		o.ClusterSize, o.Slots, o.JournalBytes, o.Profile, o.Label = c, 3, 5<<20, "fast", strings.Repeat("ä", 32)
		var last, total int64
		o.Progress = func(done, of int64) { require.Equal(t, last+1, done); last, total = done, of }
		dev := newDev(gib)
		s, err := mkfs.Format(context.Background(), dev, o)
		require.NoError(t, err)
		require.Equal(t, total, last)
		require.Equal(t, []any{c, uint32(3), uint32(1280), 200 * time.Millisecond, o.Label}, []any{s.ClusterSize, s.Slots, s.JournalBlocks, s.Profile.Heartbeat, s.Label})
		checkVolume(t, dev, s)
	}
	a, err := mkfs.Format(context.Background(), newDev(256*mib), mkfs.Options{})
	require.NoError(t, err)
	b, err := mkfs.Format(context.Background(), newDev(256*mib), mkfs.Options{})
	require.NoError(t, err)
	assert.NotEqual(t, a.UUID, b.UUID)
	assert.NotEqual(t, a.HashSeed, b.HashSeed)
}

func TestRefusesWhatIsThereWithoutForce(t *testing.T) {
	for text, put := range map[string]struct {
		off  int64
		data string
	}{
		"a GPT partition table":  {512, "EFI PART"},
		"an XFS file system":     {0, "XFSB"},
		"a Btrfs file system":    {0x10000, strings.Repeat("\x00", 64) + "_BHRfS_M"},
		"an LVM2 physical vol":   {512, "LABELONE" + strings.Repeat("\x00", 16) + "LVM2 001"},
		"a LUKS volume":          {0, "LUKS\xba\xbe\x00\x02"},
		"Linux swap space":       {0, strings.Repeat("\x00", 4086) + "SWAPSPACE2"},
		"(its backup)":           {256*mib - 512, "EFI PART"},
		"an MBR partition table": {0, strings.Repeat("\x00", 446) + "\x80\x00\x00\x00\x83" + strings.Repeat("\x00", 59) + "\x55\xaa"},
	} {
		dev := newDev(256 * mib)
		img := dev.Image()
		img.Write([]byte(put.data), put.off)
		dev = memdev.New(dev.Geometry(), img)
		refused(t, dev, fixed(), mkfs.ErrOccupied, text)
		o := fixed()
		o.Force = true
		s, err := mkfs.Format(context.Background(), dev, o)
		require.NoError(t, err)
		checkVolume(t, dev, s)
		what, err := volume.Identify(context.Background(), dev)
		require.NoError(t, err)
		require.Equal(t, "a covol volume", what, "the old signature is still seen")
	}
	refused(t, volumetest.Sample(t).Dev, fixed(), mkfs.ErrOccupied, `label "test"`)
}

func TestRefusesAVolumeInUse(t *testing.T) {
	b := volumetest.Sample(t)
	join := func(state ondisk.SlotState, member uint32) *memdev.Device {
		dev := b.Dev.Clone()
		for blk, raw := range map[uint64][]byte{
			ondisk.ViewBlock: ondisk.EncodeView(b.S, &ondisk.View{Epoch: 2, Members: []uint32{0, member}}),
			b.S.SlotBlock(1): ondisk.EncodeSlot(b.S, &ondisk.Slot{Index: 1, State: state, Incarnation: 3, Name: "n1", Addr: "host:7"}),
		} {
			require.NoError(t, dev.WriteAt(context.Background(), raw, int64(blk)*ondisk.BlockSize, false))
		}
		return dev
	}
	force, proof, busy := fixed(), fixed(), fixed()
	force.Force = true
	proof.Force, proof.InUse = true, func() error { return nil }
	busy.Force, busy.InUse = true, func() error { return errors.New("process 42 has it") }
	for _, state := range []ondisk.SlotState{ondisk.SlotActive, ondisk.SlotLeaving} {
		refused(t, join(state, 3), fixed(), mkfs.ErrInUse, `node "n1" at host:7 in slot 1`)
		refused(t, join(state, 3), force, mkfs.ErrInUse, `node "n1"`)
	}
	refused(t, join(ondisk.SlotJoining, 0), force, mkfs.ErrInUse, `node "n1"`)
	refused(t, join(ondisk.SlotFree, 0), busy, mkfs.ErrInUse, "process 42")
	refused(t, newDev(256*mib), busy, mkfs.ErrInUse, "process 42")
	_, err := mkfs.Format(context.Background(), join(ondisk.SlotActive, 3), proof)
	require.NoError(t, err)
	_, err = mkfs.Format(context.Background(), join(ondisk.SlotActive, 0), force) // recovered, slot not yet reset
	require.NoError(t, err)

	dev := join(ondisk.SlotActive, 3)
	require.NoError(t, dev.WriteAt(context.Background(), make([]byte, ondisk.BlockSize), int64(b.S.SlotBlock(1))*ondisk.BlockSize, false))
	refused(t, dev, force, mkfs.ErrInUse, "slot 1 is in the view")
}

func TestOddSizesUseTheWholeBlocks(t *testing.T) {
	for _, sector := range []int{512, 4096} {
		size := (300*mib + 3*512) / int64(sector) * int64(sector)
		dev := memdev.New(blockdev.Geometry{SectorSize: sector, Size: size}, nil)
		s, err := mkfs.Format(context.Background(), dev, fixed())
		require.NoError(t, err)
		require.Equal(t, uint64(300*mib/4096), s.Blocks)
		checkVolume(t, dev, s)
	}
	for n := range int64(100) { // remainders of groups and clusters
		dev := newDev(256*mib + n*4096*49)
		o := fixed()
		o.ClusterSize, o.NoDiscard = 256<<10, true
		s, err := mkfs.Format(context.Background(), dev, o)
		require.NoError(t, err)
		last := s.Groups - 1
		require.Greater(t, s.GroupClusters(last), s.GroupMetaClusters())
		require.Less(t, s.GroupFirst(last)+uint64(s.GroupBlocksOf(last)), s.Blocks)
	}
}
