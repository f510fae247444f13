package devtest

import (
	"encoding/binary"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/ondisk/blockdev"
)

func testCompare(t *testing.T, d blockdev.Device) {
	caw, ok := d.(blockdev.CompareAndWriter)
	if !ok {
		t.Skip("the device has no compare and write")
	}
	ss := int64(d.Geometry().SectorSize)
	zero, one, two := make([]byte, ss), pattern(1, int(ss)), pattern(2, int(ss))
	for _, c := range []struct {
		name     string
		old, new []byte
		swapped  bool
		after    []byte
	}{
		{"first", zero, one, true, one},
		{"stale", zero, two, false, one},
		{"second", one, two, true, two},
		{"same", two, two, true, two},
		{"back", two, zero, true, zero},
	} {
		swapped, err := caw.CompareAndWrite(ctx, 3*ss, c.old, c.new)
		require.NoError(t, err, c.name)
		assert.Equal(t, c.swapped, swapped, c.name)
		assert.Equal(t, c.after, read(t, d, 3*ss, int(ss)), c.name)
	}
	for _, c := range []struct {
		off      int64
		old, new []byte
	}{
		{1, zero, zero}, {-ss, zero, zero}, {Size, zero, zero}, {0, zero, nil}, {0, nil, nil}, {0, zero, zero[:ss/2]},
		{0, make([]byte, 8192), make([]byte, 8192)},
	} {
		swapped, err := caw.CompareAndWrite(ctx, c.off, c.old, c.new)
		assert.ErrorIs(t, err, blockdev.ErrRange, "%d bytes at %d", len(c.old), c.off)
		assert.False(t, swapped)
	}
}

// testCompareCounts counts up with many hands: no increment may be lost.
func testCompareCounts(t *testing.T, d blockdev.Device) {
	caw, ok := d.(blockdev.CompareAndWriter)
	if !ok {
		t.Skip("the device has no compare and write")
	}
	CountUp(t, []blockdev.CompareAndWriter{caw, caw, caw, caw}, d, 25)
}

// CountUp has each of the writers, which must be paths to one medium, count the first sector up n times by
// compare-and-write, and checks through d that no step was lost.
func CountUp(t *testing.T, writers []blockdev.CompareAndWriter, d blockdev.Device, n int) {
	t.Helper()
	ss := d.Geometry().SectorSize
	start := binary.LittleEndian.Uint64(read(t, d, 0, ss))
	var wg sync.WaitGroup
	for _, w := range writers {
		wg.Go(func() {
			old, next := make([]byte, ss), make([]byte, ss)
			for done := 0; done < n; {
				if !assert.NoError(t, w.(blockdev.Device).ReadAt(ctx, old, 0)) {
					return
				}
				binary.LittleEndian.PutUint64(next, binary.LittleEndian.Uint64(old)+1)
				swapped, err := w.CompareAndWrite(ctx, 0, old, next)
				if !assert.NoError(t, err) {
					return
				}
				if swapped {
					done++
				}
			}
		})
	}
	wg.Wait()
	assert.Equal(t, start+uint64(n*len(writers)), binary.LittleEndian.Uint64(read(t, d, 0, ss)))
}
