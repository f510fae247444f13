package fs

import (
	"context"
	"syscall"

	"github.com/covol/covol/dlm"
	"github.com/covol/covol/ondisk"
)

// renaming is one rename with all that it has locked.
type renaming struct {
	v                *Volume
	oldDir, newDir   *inode
	oldRec, newRec   *ondisk.Inode // records of the directories; the same pointer if there is one directory
	oldName, newName string
	src, dst         *inode // dst is nil if the new name does not exist
	srcRec, dstRec   *ondisk.Inode
	flags            uint32
}

// Rename gives an entry another name or directory, replacing what has the new name, as rename(2) does.
func (v *Volume) Rename(ctx context.Context, _ Caller, oldParent Ino, oldName string, newParent Ino, newName string, flags uint32) error {
	if err := checkName(newName); err != nil {
		return err
	}
	if flags&^(RenameNoReplace|RenameExchange) != 0 || flags == RenameNoReplace|RenameExchange {
		return ErrInvalid
	}
	if oldParent != newParent {
		// One directory at a time changes its place, so that the tree cannot be cut into a loop by two nodes.
		h, err := v.locks.lock(ctx, dlm.Resource{Kind: dlm.Rename}, useExcl)
		if err != nil {
			return err
		}
		defer h.unlock()
	}
	for {
		set, r, err := v.lockRename(ctx, oldParent, oldName, newParent, newName, flags)
		if err != nil {
			return err
		}
		if r == nil {
			continue // the names changed between the look and the locks
		}
		defer set.unlock()
		return r.run(ctx)
	}
}

// lockRename finds both names, locks all inodes concerned in order and looks again. r is nil if the names changed.
func (v *Volume) lockRename(ctx context.Context, oldParent Ino, oldName string, newParent Ino, newName string, flags uint32) (*lockSet, *renaming, error) {
	src, _, err := v.lookupEntry(ctx, oldParent, oldName)
	if err != nil {
		return nil, nil, err
	}
	if src.Ino == 0 {
		return nil, nil, ErrNotExist
	}
	dst, _, err := v.lookupEntry(ctx, newParent, newName)
	if err != nil {
		return nil, nil, err
	}
	reqs := []lockReq{{ino: oldParent, use: useExcl}, {ino: newParent, use: useExcl}, {ino: src.Ino, use: useExcl, named: true}}
	if dst.Ino != 0 {
		reqs = append(reqs, lockReq{ino: dst.Ino, use: useExcl, named: true})
	}
	if oldParent != newParent {
		if err := v.noLoop(ctx, src, newParent); err != nil {
			return nil, nil, err
		}
		if flags&RenameExchange != 0 {
			if err := v.noLoop(ctx, dst, oldParent); err != nil {
				return nil, nil, err
			}
		} else if dst.Ino == oldParent {
			return nil, nil, ErrNotEmpty
		}
	}
	set, err := v.lockInodes(ctx, reqs...)
	if err != nil {
		if Errno(err) == Errno(ErrStale) {
			return nil, nil, v.recheck(ctx, oldParent, oldName, src.Ino, newParent, newName, dst.Ino, err)
		}
		return nil, nil, err
	}
	r := &renaming{v: v, oldDir: set.nodes[oldParent], newDir: set.nodes[newParent], oldName: oldName, newName: newName,
		src: set.nodes[src.Ino], dst: set.nodes[dst.Ino], flags: flags}
	same, err := r.unchanged(ctx, src.Ino, dst.Ino)
	if err != nil || !same {
		set.unlock()
		return nil, nil, err
	}
	return set, r, nil
}

// lookupEntry is the entry of a name, the zero Dirent if there is none.
func (v *Volume) lookupEntry(ctx context.Context, dir Ino, name string) (d ondisk.Dirent, ok bool, err error) {
	if len(name) > ondisk.MaxName {
		return d, false, ErrNameTooLong
	}
	err = v.with(ctx, dir, useShared, func(n *inode) (err error) {
		d, ok, err = v.find(ctx, n, name)
		return err
	})
	return d, ok, err
}

// recheck returns nil if a name has changed since it was looked up, so that the rename should try again, else err.
func (v *Volume) recheck(ctx context.Context, oldParent Ino, oldName string, src Ino, newParent Ino, newName string, dst Ino, err error) error {
	a, _, aerr := v.lookupEntry(ctx, oldParent, oldName)
	b, _, berr := v.lookupEntry(ctx, newParent, newName)
	if aerr == nil && berr == nil && (a.Ino != src || b.Ino != dst) {
		return nil
	}
	return err
}

// unchanged reports whether the names still lead to what has been locked.
func (r *renaming) unchanged(ctx context.Context, src, dst Ino) (bool, error) {
	a, _, err := r.v.find(ctx, r.oldDir, r.oldName)
	if err != nil {
		return false, err
	}
	b, _, err := r.v.find(ctx, r.newDir, r.newName)
	return a.Ino == src && b.Ino == dst, err
}

// run does the rename with everything locked.
func (r *renaming) run(ctx context.Context) error {
	if r.src == r.dst {
		return nil // two names of one file: nothing to do
	}
	r.oldRec = r.oldDir.snapshot()
	r.newRec = r.oldRec
	if r.newDir != r.oldDir {
		r.newRec = r.newDir.snapshot()
	}
	r.srcRec = r.src.snapshot()
	if r.dst != nil {
		r.dstRec = r.dst.snapshot()
	}
	if err := r.allowed(ctx); err != nil {
		return err
	}
	tx, err := r.v.begin(ctx, need{meta: 2*treeNeed(r.oldRec) + 2*treeNeed(r.newRec) + orphanNeed + treeNeed(r.srcRec)})
	if err != nil {
		return err
	}
	gone, err := r.write(ctx, tx)
	if err != nil {
		tx.abort()
		return err
	}
	defer gone.unlock()
	changes := []change{{r.oldDir, r.oldRec}, {r.src, r.srcRec}}
	if r.newDir != r.oldDir {
		changes = append(changes, change{r.newDir, r.newRec})
	}
	if r.dst != nil {
		changes = append(changes, change{r.dst, r.dstRec})
	}
	if _, err := commitInodes(ctx, tx, changes...); err != nil {
		return err
	}
	if r.dst != nil {
		gone.published(r.dstRec)
	}
	return nil
}

// allowed checks all that rename(2) demands.
func (r *renaming) allowed(ctx context.Context) error {
	if r.newRec.Nlink == 0 {
		return ErrNotExist
	}
	if r.dst != nil {
		return r.mayReplace(ctx)
	}
	if r.flags&RenameExchange != 0 {
		return ErrNotExist
	}
	return nil
}

func (r *renaming) mayReplace(ctx context.Context) error {
	switch {
	case r.flags&RenameNoReplace != 0:
		return ErrExist
	case r.flags&RenameExchange != 0:
		return nil
	case isDir(r.srcRec) && !isDir(r.dstRec):
		return ErrNotDir
	case !isDir(r.srcRec) && isDir(r.dstRec):
		return ErrIsDir
	}
	return r.v.mayRemove(ctx, r.dstRec, isDir(r.dstRec))
}

// noLoop checks that the entry moved, if it is a directory, is not to or an ancestor of it. The caller holds the rename
// lock and no other, so ancestors stay in place while they are looked at one by one.
func (v *Volume) noLoop(ctx context.Context, moved ondisk.Dirent, to Ino) error {
	if moved.Type != dtype(syscall.S_IFDIR) {
		return nil
	}
	for at := to; at != ondisk.RootBlock; {
		if at == moved.Ino {
			return ErrInvalid
		}
		err := v.with(ctx, at, useShared, func(n *inode) error {
			rec := n.record()
			if len(rec.Names) == 0 {
				return ErrNotExist // removed meanwhile
			}
			at = rec.Names[0].Parent
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// write puts all changes into the transaction.
func (r *renaming) write(ctx context.Context, tx *txn) (gone lastName, err error) {
	v := r.v
	entry := func(rec *ondisk.Inode, name string) ondisk.Dirent {
		return ondisk.Dirent{Ino: rec.Ino, Type: dtype(rec.Mode), Name: name}
	}
	if r.flags&RenameExchange != 0 {
		err = v.dirPut(ctx, tx, r.oldRec, entry(r.dstRec, r.oldName))
		r.moved(r.dstRec, r.newRec, r.newName, r.oldRec, r.oldName)
	} else {
		err = v.dirRemove(ctx, tx, r.oldRec, r.oldName)
	}
	if err != nil {
		return gone, err
	}
	if err := v.dirPut(ctx, tx, r.newRec, entry(r.srcRec, r.newName)); err != nil {
		return gone, err
	}
	r.moved(r.srcRec, r.oldRec, r.oldName, r.newRec, r.newName)
	recs := []*ondisk.Inode{r.oldRec, r.srcRec}
	if r.newRec != r.oldRec {
		recs = append(recs, r.newRec)
	}
	if r.dst != nil && r.flags&RenameExchange != 0 {
		recs = append(recs, r.dstRec)
	} else if r.dst != nil {
		if isDir(r.dstRec) {
			r.newRec.Nlink--
		}
		if gone, err = v.dropName(ctx, tx, r.dstRec, r.newRec.Ino, r.newName); err != nil {
			return gone, err
		}
	}
	for _, rec := range recs {
		if err := v.putInode(ctx, tx, rec); err != nil {
			gone.unlock()
			return lastName{}, err
		}
	}
	return gone, nil
}

// moved notes in rec that its name has moved, and counts subdirectories.
func (r *renaming) moved(rec, from *ondisk.Inode, fromName string, to *ondisk.Inode, toName string) {
	rec.Ctime = r.v.now()
	if isDir(rec) {
		rec.Names = []ondisk.KeptName{{Parent: to.Ino, Name: toName}}
		from.Nlink--
		to.Nlink++
		return
	}
	forgetName(rec, from.Ino, fromName)
	keepName(rec, to.Ino, toName)
}
