package filedev

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/covol/covol/ondisk/blockdev"
)

// Options change how Open opens. The zero value is right for a mount of a file or device.
type Options struct {
	ReadOnly  bool // writing calls fail with EBADF
	NoDirect  bool // use the page cache even where O_DIRECT would work
	NoUring   bool // Submit by threads even where io_uring would work
	Exclusive bool // block devices: fail with EBUSY while the kernel uses the device (mounted, part of a RAID)
	OneHost   bool // block devices: no other host sees this device, so CompareAndWrite may rely on host locks
	// QueueDepth is how many operations of Submit are at the device at once; 0 means 128.
	QueueDepth int
}

// Device is an open file or block device.
type Device struct {
	path    string
	opts    Options
	fd      int // data
	lockFD  int // locks only: closing any other descriptor must not disturb them
	block   bool
	direct  bool
	memory  int // bytes, alignment that direct transfers want of the buffer
	rawSize int64
	geo     blockdev.Geometry

	noDSync  atomic.Bool                  // the kernel refused RWF_DSYNC
	poisoned atomic.Pointer[poisonedSync] // invariant 2
	syncing  sync.Mutex                   // one fdatasync at a time in buffered mode, see sync
	locks    hostLocks
	caw      sync.Mutex // excludes threads of this Device, which share its range locks

	submitOnce sync.Once
	submitter  closingSubmitter // set by submitOnce
}

type poisonedSync struct{ err error }

var (
	_ blockdev.Device           = (*Device)(nil)
	_ blockdev.CompareAndWriter = (*Device)(nil)
	_ blockdev.Submitter        = (*Device)(nil)
)

// Open opens the file or block device at path.
func Open(path string, o Options) (*Device, error) {
	if o.QueueDepth <= 0 {
		o.QueueDepth = 128
	}
	d := &Device{path: path, opts: o, fd: -1, lockFD: -1}
	if err := d.open(); err != nil {
		d.closeFDs()
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return d, nil
}

func (d *Device) open() error {
	flags := unix.O_RDWR
	if d.opts.ReadOnly {
		flags = unix.O_RDONLY
	}
	var st unix.Stat_t
	err := unix.Stat(d.path, &st) // before opening: that would hang on a FIFO
	if err != nil {
		return err
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFBLK:
		d.block = true
	case unix.S_IFREG:
		d.rawSize = st.Size
	default:
		return errors.New("neither a regular file nor a block device")
	}
	if d.lockFD, err = openFD(d.path, flags); err != nil {
		return err
	}
	if d.opts.Exclusive && d.block {
		flags |= unix.O_EXCL
	}
	if err := d.openData(flags); err != nil {
		return err
	}
	for _, fd := range []int{d.lockFD, d.fd} {
		if err := sameInode(fd, &st); err != nil {
			return err
		}
	}
	return d.probe()
}

// openData opens the descriptor for I/O, direct if possible.
func (d *Device) openData(flags int) error {
	var err error
	if !d.opts.NoDirect {
		d.fd, err = openFD(d.path, flags|unix.O_DIRECT)
		if err == nil {
			d.direct = true
			return nil
		}
		if d.block || !errors.Is(err, unix.EINVAL) {
			return err
		}
	}
	d.fd, err = openFD(d.path, flags)
	return err
}

func openFD(path string, flags int) (int, error) {
	for {
		fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// sameInode guards against the path being replaced while opening.
func sameInode(fd int, want *unix.Stat_t) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("stat: %w", err)
	}
	if st.Dev != want.Dev || st.Ino != want.Ino || st.Mode&unix.S_IFMT != want.Mode&unix.S_IFMT {
		return errors.New("path was replaced while opening")
	}
	return nil
}

// Geometry returns the sector size and the size rounded down to it.
func (d *Device) Geometry() blockdev.Geometry { return d.geo }

// RawSize is the size in bytes as the kernel reports it; a file may end inside a sector.
func (d *Device) RawSize() int64 { return d.rawSize }

// Direct reports whether I/O goes past the page cache.
func (d *Device) Direct() bool { return d.direct }

// IsBlock reports whether this is a block device, not a file.
func (d *Device) IsBlock() bool { return d.block }

// Path is what Open was given.
func (d *Device) Path() string { return d.path }

// Close frees all locks and both descriptors. It waits for submitted operations.
func (d *Device) Close() error {
	d.submitOnce.Do(func() {}) // no ring any more if there was none
	if d.submitter != nil {
		d.submitter.close()
	}
	return d.closeFDs()
}

func (d *Device) closeFDs() error {
	var errs []error
	for _, fd := range []*int{&d.fd, &d.lockFD} {
		if *fd >= 0 {
			if err := unix.Close(*fd); err != nil && err != unix.EINTR { // Linux closes it all the same
				errs = append(errs, fmt.Errorf("close %s: %w", d.path, err))
			}
			*fd = -1
		}
	}
	return errors.Join(errs...)
}
