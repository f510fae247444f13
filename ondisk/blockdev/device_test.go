package blockdev_test

import (
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/covol/covol/ondisk/blockdev"
)

func TestCheckRange(t *testing.T) {
	g := blockdev.Geometry{SectorSize: 512, Size: 4096}
	for _, c := range []struct {
		off, length int64
		ok          bool
	}{
		{0, 0, true}, {0, 4096, true}, {4096, 0, true}, {3584, 512, true}, {512, 1024, true},
		{0, 4608, false}, {4096, 512, false}, {4608, 0, false}, {-512, 512, false}, {512, -512, false}, {1, 512, false},
		{0, 100, false}, {math.MaxInt64 - 511, 512, false}, {512, math.MaxInt64 - 511, false},
	} {
		assert.Equal(t, c.ok, blockdev.CheckRange(g, c.off, c.length) == nil, "%+v", c)
	}
}

func TestAlloc(t *testing.T) {
	for _, n := range []int{0, 1, 511, 4096, 1 << 20} {
		p := blockdev.Alloc(n)
		assert.Len(t, p, n)
		assert.Equal(t, n, cap(p))
		assert.True(t, blockdev.Aligned(p))
		if n > 1 {
			assert.False(t, blockdev.Aligned(p[1:]))
			assert.False(t, blockdev.AlignedTo(p[1:], 2))
			assert.True(t, blockdev.AlignedTo(p[1:], 1))
		}
	}
}

func TestOpError(t *testing.T) {
	cause := errors.New("cause")
	var err error = &blockdev.OpError{Op: "read", Off: 4096, Len: 512, Class: blockdev.ErrMedium, Err: cause}
	err = fmt.Errorf("step: %w", err)
	assert.EqualError(t, err, "step: read 512 bytes at 4096: medium error: cause")
	assert.ErrorIs(t, err, blockdev.ErrMedium)
	assert.ErrorIs(t, err, cause)
	assert.NotErrorIs(t, err, blockdev.ErrFenced)
	assert.EqualError(t, &blockdev.OpError{Op: "flush"}, "flush")
	assert.Empty(t, (&blockdev.OpError{}).Unwrap())
}
