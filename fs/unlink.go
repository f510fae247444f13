package fs

import (
	"context"

	"github.com/covol/covol/ondisk"
)

// Unlink removes a name that is not a directory.
func (v *Volume) Unlink(ctx context.Context, _ Caller, parent Ino, name string) error {
	return v.remove(ctx, parent, name, false)
}

// Rmdir removes an empty directory.
func (v *Volume) Rmdir(ctx context.Context, _ Caller, parent Ino, name string) error {
	return v.remove(ctx, parent, name, true)
}

func (v *Volume) remove(ctx context.Context, parent Ino, name string, wantDir bool) error {
	set, d, err := v.lockEntry(ctx, parent, name, useExcl, useExcl)
	if err != nil {
		return err
	}
	defer set.unlock()
	dir, child := set.nodes[parent], set.nodes[d.Ino]
	crec := child.snapshot()
	if err := v.mayRemove(ctx, crec, wantDir); err != nil {
		return err
	}
	drec := dir.snapshot()
	tx, err := v.begin(ctx, need{meta: treeNeed(drec) + orphanNeed, essential: true})
	if err != nil {
		return err
	}
	if err := v.dirRemove(ctx, tx, drec, name); err != nil {
		tx.abort()
		return err
	}
	if isDir(crec) {
		drec.Nlink--
	}
	gone, err := v.dropName(ctx, tx, crec, parent, name)
	if err != nil {
		tx.abort()
		return err
	}
	defer gone.unlock()
	if err := v.putInode(ctx, tx, drec); err != nil {
		tx.abort()
		return err
	}
	if _, err := commitInodes(ctx, tx, change{dir, drec}, change{child, crec}); err != nil {
		return err
	}
	gone.published(crec)
	return nil
}

// mayRemove checks what rmdir(2) and unlink(2) demand of the inode.
func (v *Volume) mayRemove(ctx context.Context, rec *ondisk.Inode, wantDir bool) error {
	switch {
	case wantDir && !isDir(rec):
		return ErrNotDir
	case !wantDir && isDir(rec):
		return ErrIsDir
	case !wantDir:
		return nil
	}
	empty, err := dirEmpty(ctx, v.j, rec)
	if err == nil && !empty {
		err = ErrNotEmpty
	}
	return err
}

// lastName is what dropName leaves for the time after the transaction. The zero value is nothing.
type lastName struct {
	v       *Volume
	orphans bool // the index of orphans is locked
}

// unlock ends the use of the index of orphans.
func (l lastName) unlock() {
	if l.orphans {
		l.v.orphans.lock.Unlock()
	}
}

// published must be called once the transaction is public: an inode without names and without users is reclaimed.
func (l lastName) published(rec *ondisk.Inode) {
	if l.orphans && l.v.known.orphaned(rec.Ino, rec.Generation) {
		l.v.orphans.reclaimSoon(rec.Ino, rec.Generation)
	}
}

// dropName takes one name from the record rec and writes it into the transaction. A record without names becomes an
// orphan: the index of orphans stays locked until the caller unlocks the result, after the transaction is public.
func (v *Volume) dropName(ctx context.Context, tx *txn, rec *ondisk.Inode, parent Ino, name string) (lastName, error) {
	rec.Ctime = v.now()
	if isDir(rec) {
		rec.Nlink = 0
		rec.Names = nil
	} else {
		rec.Nlink--
		forgetName(rec, parent, name)
	}
	if rec.Nlink > 0 {
		return lastName{}, v.putInode(ctx, tx, rec)
	}
	if err := v.orphans.add(ctx, tx, rec); err != nil {
		return lastName{}, err
	}
	l := lastName{v: v, orphans: true}
	if err := v.putInode(ctx, tx, rec); err != nil {
		l.unlock()
		return lastName{}, err
	}
	return l, nil
}

// keepName notes a name in the record if there is room for it.
func keepName(rec *ondisk.Inode, parent Ino, name string) {
	if len(rec.Names) >= ondisk.MaxKeptNames {
		rec.Flags |= ondisk.InodeMoreNames
		return
	}
	rec.Names = append(rec.Names, ondisk.KeptName{Parent: parent, Name: name})
	if rec.Body == ondisk.BodyResident && !rec.Fits() || rec.AttrRoom() < ondisk.MinNodeSize {
		rec.Names = rec.Names[:len(rec.Names)-1]
		rec.Flags |= ondisk.InodeMoreNames
	}
}

// forgetName takes a name out of the record, if it was kept there.
func forgetName(rec *ondisk.Inode, parent Ino, name string) {
	for i, k := range rec.Names {
		if k.Parent == parent && k.Name == name {
			rec.Names = append(rec.Names[:i], rec.Names[i+1:]...)
			break
		}
	}
	if uint32(len(rec.Names)) == rec.Nlink {
		rec.Flags &^= ondisk.InodeMoreNames
	}
}
