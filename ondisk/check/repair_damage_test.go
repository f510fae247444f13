package check_test

import (
	"context"
	"errors"
	"flag"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev/memdev"
	"github.com/covol/covol/ondisk/check"
)

var (
	damageSeeds = flag.Uint64("damage.seeds", few(100, 6), "how many seeds of random damage to try")
	damageSeed  = flag.Int64("damage.seed", -1, "the only seed of random damage to try")
)

// few is n, or less under the race detector.
func few(n, less uint64) uint64 {
	if raced {
		return less
	}
	return n
}

// populated is a busy volume with data in its files, and its metadata blocks.
type populated struct {
	v      *vol
	blocks []uint64
	files  *files
}

var thePopulated = sync.OnceValue(func() *populated {
	v := busy(&testing.B{}, 0)
	v.write()
	v.data()
	p := &populated{v: v, files: contents(v.dev, v.sb)}
	for _, blk := range v.dev.Image().Pages() {
		b := v.read(uint64(blk))
		h := ondisk.GetHeader(b)
		if ondisk.CheckHeader(b, h.Type, uint64(blk), v.sb.UUID) == nil {
			p.blocks = append(p.blocks, uint64(blk))
		}
	}
	return p
})

// damage does n random things to metadata blocks of dev and returns the blocks that it touched.
func (p *populated) damage(dev *memdev.Device, rng *rand.Rand, n int) map[uint64]bool {
	touched := map[uint64]bool{}
	at := func() uint64 { return p.blocks[rng.IntN(len(p.blocks))] }
	ctx := context.Background()
	read := func(blk uint64) []byte {
		b := make([]byte, ondisk.BlockSize)
		_ = dev.ReadAt(ctx, b, int64(blk)*ondisk.BlockSize)
		return b
	}
	put := func(blk uint64, b []byte) {
		touched[blk] = true
		_ = dev.WriteAt(ctx, b, int64(blk)*ondisk.BlockSize, false)
	}
	for range n {
		blk := at()
		b := read(blk)
		switch rng.IntN(8) {
		case 0: // one bit
			b[rng.IntN(len(b))] ^= 1 << rng.IntN(8)
			put(blk, b)
		case 1:
			put(blk, make([]byte, len(b)))
		case 2: // torn
			sector := rng.IntN(8) * 512
			for i := range 512 {
				b[sector+i] = byte(rng.Uint32())
			}
			put(blk, b)
		case 3: // swapped
			other := at()
			c := read(other)
			put(blk, c)
			put(other, b)
		case 4: // misdirected
			put(at(), b)
		case 5, 6: // by a program with a bug: sealed
			off := ondisk.HeaderSize + rng.IntN(300)
			b[off] = byte(rng.Uint32())
			ondisk.Seal(b)
			put(blk, b)
		case 7: // a number of another block
			off := ondisk.HeaderSize + rng.IntN(ondisk.BlockSize-ondisk.HeaderSize-8)
			copy(b[off:], read(at())[8:16])
			ondisk.Seal(b)
			put(blk, b)
		}
	}
	return touched
}

// untouched are the inodes of which neither record nor tree lies in a touched block.
func (p *populated) untouched(touched map[uint64]bool) *files {
	out := &files{digest: map[uint64]uint64{}, paths: map[string]uint64{}}
	hit := map[uint64]bool{}
	for ino := range p.v.inodes {
		hit[ino] = touched[ino]
		for _, blk := range p.v.nodes[ino] {
			hit[ino] = hit[ino] || touched[blk]
		}
	}
	for ino, d := range p.files.digest {
		if !hit[ino] {
			out.digest[ino] = d
		}
	}
	for path, ino := range p.files.paths {
		if !hit[ino] {
			out.paths[path] = ino
		}
	}
	return out
}

// judgeRepair repairs a damaged volume and holds the outcome to the promises.
func judgeRepair(t *testing.T, dev *memdev.Device) *check.RepairReport {
	t.Helper()
	rep, err := check.Repair(context.Background(), dev, check.RepairOptions{})
	if err != nil {
		require.True(t, errors.Is(err, ondisk.ErrCorrupt) || errors.Is(err, ondisk.ErrVersion), "%v", err)
		return nil
	}
	if rep.Stuck != "" {
		t.Logf("stuck: %s: %v", rep.Stuck, rep.Left.Findings)
		require.False(t, rep.Left.Clean())
		return rep
	}
	require.True(t, rep.Left.Clean())
	again := mustMend(t, dev, check.RepairOptions{})
	require.False(t, again.Changed(), "%v", again.Repaired)
	return rep
}

func TestRandomDamageIsRepaired(t *testing.T) {
	p := thePopulated()
	stuck := 0
	for seed := range *damageSeeds {
		if *damageSeed >= 0 && seed != uint64(*damageSeed) {
			continue
		}
		if *damageSeed >= 0 {
			seed = uint64(*damageSeed)
		}
		ok := t.Run("", func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 11))
			dev := p.v.dev.Clone()
			touched := p.damage(dev, rng, 1+rng.IntN(6))
			rep := judgeRepair(t, dev)
			if rep == nil {
				return
			}
			if rep.Stuck != "" {
				stuck++
				return
			}
			sameFiles(t, p.untouched(touched), contents(dev, p.v.sb), &check.Report{})
		})
		if !ok {
			t.Errorf("again: go test ./ondisk/check -run TestRandomDamageIsRepaired -damage.seed %d -damage.seeds %d", seed, seed+1)
		}
	}
	assert.Zero(t, stuck, "repairs that gave up")
}

func TestHostileVolumesAreRepaired(t *testing.T) {
	h := theHostile()
	for seed := range *damageSeeds / 2 {
		patches := randomPatches(rand.New(rand.NewPCG(seed, 2)))
		ok := t.Run("", func(t *testing.T) { judgeRepair(t, h.damage(patches)) })
		if !ok {
			t.Errorf("seed %d", seed)
		}
	}
}

func FuzzRepair(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(randomPatches(rand.New(rand.NewPCG(seed, 3))))
	}
	f.Fuzz(func(t *testing.T, patches []byte) {
		judgeRepair(t, theHostile().damage(patches[:min(len(patches), 64*patchSize)]))
	})
}
