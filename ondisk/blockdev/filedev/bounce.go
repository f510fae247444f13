package filedev

import (
	"sync"

	"github.com/covol/covol/ondisk/blockdev"
)

// bounceSize is the longest transfer through a pooled buffer, in bytes; longer ones go in pieces.
const bounceSize = 256 << 10

var bouncePool = sync.Pool{New: func() any {
	b := blockdev.Alloc(bounceSize)
	return &b
}}

// mustBounce reports whether p cannot be given to the kernel as it is.
func (d *Device) mustBounce(p []byte) bool {
	return d.direct && !blockdev.AlignedTo(p, d.memory)
}
