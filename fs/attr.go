package fs

import (
	"context"
	"syscall"

	"github.com/covol/covol/ondisk"
)

// Root is the number of the root directory.
func (v *Volume) Root() Ino { return ondisk.RootBlock }

// Getattr hands out the attributes of an inode.
func (v *Volume) Getattr(ctx context.Context, ino Ino, emit func(Attr)) error {
	return v.with(ctx, ino, useShared, func(n *inode) error {
		emit(v.attrOf(n.snapshot()))
		return nil
	})
}

// Setattr changes attributes and hands out the new ones. A change of size frees or zeroes what lies beyond.
func (v *Volume) Setattr(ctx context.Context, c Caller, ino Ino, s SetAttr, emit func(Attr)) error {
	return v.with(ctx, ino, useExcl, func(n *inode) error {
		if err := v.setattrLocked(ctx, c, n, s); err != nil {
			return err
		}
		emit(v.attrOf(n.snapshot()))
		return nil
	})
}

// setattrLocked is Setattr on an inode that is locked exclusively.
func (v *Volume) setattrLocked(ctx context.Context, _ Caller, n *inode, s SetAttr) error {
	if s.Size != nil {
		if err := v.resize(ctx, n, *s.Size); err != nil {
			return err
		}
		if s == (SetAttr{Size: s.Size}) {
			return nil
		}
	}
	rec := n.snapshot()
	if s.Mode != nil {
		rec.Mode = rec.Mode&syscall.S_IFMT | *s.Mode&0o7777
	}
	if s.UID != nil {
		rec.UID = *s.UID
	}
	if s.GID != nil {
		rec.GID = *s.GID
	}
	if s.Atime != nil {
		rec.Atime = ondisk.TimeOf(*s.Atime)
	}
	if s.Mtime != nil {
		rec.Mtime = ondisk.TimeOf(*s.Mtime)
	}
	rec.Ctime = v.now()
	if s.Ctime != nil {
		rec.Ctime = ondisk.TimeOf(*s.Ctime)
	}
	tx, err := v.begin(ctx, need{})
	if err != nil {
		return err
	}
	if err := v.putInode(ctx, tx, rec); err != nil {
		tx.abort()
		return err
	}
	_, err = commitInodes(ctx, tx, change{n, rec})
	return err
}
