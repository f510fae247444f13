package devtest

import (
	"bytes"
	"context"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/ondisk/blockdev"
)

var ctx = context.Background()

// pattern returns n bytes that depend on seed.
func pattern(seed uint64, n int) []byte {
	p := blockdev.Alloc(n)
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	_, _ = rand.NewChaCha8(key).Read(p) // never fails
	return p
}

func read(t *testing.T, d blockdev.Device, off int64, n int) []byte {
	t.Helper()
	p := pattern(99, n)
	require.NoError(t, d.ReadAt(ctx, p, off))
	return p
}

func testGeometry(t *testing.T, d blockdev.Device) {
	g := d.Geometry()
	assert.Contains(t, []int{512, 4096}, g.SectorSize)
	assert.EqualValues(t, Size, g.Size)
	assert.True(t, bytes.Equal(make([]byte, Size), read(t, d, 0, Size)), "a new device must read as zeros")
}

func testRange(t *testing.T, d blockdev.Device) {
	ss := int64(d.Geometry().SectorSize)
	for _, c := range []struct{ off, length int64 }{
		{-ss, ss}, {-1, ss}, {1, ss}, {ss / 2, ss}, {0, ss - 1}, {0, 1}, {Size, ss}, {Size - ss, 2 * ss},
		{Size + ss, 0}, {1 << 62, ss}, {math.MinInt64, ss}, {math.MaxInt64 - ss + 1, ss},
	} {
		p := blockdev.Alloc(int(c.length))
		assert.ErrorIs(t, d.ReadAt(ctx, p, c.off), blockdev.ErrRange, "read %+v", c)
		assert.ErrorIs(t, d.WriteAt(ctx, p, c.off, false), blockdev.ErrRange, "write %+v", c)
		assert.ErrorIs(t, d.WriteAt(ctx, p, c.off, true), blockdev.ErrRange, "write fua %+v", c)
		assert.ErrorIs(t, d.Discard(ctx, c.off, c.length), blockdev.ErrRange, "discard %+v", c)
	}
	for _, off := range []int64{0, ss, Size} {
		assert.NoError(t, d.ReadAt(ctx, nil, off))
		assert.NoError(t, d.WriteAt(ctx, nil, off, true))
		assert.NoError(t, d.Discard(ctx, off, 0))
	}
	assert.True(t, bytes.Equal(make([]byte, Size), read(t, d, 0, Size)), "a refused write left something")
}

func testRoundTrip(t *testing.T, d blockdev.Device) {
	ss := d.Geometry().SectorSize
	for i, n := range []int{ss, 2 * ss, 4096, 8 * 4096, 64 << 10, Size} {
		for _, fua := range []bool{false, true} {
			p := pattern(uint64(i), n)
			keep := bytes.Clone(p)
			off := int64(Size - n)
			require.NoError(t, d.WriteAt(ctx, p, off, fua))
			assert.True(t, bytes.Equal(keep, p), "WriteAt changed its buffer")
			assert.True(t, bytes.Equal(keep, read(t, d, off, n)), "%d bytes, fua %v", n, fua)
		}
	}
}

func testModel(t *testing.T, d blockdev.Device) {
	ss := d.Geometry().SectorSize
	model := make([]byte, Size)
	rng := rand.New(rand.NewPCG(7, 7))
	for i := range 200 {
		at := rng.IntN(Size / ss)
		n := 1 + rng.IntN(min(Size/ss-at, 40))
		p := pattern(uint64(i), n*ss)
		require.NoError(t, d.WriteAt(ctx, p, int64(at*ss), i%9 == 0))
		copy(model[at*ss:], p)
		at = rng.IntN(Size / ss)
		n = 1 + rng.IntN(min(Size/ss-at, 40))
		require.True(t, bytes.Equal(model[at*ss:(at+n)*ss], read(t, d, int64(at*ss), n*ss)), "step %d", i)
	}
	require.True(t, bytes.Equal(model, read(t, d, 0, Size)))
}

func testUnaligned(t *testing.T, d blockdev.Device) {
	ss := d.Geometry().SectorSize
	for _, n := range []int{ss, 4096, 300<<10 - (300<<10)%ss, Size} {
		for _, skew := range []int{1, 8, 511} {
			p := blockdev.Alloc(n + skew)[skew:]
			copy(p, pattern(uint64(n+skew), n))
			require.NoError(t, d.WriteAt(ctx, p, 0, skew == 8))
			got := blockdev.Alloc(n + skew)[skew:]
			require.NoError(t, d.ReadAt(ctx, got, 0))
			require.True(t, bytes.Equal(p, got), "%d bytes, %d off alignment", n, skew)
		}
	}
}

func testFlush(t *testing.T, d blockdev.Device) {
	require.NoError(t, d.Flush(ctx))
	p := pattern(3, 8192)
	require.NoError(t, d.WriteAt(ctx, p, 4096, false))
	require.NoError(t, d.Flush(ctx))
	require.NoError(t, d.Flush(ctx))
	assert.Equal(t, p, read(t, d, 4096, 8192))
}

func testDiscard(t *testing.T, d blockdev.Device) {
	p := pattern(5, Size)
	require.NoError(t, d.WriteAt(ctx, p, 0, false))
	const from, to = 128 << 10, 256 << 10
	require.NoError(t, d.Discard(ctx, from, to-from))
	got := read(t, d, 0, Size)
	assert.True(t, bytes.Equal(p[:from], got[:from]), "discard touched what lies before")
	assert.True(t, bytes.Equal(p[to:], got[to:]), "discard touched what lies behind")
	for off := from; off < to; off += 4096 {
		now, was := got[off:off+4096], p[off:off+4096]
		require.True(t, bytes.Equal(now, was) || bytes.Equal(now, make([]byte, 4096)), "neither old nor zeros at %d", off)
	}
	require.NoError(t, d.WriteAt(ctx, p[from:to], from, false))
	assert.True(t, bytes.Equal(p, read(t, d, 0, Size)))
}

func testContext(t *testing.T, d blockdev.Device) {
	ended, cancel := context.WithCancel(ctx)
	cancel()
	p := pattern(6, 4096)
	assert.ErrorIs(t, d.WriteAt(ended, p, 0, true), context.Canceled)
	assert.ErrorIs(t, d.ReadAt(ended, p, 0), context.Canceled)
	assert.ErrorIs(t, d.Flush(ended), context.Canceled)
	assert.ErrorIs(t, d.Discard(ended, 0, 4096), context.Canceled)
	assert.Equal(t, make([]byte, 4096), read(t, d, 0, 4096), "a write began after its context had ended")
}

// testConcurrent has several goroutines, each at home in its own stripe, and reads across stripes: a sector must
// always be one that was written whole.
func testConcurrent(t *testing.T, d blockdev.Device) {
	ss := d.Geometry().SectorSize
	const workers, rounds = 8, 30
	stripe := Size / workers
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 2))
			p, q := blockdev.Alloc(4*ss), blockdev.Alloc(ss)
			for i := range rounds {
				for s := range 4 {
					copy(p[s*ss:], bytes.Repeat([]byte{byte(w*rounds + i)}, ss))
				}
				off := int64(w*stripe + rng.IntN(stripe/ss-4)*ss)
				if !assert.NoError(t, d.WriteAt(ctx, p, off, false)) {
					return
				}
				if i%10 == 0 {
					assert.NoError(t, d.Flush(ctx))
				}
				assert.NoError(t, d.ReadAt(ctx, q, int64(rng.IntN(Size/ss)*ss)))
				if !assert.Equal(t, bytes.Repeat(q[:1], ss), q, "a sector holds two writes") {
					return
				}
			}
		})
	}
	wg.Wait()
}
