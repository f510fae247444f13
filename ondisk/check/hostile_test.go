package check_test

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/blockdev/memdev"
	"github.com/covol/covol/ondisk/check"
)

// counter counts what is read through it, and may fail a read.
type counter struct {
	blockdev.Device
	reads, bytes int64
	fail         func(n, off, length int64) error
}

func (d *counter) ReadAt(ctx context.Context, p []byte, off int64) error {
	d.reads++
	d.bytes += int64(len(p))
	if d.fail != nil {
		if err := d.fail(d.reads, off, int64(len(p))); err != nil {
			return err
		}
	}
	return d.Device.ReadAt(ctx, p, off)
}

func (d *counter) WriteAt(context.Context, []byte, int64, bool) error {
	panic("K1: check writes")
}

// hostile is a busy volume with dirty journals, and the blocks of it that are worth damaging.
type hostile struct {
	sb     *ondisk.Super
	img    *memdev.Device
	blocks []uint64
}

var theHostile = sync.OnceValue(func() *hostile {
	v := busy(&testing.B{}, 0)
	v.write()
	v.journal(0, 3, txn{write: [][]byte{v.copyOf(v.inoOf("a")), v.copyOf(v.sb.GroupFirst(1))}, revoke: []uint64{v.inoOf("big")}})
	v.journal(1, 250, txn{write: [][]byte{v.copyOf(v.sb.OrphanBlock(0))}}, txn{revoke: []uint64{v.inoOf("a", "one")}})
	h := &hostile{sb: v.sb, img: v.dev}
	for _, p := range v.dev.Image().Pages() {
		h.blocks = append(h.blocks, uint64(p))
	}
	return h
})

// patchSize is the length of one patch: le16 block, le16 offset, kind, 3 spare, le64 value.
const patchSize = 16

// damage applies patches to a copy of the volume; blocks that were patched are sealed unless the patch says not to.
func (h *hostile) damage(patches []byte) *memdev.Device {
	dev := h.img.Clone()
	le := binary.LittleEndian
	for ; len(patches) >= patchSize; patches = patches[patchSize:] {
		blk := h.blocks[int(le.Uint16(patches))%len(h.blocks)]
		off, kind, val := int(le.Uint16(patches[2:])), patches[4], le.Uint64(patches[8:])
		b := make([]byte, ondisk.BlockSize)
		_ = dev.ReadAt(context.Background(), b, int64(blk*ondisk.BlockSize))
		at := b[off%(ondisk.BlockSize-7):]
		switch kind % 8 {
		case 0:
			at[0] = byte(val)
		case 1:
			le.PutUint16(at, uint16(val))
		case 2:
			le.PutUint32(at, uint32(val))
		case 3:
			le.PutUint64(at, val)
		case 4: // a number of a block that is there
			le.PutUint64(at, h.blocks[val%uint64(len(h.blocks))])
		case 5: // the content of another block under this number
			_ = dev.ReadAt(context.Background(), b, int64(h.blocks[val%uint64(len(h.blocks))]*ondisk.BlockSize))
			le.PutUint64(b[8:], blk)
		case 6: // a field near the beginning, where the heads are
			le.PutUint32(b[int(val>>32)%300:], uint32(val)%64)
		case 7: // a slot of a node
			le.PutUint64(b[ondisk.NodeBody+16+12*(off%40):], val)
		}
		if kind < 220 {
			ondisk.Seal(b)
		}
		_ = dev.WriteAt(context.Background(), b, int64(blk*ondisk.BlockSize), false)
	}
	return dev
}

// judge checks a damaged volume and holds the check to K1 and K2.
func (h *hostile) judge(t *testing.T, patches []byte) *check.Report {
	t.Helper()
	dev := &counter{Device: h.damage(patches)}
	r, err := check.Check(context.Background(), dev, check.Options{MaxFindings: 500, MemoryLimit: 1 << 30})
	require.LessOrEqual(t, dev.bytes, dev.Geometry().Size, "K2: %d reads of %d bytes", dev.reads, dev.bytes)
	if err != nil {
		require.True(t, errors.Is(err, ondisk.ErrCorrupt) || errors.Is(err, ondisk.ErrVersion), "%v", err)
		return nil
	}
	require.LessOrEqual(t, len(r.Findings), 501)
	return r
}

func randomPatches(rng *rand.Rand) []byte {
	p := make([]byte, patchSize*(1+rng.IntN(6)))
	for i := range p {
		p[i] = byte(rng.Uint32())
	}
	values := []uint64{0, 1, 2, math.MaxUint64, math.MaxUint32, 1 << 63, 1 << 31, 4096, 10}
	for i := 0; i < len(p); i += patchSize {
		if rng.IntN(2) == 0 {
			binary.LittleEndian.PutUint64(p[i+8:], values[rng.IntN(len(values))])
		}
		if rng.IntN(3) > 0 { // more of the heads, less of the content
			binary.LittleEndian.PutUint16(p[i+2:], uint16(rng.IntN(400)))
		}
	}
	return p
}

func TestHostileVolumes(t *testing.T) {
	h := theHostile()
	require.True(t, h.judge(t, nil).Clean())
	rounds := uint64(400)
	if testing.Short() {
		rounds = 150
	}
	dirty := 0
	for seed := range rounds {
		patches := randomPatches(rand.New(rand.NewPCG(seed, 2)))
		func() {
			defer func() {
				if p := recover(); p != nil {
					t.Errorf("seed %d: patches %x", seed, patches)
					panic(p)
				}
			}()
			if r := h.judge(t, patches); r == nil || !r.Clean() {
				dirty++
			}
		}()
	}
	assert.Greater(t, dirty, int(rounds)/3, "too few of the random patches mattered")
}

func FuzzCheck(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(randomPatches(rand.New(rand.NewPCG(seed, 3))))
	}
	f.Fuzz(func(t *testing.T, patches []byte) {
		theHostile().judge(t, patches[:min(len(patches), 64*patchSize)])
	})
}

// planted makes tree nodes that lead wherever children says, below the root of /a/tree.
func planted(t *testing.T, levels int, children func(blocks []uint64, i int) []uint64) *vol {
	v := busy(t, 0)
	v.tweaks[v.inoOf("a", "tree")] = func(in *ondisk.Inode) {
		var blocks []uint64
		for range levels {
			blocks = append(blocks, v.block())
		}
		for i, blk := range blocks {
			b := ondisk.NewBlock(ondisk.TypeNode, blk, v.sb.UUID, in.Ino, in.Generation)
			n := ondisk.InitNode(b[ondisk.NodeBody:], levels-i)
			for j, c := range children(blocks, i) {
				require.True(t, n.Insert(j, uint64(j), binary.LittleEndian.AppendUint64(nil, c)))
			}
			v.stamp(b)
			v.put(blk, b)
		}
		in.Root = ondisk.InitNode(make([]byte, len(in.Root)), levels+1)
		in.Root.Insert(0, 0, binary.LittleEndian.AppendUint64(nil, blocks[0]))
	}
	v.write()
	return v
}

func TestTreesThatMeetThemselvesEnd(t *testing.T) {
	many := func(blk uint64) []uint64 { return slices.Repeat([]uint64{blk}, 190) }
	for name, children := range map[string]func(blocks []uint64, i int) []uint64{
		"every slot leads to the same child": func(b []uint64, i int) []uint64 { return many(b[min(i+1, len(b)-1)]) },
		"child is the parent":                func(b []uint64, i int) []uint64 { return many(b[max(0, i-1)]) },
		"all lead to the first":              func(b []uint64, _ int) []uint64 { return many(b[0]) },
	} {
		t.Run(name, func(t *testing.T) {
			v := planted(t, 10, children)
			dev := &counter{Device: v.dev}
			r, err := check.Check(context.Background(), dev, check.Options{})
			require.NoError(t, err)
			assert.Contains(t, r.Codes(check.Error), check.MetaTwice)
			assert.LessOrEqual(t, dev.bytes, dev.Geometry().Size)
		})
	}
}

func TestAllOwnersAreNamed(t *testing.T) {
	v := busy(t, 0)
	one := v.inodes[v.inoOf("a", "one")]
	first := one.extents[0].Physical + 3
	n := v.file(v.inoOf("a", "b"), "other", 0, 0, 0)
	n.extents = []ondisk.Extent{{Physical: first, Length: 2}}
	n.in.Size = 8192
	v.deferFree(1, ondisk.Free{Block: first + 1, Blocks: 1, Kind: ondisk.FreeClusters})
	v.write()
	r, err := check.Check(context.Background(), v.dev, check.Options{})
	require.NoError(t, err)
	i := slices.IndexFunc(r.Findings, func(f check.Finding) bool { return f.Code == check.ClusterTwice })
	require.GreaterOrEqual(t, i, 0)
	f := r.Findings[i]
	assert.Equal(t, first, f.First)
	assert.EqualValues(t, 2, f.Count)
	var paths []string
	for _, o := range f.Owners {
		paths = append(paths, o.Path)
	}
	assert.ElementsMatch(t, []string{"/a/one", "/a/b/other", ""}, paths)
}
