package fs

import (
	"context"

	"github.com/covol/covol/ondisk"
)

// Link gives a file another name. emit gets the attributes; the kernel then has one more reference.
func (v *Volume) Link(ctx context.Context, _ Caller, ino, parent Ino, name string, emit func(Attr)) error {
	if err := checkName(name); err != nil {
		return err
	}
	set, err := v.lockInodes(ctx, lockReq{ino: ino, use: useExcl}, lockReq{ino: parent, use: useExcl})
	if err != nil {
		return err
	}
	defer set.unlock()
	dir, n := set.nodes[parent], set.nodes[ino]
	rec := n.snapshot()
	switch {
	case isDir(rec):
		return ErrNotPermitted
	case rec.Nlink == 0:
		return ErrNotExist
	case rec.Nlink >= maxLinks:
		return ErrTooManyLinks
	}
	if err := v.mayAdd(ctx, dir, name); err != nil {
		return err
	}
	drec := dir.snapshot()
	tx, err := v.begin(ctx, need{meta: treeNeed(drec) + treeNeed(rec)})
	if err != nil {
		return err
	}
	rec.Nlink++
	rec.Ctime = v.now()
	keepName(rec, parent, name)
	if err := v.writeLink(ctx, tx, drec, rec, name); err != nil {
		tx.abort()
		return err
	}
	if _, err := commitInodes(ctx, tx, change{dir, drec}, change{n, rec}); err != nil {
		return err
	}
	v.emitAttr(emit)(rec)
	return nil
}

func (v *Volume) writeLink(ctx context.Context, tx *txn, dir, rec *ondisk.Inode, name string) error {
	if err := v.dirPut(ctx, tx, dir, ondisk.Dirent{Ino: rec.Ino, Type: dtype(rec.Mode), Name: name}); err != nil {
		return err
	}
	if err := v.putInode(ctx, tx, dir); err != nil {
		return err
	}
	return v.putInode(ctx, tx, rec)
}

// Readlink is the target of a symbolic link.
func (v *Volume) Readlink(ctx context.Context, ino Ino) (string, error) {
	var target string
	err := v.with(ctx, ino, useShared, func(n *inode) error {
		rec := n.record()
		if rec.Mode&0o170000 != 0o120000 {
			return ErrInvalid
		}
		if rec.Body == ondisk.BodyResident {
			target = string(rec.Resident)
			return nil
		}
		b := make([]byte, rec.Size)
		_, err := v.readAt(ctx, rec, b, 0)
		target = string(b)
		return err
	})
	return target, err
}
