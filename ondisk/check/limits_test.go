package check_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/blockdev/memdev"
	"github.com/covol/covol/ondisk/check"
	"github.com/covol/covol/ondisk/mkfs"
)

func TestCheckCouldNotRun(t *testing.T) {
	bg := context.Background()
	t.Run("nothing there", func(t *testing.T) {
		_, err := check.Check(bg, memdev.New(blockdev.Geometry{SectorSize: 512, Size: 1 << 30}, nil), check.Options{})
		assert.ErrorIs(t, err, ondisk.ErrCorrupt)
	})
	t.Run("tiny device", func(t *testing.T) {
		for _, size := range []int64{0, 512, 4096} {
			_, err := check.Check(bg, memdev.New(blockdev.Geometry{SectorSize: 512, Size: size}, nil), check.Options{})
			assert.ErrorIs(t, err, ondisk.ErrCorrupt, "size %d", size)
		}
	})
	t.Run("device cut short", func(t *testing.T) {
		dev, _ := format(t, 1<<30, mkfs.Options{})
		_, err := check.Check(bg, memdev.New(blockdev.Geometry{SectorSize: 512, Size: 1 << 29}, dev.Image()), check.Options{})
		require.ErrorIs(t, err, ondisk.ErrCorrupt)
		assert.ErrorContains(t, err, "the device has 131072 blocks, the volume 262144")
	})
	t.Run("unknown feature", func(t *testing.T) {
		v := busy(t, 0)
		sb := *v.sb
		sb.Incompat = 1 << 9
		v.put(0, ondisk.EncodeSuper(&sb, 0))
		_, err := check.Check(bg, v.dev, check.Options{})
		assert.ErrorIs(t, err, ondisk.ErrVersion)
	})
	t.Run("memory", func(t *testing.T) {
		v := busy(t, 0)
		v.write()
		_, err := check.Check(bg, v.dev, check.Options{MemoryLimit: 4000})
		assert.ErrorIs(t, err, check.ErrMemory)
		_, err = check.Check(bg, v.dev, check.Options{MemoryLimit: 1 << 20})
		assert.NoError(t, err)
	})
	t.Run("context", func(t *testing.T) {
		v := busy(t, 0)
		v.write()
		ctx, cancel := context.WithCancel(bg)
		dev := &counter{Device: v.dev}
		dev.fail = func(n, _, _ int64) error {
			if n == 20 {
				cancel()
			}
			return ctx.Err()
		}
		_, err := check.Check(ctx, dev, check.Options{})
		assert.ErrorIs(t, err, context.Canceled)
	})
}

// TestEveryReadMayFail fails read number 1, 2, 3 and so on until there is none left to fail.
func TestEveryReadMayFail(t *testing.T) {
	v := busy(t, 0)
	v.write()
	v.journal(0, 3, txn{write: [][]byte{v.copyOf(v.inoOf("a"))}})
	broken := errors.New("cable pulled")
	for _, class := range []error{broken, blockdev.ErrMedium} {
		for n := int64(1); ; n++ {
			dev := &counter{Device: v.dev, fail: func(i, _, _ int64) error {
				if i == n {
					return class
				}
				return nil
			}}
			r, err := check.Check(context.Background(), dev, check.Options{})
			if dev.reads < n {
				assert.Greater(t, n, int64(30))
				break
			}
			if class == broken {
				require.ErrorIs(t, err, broken, "read %d", n)
				continue
			}
			require.NoError(t, err, "read %d", n)
			require.True(t, r.Clean(), "read %d failed once, and was not tried again", n)
		}
	}
}

// TestEveryBlockMayBeUnreadable makes blocks in use unreadable, every third for good: a finding, unless the block is redundant.
func TestEveryBlockMayBeUnreadable(t *testing.T) {
	v := busy(t, 0)
	v.write()
	step := 3
	if testing.Short() {
		step = 11
	}
	pages := v.dev.Image().Pages()
	var silent []int64
	for i := 0; i < len(pages); i += step {
		dev := &badSectors{Device: v.dev, off: pages[i]*ondisk.BlockSize + 1024}
		r, err := check.Check(context.Background(), dev, check.Options{})
		require.NoError(t, err, "block %d", pages[i])
		if r.Clean() {
			silent = append(silent, pages[i])
		}
	}
	for _, p := range silent {
		blk := uint64(p)
		head := blk >= v.sb.JournalStart(0) && (blk-v.sb.JournalStart(0))%uint64(v.sb.JournalBlocks) < ondisk.JournalHeads
		zeros := slices.Max(v.read(blk)) == 0
		freed := slices.ContainsFunc(v.inodes[v.sb.FreeLogBlock(0)].slots, func(s kv) bool { return s.key == blk })
		assert.True(t, head || zeros || freed, "block %d is needed and nobody missed it", blk)
	}
}

func TestProgressEndsAndPhasesAreInOrder(t *testing.T) {
	v := busy(t, 0)
	v.write()
	var phases []string
	_, err := check.Check(context.Background(), v.dev, check.Options{Progress: func(phase string, done, total int64) {
		phases = append(phases, phase)
		assert.LessOrEqual(t, done, max(total, done))
	}})
	require.NoError(t, err)
	assert.Equal(t, []string{"super", "journals", "fixed", "names", "system", "groups", "counters"}, slices.Compact(phases))
}

// TestSameVolumeSameReport holds the order of findings to the volume alone.
func TestSameVolumeSameReport(t *testing.T) {
	h := theHostile()
	patches := make([]byte, 0, 8*patchSize)
	for i := range byte(8) {
		patches = append(patches, i*29, 1, 90+i, 0, 2, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0)
	}
	first := h.judge(t, patches)
	for range 5 {
		assert.Equal(t, first, h.judge(t, patches))
	}
}
