package target

import (
	"math/bits"
	"sync"

	"github.com/covol/covol/ondisk/blockdev"
)

// Buffers between smallBuffer and largeBuffer bytes are used again, by powers of two.
const (
	smallBuffer = 12
	largeBuffer = 22
)

var buffers [largeBuffer + 1]sync.Pool

func class(n int) int { return max(smallBuffer, bits.Len(uint(n-1))) }

// alloc returns n bytes, page aligned, that hold anything.
func (t *Target) alloc(n int) []byte {
	if n == 0 {
		return nil
	}
	k := class(n)
	if k > largeBuffer {
		return blockdev.Alloc(n)
	}
	if p, ok := buffers[k].Get().(*[]byte); ok {
		return (*p)[:n]
	}
	return blockdev.Alloc(1 << k)[:n]
}

// free gives back what alloc returned. Memory from elsewhere is left to the collector.
func (t *Target) free(p []byte) {
	n := cap(p)
	if n == 0 || n&(n-1) != 0 {
		return
	}
	if k := class(n); k <= largeBuffer && n == 1<<k && blockdev.Aligned(p[:1]) {
		p = p[:n]
		buffers[k].Put(&p)
	}
}
