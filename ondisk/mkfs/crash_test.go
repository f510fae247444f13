package mkfs_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/blockdev/faultdev"
	"github.com/covol/covol/ondisk/blockdev/memdev"
	"github.com/covol/covol/ondisk/blockdev/writelog"
	"github.com/covol/covol/ondisk/mkfs"
	"github.com/covol/covol/ondisk/volume"
	"github.com/covol/covol/ondisk/volume/volumetest"
)

// befores are what was on the device of 300 MiB.
func befores(t *testing.T) map[string]*memdev.Image {
	smaller := volumetest.Sample(t).Dev.Image()
	same := newDev(300 * mib)
	o := fixed()
	o.UUID = ondisk.UUID{0xee}
	_, err := mkfs.Format(context.Background(), same, o)
	require.NoError(t, err)
	return map[string]*memdev.Image{"nothing": memdev.NewImage(), "a smaller volume": smaller, "a volume of the same size": same.Image()}
}

func supersOf(img *memdev.Image) map[int64]bool {
	places := map[int64]bool{}
	b := make([]byte, ondisk.BlockSize)
	for _, n := range img.Pages() {
		img.Read(b, n*ondisk.BlockSize)
		if volume.IsCovol(b) && ondisk.GetHeader(b).Type == ondisk.TypeSuper {
			places[n] = true
		}
	}
	return places
}

// sameBut reports where two images differ, but for the blocks in except.
func sameBut(t *testing.T, want, got *memdev.Image, except map[int64]bool, why string) {
	t.Helper()
	a, b := make([]byte, ondisk.BlockSize), make([]byte, ondisk.BlockSize)
	for _, n := range append(want.Pages(), got.Pages()...) {
		if want.Read(a, n*ondisk.BlockSize); !except[n] {
			if got.Read(b, n*ondisk.BlockSize); !bytes.Equal(a, b) {
				t.Fatalf("block %d differs: %s", n, why)
			}
		}
	}
}

// Power fails at any write, with any subset of what was not flushed, torn or not: the device then holds no volume, the
// old one untouched, or the new one complete.
func TestCrashLeavesTheOldVolumeOrNoneOrTheNewOne(t *testing.T) {
	for before, base := range befores(t) {
		t.Run(before, func(t *testing.T) {
			geo := blockdev.Geometry{SectorSize: 512, Size: 300 * mib}
			dev := memdev.New(geo, base.Fork())
			old, _, oldErr := volume.Open(context.Background(), dev)
			log := writelog.New(dev, base)
			o := fixed()
			o.UUID, o.Force, o.GroupBlocks = ondisk.UUID{0x11}, true, 40_000 // few groups, few writes
			_, err := mkfs.Format(context.Background(), log, o)
			require.NoError(t, err)
			final, was := dev.Image(), base.Fork()
			newSupers, oldSupers := supersOf(final), supersOf(was)
			none, kept, made := 0, 0, 0
			for c, disk := range log.Crashes(writelog.Options{Exhaustive: 4, Samples: 6, Torn: true, Seed: 1}) {
				s, _, err := volume.Open(context.Background(), disk)
				switch {
				case err != nil:
					none++
				case s.UUID == o.UUID:
					made++
					sameBut(t, final, disk.Image(), newSupers, c.String())
				default:
					require.NoError(t, oldErr)
					require.Equal(t, old, s)
					kept++
					sameBut(t, was, disk.Image(), oldSupers, c.String())
				}
			}
			require.NotZero(t, none)
			require.NotZero(t, made)
			require.Equal(t, oldErr == nil, kept > 0)
		})
	}
}

// Operation N fails, for N = 1, 2, 3 until none is left: Format says so, and there is no new volume, unless all but the
// last steps were done.
func TestFailOperationN(t *testing.T) {
	for n := 1; ; n++ {
		dev := newDev(256 * mib)
		faulty := faultdev.New(dev, faultdev.Must(fmt.Sprintf("any #%d error", n)))
		_, err := mkfs.Format(context.Background(), faulty, fixed())
		if faulty.Strikes() == 0 {
			require.NoError(t, err)
			require.Greater(t, n, 30)
			return
		}
		require.ErrorContains(t, err, "mkfs: ", "operation %d failed and nobody was told", n)
		require.True(t, faultdev.Injected(err), "%v", err)
		s, _, opened := volume.Open(context.Background(), dev)
		if opened == nil {
			checkRest(t, dev, s)
		}
	}
}
