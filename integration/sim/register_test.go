package sim

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// A write that makes a file longer may stop on its way, at a cluster's end; nothing else is between two sizes.
func TestRegisterGrown(t *testing.T) {
	r := register{durable: 13824, known: true}
	assert.False(t, r.grownTo(16384, 4096), "nothing is under way")
	r.begin(19456)
	assert.True(t, r.grownTo(16384, 4096))
	assert.False(t, r.grownTo(16000, 4096), "not a cluster's end")
	assert.False(t, r.grownTo(12288, 4096), "shorter than it was")
	assert.False(t, r.grownTo(20480, 4096), "longer than it was to be")
	r.observeGrown(16384)
	assert.Equal(t, register{durable: 13824, later: []uint32{16384}, known: true}, r)
	r.crash()
	assert.True(t, r.allows(13824) && r.allows(16384))

	r = register{durable: 8192}
	r.begin(4096) // cut short
	assert.False(t, r.grownTo(6144, 2048), "a file is cut at once")
}
