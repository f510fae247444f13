package check_test

import (
	"context"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/check"
)

// repair repairs the volume and holds the outcome to what every repair promises.
func repair(t testing.TB, dev blockdev.Device, o check.RepairOptions) *check.RepairReport {
	t.Helper()
	rep, err := check.Repair(context.Background(), dev, o)
	require.NoError(t, err)
	require.NotNil(t, rep.Left)
	return rep
}

func mustMend(t testing.TB, dev blockdev.Device, o check.RepairOptions) *check.RepairReport {
	t.Helper()
	rep := repair(t, dev, o)
	require.Empty(t, rep.Stuck, "%v", rep.Left.Findings)
	require.True(t, rep.Left.Clean(), "%v", rep.Left.Findings)
	for _, f := range rep.Repaired {
		require.NotEmpty(t, f.Done, "%s", f)
	}
	return rep
}

// healing is a device with a sector that cannot be read until it was written.
type healing struct {
	badSectors
	well bool
}

func (d *healing) ReadAt(ctx context.Context, p []byte, off int64) error {
	if d.well {
		return d.badSectors.Device.ReadAt(ctx, p, off)
	}
	return d.badSectors.ReadAt(ctx, p, off)
}

func (d *healing) WriteAt(ctx context.Context, p []byte, off int64, fua bool) error {
	d.well = d.well || off <= d.off && d.off < off+int64(len(p))
	return d.badSectors.Device.WriteAt(ctx, p, off, fua)
}

func TestEveryFaultIsRepaired(t *testing.T) {
	for i, f := range faults() {
		if raced && i%9 != 0 {
			continue
		}
		t.Run(string(f.want)+" "+f.name, func(t *testing.T) {
			v, dev := f.make(t)
			before := v.dev.Hash()
			r, err := check.Check(context.Background(), dev, f.o)
			require.NoError(t, err)
			require.Equal(t, before, v.dev.Hash(), "a check changes nothing")
			whole := contents(v.dev, v.sb)
			if b, ok := dev.(*badSectors); ok {
				dev = &healing{badSectors: *b}
			}
			rep := mustMend(t, dev, check.RepairOptions{Deep: f.o.Deep})
			if !r.Clean() && !f.o.NoOverlay {
				assert.NotEmpty(t, rep.Repaired)
			}
			after := v.dev.Hash()
			again := mustMend(t, dev, check.RepairOptions{Deep: f.o.Deep})
			assert.Empty(t, again.Repaired)
			assert.False(t, again.Changed(), "a second repair has nothing to do")
			assert.Equal(t, after, v.dev.Hash())
			if !f.o.Deep {
				sameFiles(t, whole, contents(v.dev, v.sb), r)
			}
		})
	}
}

// make makes the volume and the device to check it on.
func (f fault) make(t *testing.T) (*vol, blockdev.Device) {
	v := busy(t, f.cluster)
	if f.model != nil {
		f.model(v)
	}
	v.write()
	v.data()
	if f.raw != nil {
		f.raw(v)
	}
	if f.dev != nil {
		return v, f.dev(v)
	}
	return v, v.dev
}

// data fills every written cluster of every file with bytes that tell it from all others.
func (v *vol) data() {
	k := uint64(v.sb.ClusterBlocks())
	for _, n := range v.inodes {
		for _, e := range n.extents {
			for blk := e.Physical * k; blk < (e.Physical+uint64(e.Length))*k; blk++ {
				if v.inodes[blk] != nil {
					continue // a fault put the extent over metadata
				}
				b := v.read(blk)
				if ondisk.CheckHeader(b, ondisk.GetHeader(b).Type, blk, v.sb.UUID) == nil {
					continue
				}
				binary.LittleEndian.PutUint64(b[100:], blk)
				v.put(blk, b)
			}
		}
	}
}
