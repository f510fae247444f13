package filedev

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The part of include/uapi/linux/io_uring.h that is used here.
const (
	opPollAdd = 6
	opFsync   = 3
	opRead    = 22
	opWrite   = 23

	fsyncDatasync = 1

	setupCQSize       = 1 << 3
	setupCoopTaskrun  = 1 << 8
	setupSingleIssuer = 1 << 12
	setupDeferTaskrun = 1 << 13

	enterGetEvents = 1

	featSingleMmap = 1 << 0
	featNoDrop     = 1 << 1

	offRings = 0
	offSQEs  = 0x10000000

	sqeSize = 64
	cqeSize = 16
)

type uringParams struct {
	sqEntries, cqEntries, flags, sqThreadCPU, sqThreadIdle, features, wqFD uint32
	resv                                                                   [3]uint32
	sqOff                                                                  sqOffsets
	cqOff                                                                  cqOffsets
}

type sqOffsets struct {
	head, tail, ringMask, ringEntries, flags, dropped, array, resv uint32
	userAddr                                                       uint64
}

type cqOffsets struct {
	head, tail, ringMask, ringEntries, overflow, cqes, flags, resv uint32
	userAddr                                                       uint64
}

// sqe is one submission (struct io_uring_sqe).
type sqe struct {
	opcode, flags uint8
	ioprio        uint16
	fd            int32
	off           uint64
	addr          uint64
	length        uint32
	opFlags       uint32 // rw_flags, fsync_flags, poll32_events
	userData      uint64
	pad           [3]uint64
}

// cqe is one completion (struct io_uring_cqe).
type cqe struct {
	userData uint64
	res      int32
	flags    uint32
}

// uring is one ring mapped into memory. All methods are for the thread that made it.
type uring struct {
	fd      int
	rings   []byte
	sqeMem  []byte
	sqes    []sqe
	cqes    []cqe
	sqArray []uint32
	sqTail  *uint32
	cqHead  *uint32
	cqTail  *uint32
	mask    uint32 // of the submission queue
	cqMask  uint32
	queued  uint32 // submissions the kernel has not taken yet
}

// newUring sets up a ring with the best flags the kernel takes.
func newUring(entries uint32) (*uring, error) {
	var err error
	for _, flags := range []uint32{
		setupCQSize | setupSingleIssuer | setupDeferTaskrun, // Linux 6.1
		setupCQSize | setupCoopTaskrun,                      // 5.19
		setupCQSize,                                         // 5.5
	} {
		p := uringParams{flags: flags, cqEntries: 4 * entries}
		fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, uintptr(entries), uintptr(unsafe.Pointer(&p)), 0)
		if errno == 0 {
			unix.CloseOnExec(int(fd))
			return mapUring(int(fd), &p)
		}
		if err = errno; errno != unix.EINVAL {
			break
		}
	}
	return nil, fmt.Errorf("io_uring_setup: %w", err)
}

func mapUring(fd int, p *uringParams) (_ *uring, err error) {
	u := &uring{fd: fd}
	defer func() {
		if err != nil {
			u.close()
		}
	}()
	if need := uint32(featSingleMmap | featNoDrop); p.features&need != need {
		return nil, fmt.Errorf("io_uring features %#x: %w", p.features, unix.ENOSYS)
	}
	size := max(p.sqOff.array+4*p.sqEntries, p.cqOff.cqes+cqeSize*p.cqEntries)
	const prot, flags = unix.PROT_READ | unix.PROT_WRITE, unix.MAP_SHARED | unix.MAP_POPULATE
	if u.rings, err = unix.Mmap(fd, offRings, int(size), prot, flags); err != nil {
		return nil, fmt.Errorf("map the rings: %w", err)
	}
	if u.sqeMem, err = unix.Mmap(fd, offSQEs, int(sqeSize*p.sqEntries), prot, flags); err != nil {
		return nil, fmt.Errorf("map the submissions: %w", err)
	}
	word := func(off uint32) *uint32 { return (*uint32)(unsafe.Pointer(&u.rings[off])) }
	u.sqes = unsafe.Slice((*sqe)(unsafe.Pointer(&u.sqeMem[0])), p.sqEntries)
	u.cqes = unsafe.Slice((*cqe)(unsafe.Pointer(&u.rings[p.cqOff.cqes])), p.cqEntries)
	u.sqArray = unsafe.Slice(word(p.sqOff.array), p.sqEntries)
	u.sqTail, u.cqHead, u.cqTail = word(p.sqOff.tail), word(p.cqOff.head), word(p.cqOff.tail)
	u.mask, u.cqMask = *word(p.sqOff.ringMask), *word(p.cqOff.ringMask)
	return u, nil
}

// push adds a submission. The caller must not push more between two calls of enter than the ring has entries.
func (u *uring) push(s sqe) {
	tail := *u.sqTail // only this thread writes it
	i := tail & u.mask
	u.sqes[i] = s
	u.sqArray[i] = i
	atomic.StoreUint32(u.sqTail, tail+1)
	u.queued++
}

// room is how many submissions can be pushed.
func (u *uring) room() int { return len(u.sqes) - int(u.queued) }

// enter hands the submissions over and waits until at least wait completions are there.
func (u *uring) enter(wait uint32) error {
	n, _, errno := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(u.fd), uintptr(u.queued), uintptr(wait), enterGetEvents, 0, 0)
	switch errno {
	case 0:
		u.queued -= uint32(n)
		return nil
	case unix.EINTR, unix.EAGAIN, unix.EBUSY: // nothing taken; reap and come again
		return nil
	}
	return fmt.Errorf("io_uring_enter: %w", errno)
}

// reap calls fn for every completion that is there.
func (u *uring) reap(fn func(cqe)) {
	head := *u.cqHead
	for head != atomic.LoadUint32(u.cqTail) {
		c := u.cqes[head&u.cqMask]
		head++
		atomic.StoreUint32(u.cqHead, head)
		fn(c)
	}
}

func (u *uring) close() {
	for _, m := range [][]byte{u.rings, u.sqeMem} {
		if m != nil {
			_ = unix.Munmap(m) // only fails for memory that is not mapped
		}
	}
	_ = unix.Close(u.fd) // nothing can be told to anyone
}

// pinned keeps one buffer in place while the kernel has its address.
type pinned struct{ runtime.Pinner }

// address pins p and returns where it starts. p must not be empty.
func (b *pinned) address(p []byte) uint64 {
	b.Pin(&p[0])
	return uint64(uintptr(unsafe.Pointer(&p[0])))
}
