package fusefs

import (
	"context"

	"github.com/covol/covol/fs"
)

// Filesystem is what a Server serves; *fs.Volume is one. Methods may be called concurrently. An emit function is
// called exactly once if and only if the operation succeeds, while the cluster lock that covers what it is told is
// held (invariant 1 of the package).
type Filesystem interface {
	// Root is the number of the root directory.
	Root() fs.Ino
	// Lookup finds name in parent. Like every method that emits a name's attributes it gives the kernel one
	// reference to the inode, which Forget takes back.
	Lookup(ctx context.Context, c fs.Caller, parent fs.Ino, name string, emit func(fs.Attr)) error
	// Getattr tells the attributes of an inode.
	Getattr(ctx context.Context, ino fs.Ino, emit func(fs.Attr)) error
	// Setattr changes attributes, also those of an inode that is open and has no name any more.
	Setattr(ctx context.Context, c fs.Caller, ino fs.Ino, s fs.SetAttr, emit func(fs.Attr)) error
	// Readlink tells the target of a symbolic link.
	Readlink(ctx context.Context, ino fs.Ino) (string, error)
	// Mknod makes a file, device, fifo or socket; mode holds type and permissions, rdev is as the kernel encodes it.
	Mknod(ctx context.Context, c fs.Caller, parent fs.Ino, name string, mode, rdev uint32, emit func(fs.Attr)) error
	// Mkdir makes a directory.
	Mkdir(ctx context.Context, c fs.Caller, parent fs.Ino, name string, mode uint32, emit func(fs.Attr)) error
	// Symlink makes a symbolic link.
	Symlink(ctx context.Context, c fs.Caller, parent fs.Ino, name, target string, emit func(fs.Attr)) error
	// Link gives ino another name.
	Link(ctx context.Context, c fs.Caller, ino, newParent fs.Ino, newName string, emit func(fs.Attr)) error
	// Unlink removes a name that is not a directory's.
	Unlink(ctx context.Context, c fs.Caller, parent fs.Ino, name string) error
	// Rmdir removes an empty directory.
	Rmdir(ctx context.Context, c fs.Caller, parent fs.Ino, name string) error
	// Rename moves a name; flags are those of renameat2(2).
	Rename(ctx context.Context, c fs.Caller, oldParent fs.Ino, oldName string, newParent fs.Ino, newName string,
		flags uint32) error
	// Create makes a regular file and opens it, or opens the one that is there unless flags has O_EXCL.
	Create(ctx context.Context, c fs.Caller, parent fs.Ino, name string, mode, flags uint32,
		emit func(fs.Attr, fs.File)) error
	// Open opens a file; flags are those of open(2).
	Open(ctx context.Context, c fs.Caller, ino fs.Ino, flags uint32) (fs.File, error)
	// OpenDir opens a directory.
	OpenDir(ctx context.Context, ino fs.Ino) (fs.Dir, error)
	// Statfs tells of the volume.
	Statfs(ctx context.Context) (fs.Statfs, error)
	// Forget takes back n references that the kernel was given to ino.
	Forget(ino fs.Ino, n uint64)
	// SetNotifier says through whom kernel caches are invalidated from now on.
	SetNotifier(n fs.Notifier)
}
