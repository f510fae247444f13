package memdev_test

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/ondisk/blockdev/memdev"
)

// TestForksAgainstModel writes, zeros and forks at random, often deeper than images keep layers, and compares each
// image with a plain slice.
func TestForksAgainstModel(t *testing.T) {
	const size = 10 * memdev.PageSize
	type pair struct {
		img   *memdev.Image
		model []byte
	}
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		all := []pair{{memdev.NewImage(), make([]byte, size)}}
		for step := range 300 {
			p := &all[rng.IntN(len(all))]
			off := rng.IntN(size)
			n := rng.IntN(min(size-off, 3*memdev.PageSize) + 1)
			switch rng.IntN(4) {
			case 0:
				off, n = off/4096*4096, n/4096*4096
				fallthrough
			case 1:
				p.img.Zero(int64(off), int64(n))
				clear(p.model[off : off+n])
			case 2:
				b := bytes.Repeat([]byte{byte(1 + step%255)}, n)
				p.img.Write(b, int64(off))
				copy(p.model[off:], b)
			default:
				q := pair{p.img.Fork(), bytes.Clone(p.model)}
				if len(all) < 12 {
					all = append(all, q)
				} else {
					all[rng.IntN(len(all))] = q
				}
			}
		}
		for i, p := range all {
			got := make([]byte, size)
			p.img.Read(got, 0)
			require.True(t, bytes.Equal(p.model, got), "seed %d, image %d", seed, i)
			fresh := memdev.NewImage()
			fresh.Write(p.model, 0)
			require.Equal(t, fresh.Hash(), p.img.Hash(), "seed %d, image %d", seed, i)
			for _, n := range p.img.Pages() {
				require.Less(t, n, int64(10))
			}
		}
	}
}

func TestHashSeesPlaceAndContent(t *testing.T) {
	seen := map[uint64]bool{}
	for _, off := range []int64{0, 1, 4096, 8192, 1 << 50} {
		for _, v := range []byte{1, 2} {
			m := memdev.NewImage()
			m.Write([]byte{v}, off)
			seen[m.Hash()] = true
			m.Zero(off, 1)
			assert.Equal(t, memdev.NewImage().Hash(), m.Hash(), "zeros are the same as nothing")
		}
	}
	assert.Len(t, seen, 10)
}
