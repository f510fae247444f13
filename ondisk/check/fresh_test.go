package check_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/blockdev/memdev"
	"github.com/covol/covol/ondisk/check/checktest"
	"github.com/covol/covol/ondisk/mkfs"
)

// format makes a volume in memory.
func format(t testing.TB, size int64, o mkfs.Options) (*memdev.Device, *ondisk.Super) {
	t.Helper()
	dev := memdev.New(blockdev.Geometry{SectorSize: 512, Size: size}, nil)
	o.NoDiscard = true
	sb, err := mkfs.Format(context.Background(), dev, o)
	require.NoError(t, err)
	return dev, sb
}

func TestFreshVolumesAreClean(t *testing.T) {
	for _, v := range []struct {
		name    string
		size    int64
		cluster uint32
	}{
		{"smallest", ondisk.MinVolume, 0},
		{"1 GiB of 4 KiB", 1 << 30, 4 << 10},
		{"1 GiB of 64 KiB", 1 << 30, 64 << 10},
		{"1 GiB of 1 MiB", 1 << 30, 1 << 20},
		{"odd size", 1<<30 + 3*4096 + 512, 0},
		{"100 GiB", 100 << 30, 0},
		{"1 TiB of 4 KiB", 1 << 40, 4 << 10},
		{"64 TiB", ondisk.MaxVolume, 0},
	} {
		t.Run(v.name, func(t *testing.T) {
			dev, sb := format(t, v.size, mkfs.Options{ClusterSize: v.cluster, Label: "fresh"})
			r := checktest.MustBeClean(t, dev)
			assert.Empty(t, r.Findings)
			assert.Equal(t, sb.UUID.String(), r.UUID)
			assert.EqualValues(t, 1, r.Stats.Dirs)
			assert.Equal(t, sb.FreeClusters, r.Stats.ClustersFree)
		})
	}
}
