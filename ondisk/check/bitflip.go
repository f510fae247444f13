package check

import (
	"encoding/binary"
	"hash/crc32"
	"sync"

	"github.com/covol/covol/ondisk"
)

// crcField is where a block has its CRC, see FORMAT.md.
const crcField = 72

// sealed reports whether the CRC of b is right.
func sealed(b []byte) bool { return crcOf(b) == binary.LittleEndian.Uint32(b[crcField:]) }

func crcOf(b []byte) uint32 {
	sum := ondisk.Checksum(0, b[:crcField])
	sum = ondisk.Checksum(sum, make([]byte, 4))
	return ondisk.Checksum(sum, b[crcField+4:])
}

// flips leads from the difference that one flipped bit makes to the CRC to the number of the bit. The CRC is linear:
// the difference does not depend on the rest of the block. No two bits of a block make the same one.
var flips = sync.OnceValue(func() map[uint32]int {
	table := crc32.MakeTable(crc32.Castagnoli)
	all := make(map[uint32]int, ondisk.BlockSize*8)
	for bit := range 8 {
		delta := table[1<<bit]
		for i := ondisk.BlockSize - 1; i >= 0; i-- {
			if i < crcField || i >= crcField+4 {
				all[delta] = i*8 + bit
			}
			delta = table[byte(delta)] ^ delta>>8
		}
	}
	return all
})

// unflip turns one flipped bit of b back, if that makes its CRC right. A block that is damaged in another way passes
// for such a one with odds of 1 to 130 thousand, and then every other check still stands before it.
func unflip(b []byte) bool {
	stored, sum := binary.LittleEndian.Uint32(b[crcField:]), crcOf(b)
	delta := stored ^ sum
	if delta&(delta-1) == 0 { // a bit of the CRC itself
		binary.LittleEndian.PutUint32(b[crcField:], sum)
		return true
	}
	bit, ok := flips()[delta]
	if ok {
		b[bit/8] ^= 1 << (bit % 8)
	}
	return ok
}
