package bazil

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/covol/covol/ondisk/blockdev"
)

// iocb mirrors struct iocb of linux/aio_abi.h, little endian.
type iocb struct {
	_      uint64 // aio_data
	_      [2]uint32
	_      uint16 // aio_lio_opcode: IOCB_CMD_PREAD
	_      int16
	fd     uint32
	buf    uint64
	nbytes uint64
	offset int64
	_      uint64
	_      [2]uint32
}

// ioEvent mirrors struct io_event.
type ioEvent struct {
	data, obj uint64
	res, res2 int64
}

// aioRead starts n reads of 4 KiB with io_submit(2) and returns what waits for all of them.
func aioRead(t *testing.T, fd, n int) (wait func()) {
	var ctx uintptr
	_, _, errno := unix.Syscall(unix.SYS_IO_SETUP, uintptr(n), uintptr(unsafe.Pointer(&ctx)), 0)
	require.Zero(t, errno)
	buf := blockdev.Alloc(n * 4096)
	cbs, ptrs := make([]iocb, n), make([]*iocb, n)
	for i := range cbs {
		cbs[i] = iocb{fd: uint32(fd), buf: uint64(uintptr(unsafe.Pointer(&buf[i*4096]))), nbytes: 4096,
			offset: int64(i%256) * 4096}
		ptrs[i] = &cbs[i]
	}
	for done := 0; done < n; {
		k, _, errno := unix.Syscall(unix.SYS_IO_SUBMIT, ctx, uintptr(n-done), uintptr(unsafe.Pointer(&ptrs[done])))
		require.Zero(t, errno)
		done += int(k)
	}
	return func() {
		events := make([]ioEvent, n)
		for done := 0; done < n; {
			k, _, errno := unix.Syscall6(unix.SYS_IO_GETEVENTS, ctx, 1, uintptr(n-done),
				uintptr(unsafe.Pointer(&events[done])), 0, 0)
			if errno == unix.EINTR {
				continue
			}
			if !assert.Zero(t, errno) {
				return
			}
			done += int(k)
		}
		for _, e := range events {
			assert.EqualValues(t, 4096, e.res)
		}
		_, _, errno := unix.Syscall(unix.SYS_IO_DESTROY, ctx, 0, 0)
		assert.Zero(t, errno)
		_ = buf[0]
	}
}
