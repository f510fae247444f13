package bazil

import (
	"sync"
	"syscall"

	"bazil.org/fuse"

	"github.com/covol/covol/fs/fusefs"
	"github.com/covol/covol/ondisk/blockdev"
)

// maxData is the largest READ the library's connections carry, bytes.
const maxData = 128 << 10

var buffers = sync.Pool{New: func() any {
	b := blockdev.Alloc(maxData)
	return &b
}}

// reply answers one request of the library.
type reply struct {
	hdr  *fuse.Header
	buf  []byte
	pool *[]byte // what buf was taken from
}

var _ fusefs.Reply = (*reply)(nil)

// Error answers with an errno, or with nothing if e is 0.
func (r *reply) Error(e syscall.Errno) {
	if e == 0 {
		r.Body(nil)
		return
	}
	r.hdr.RespondError(e)
}

// Body answers with any bytes.
func (r *reply) Body(p []byte) {
	raw := fuse.ReadRequest{Header: *r.hdr}
	raw.Respond(&fuse.ReadResponse{Data: p})
}

// Buffer takes one of the pooled buffers.
func (r *reply) Buffer(n int) []byte {
	if n > maxData {
		r.buf = blockdev.Alloc(n)
		return r.buf
	}
	if r.pool == nil {
		r.pool = buffers.Get().(*[]byte)
	}
	r.buf = (*r.pool)[:n]
	return r.buf
}

// Data answers with the front of the buffer.
func (r *reply) Data(n int) { r.Body(r.buf[:n]) }

// None gives the library its message back.
func (r *reply) None() {
	raw := fuse.ForgetRequest{Header: *r.hdr}
	raw.Respond()
}

// free ends the life of Buffer.
func (r *reply) free() {
	if r.pool != nil {
		buffers.Put(r.pool)
		r.pool, r.buf = nil, nil
	}
}
