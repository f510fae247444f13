package fs

import (
	"context"
	"errors"
	"syscall"

	"github.com/covol/covol/dlm"
	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
)

// Errors of operations; test with errors.Is. Errno turns them into what a system call returns.
var (
	ErrNotExist     = errors.New("no such file or directory")
	ErrExist        = errors.New("file exists")
	ErrNotDir       = errors.New("not a directory")
	ErrIsDir        = errors.New("is a directory")
	ErrNotEmpty     = errors.New("directory not empty")
	ErrInvalid      = errors.New("invalid argument")
	ErrNameTooLong  = errors.New("name too long")
	ErrNoSpace      = errors.New("no space left on volume")
	ErrFileTooBig   = errors.New("file too large")
	ErrTooManyLinks = errors.New("too many links")
	ErrStale        = errors.New("file was deleted")
	ErrNotPermitted = errors.New("operation not permitted")
	ErrNotSupported = errors.New("operation not supported")
	// ErrWithdrawn: this node has stopped using the volume, because it could not be sure any more that it may, or of
	// what it wrote. The reason is in the log and in status.
	ErrWithdrawn = errors.New("volume is withdrawn on this node")
)

// errnos is the one table from errors to errnos. The first match counts.
var errnos = []struct {
	err   error
	errno syscall.Errno
}{
	{ErrNotExist, syscall.ENOENT},
	{ErrExist, syscall.EEXIST},
	{ErrNotDir, syscall.ENOTDIR},
	{ErrIsDir, syscall.EISDIR},
	{ErrNotEmpty, syscall.ENOTEMPTY},
	{ErrInvalid, syscall.EINVAL},
	{ErrNameTooLong, syscall.ENAMETOOLONG},
	{ErrNoSpace, syscall.ENOSPC},
	{ErrFileTooBig, syscall.EFBIG},
	{ErrTooManyLinks, syscall.EMLINK},
	{ErrStale, syscall.ESTALE},
	{ErrNotPermitted, syscall.EPERM},
	{ErrNotSupported, syscall.EOPNOTSUPP},
	{ErrWithdrawn, syscall.EIO},
	{context.Canceled, syscall.EINTR},
	{context.DeadlineExceeded, syscall.EINTR},
	{ondisk.ErrCorrupt, syscall.EIO},
	{blockdev.ErrFenced, syscall.EIO},
	{blockdev.ErrMedium, syscall.EIO},
	{dlm.ErrStopped, syscall.EIO},
}

// Errno is the errno of err for the kernel: 0 for nil, EIO for anything unknown.
func Errno(err error) syscall.Errno {
	if err == nil {
		return 0
	}
	for _, e := range errnos {
		if errors.Is(err, e.err) {
			return e.errno
		}
	}
	return syscall.EIO
}
