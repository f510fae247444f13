package fs

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/covol/covol/ondisk"
)

// newInode says what to make.
type newInode struct {
	mode   uint32 // type and permissions
	rdev   uint32
	target string // of a symbolic link
}

// make makes an inode with a name in directory parent and hands its record to emit, while everything is still locked.
func (v *Volume) make(ctx context.Context, c Caller, parent Ino, name string, what newInode, emit func(*ondisk.Inode)) error {
	if err := checkName(name); err != nil {
		return err
	}
	for tries := fewNumbers; ; tries *= 4 {
		err := v.with(ctx, parent, useExcl, func(dir *inode) error {
			return v.makeIn(ctx, c, dir, name, what, tries, emit)
		})
		var busy *busyNumber
		if !errors.As(err, &busy) {
			return err
		}
		if tries < manyNumbers {
			continue
		}
		tries = fewNumbers
		// With nothing locked, call the number in from the node that has not let go of its earlier life.
		h, err := v.locks.lock(ctx, inodeRes(busy.ino), useExcl)
		if err != nil {
			return err
		}
		h.unlock()
	}
}

// makeIn is make in a directory that is locked exclusively.
func (v *Volume) makeIn(ctx context.Context, c Caller, dir *inode, name string, what newInode, tries int, emit func(*ondisk.Inode)) error {
	if err := v.mayAdd(ctx, dir, name); err != nil {
		return err
	}
	drec := dir.snapshot()
	nd := need{meta: tries + treeNeed(drec)}
	if len(what.target) > ondisk.MaxResident {
		nd.clusters = 1
	}
	tx, err := v.begin(ctx, nd)
	if err != nil {
		return err
	}
	ino, h, err := v.newNumber(ctx, tx, tries)
	if err != nil {
		tx.abort()
		return err
	}
	defer h.unlock()
	rec, err := v.newRecord(ctx, tx, c, drec, ino, name, what)
	if err != nil {
		tx.abort()
		return err
	}
	if err := v.addEntry(ctx, tx, drec, rec, name); err != nil {
		tx.abort()
		return err
	}
	child := &inode{ino: rec.Ino, rec: rec}
	if _, err := commitInodes(ctx, tx, change{dir, drec}, change{child, rec}); err != nil {
		return err
	}
	h.g.setInode(child)
	emit(rec)
	return nil
}

// mayAdd checks that a name can be added to a directory.
func (v *Volume) mayAdd(ctx context.Context, dir *inode, name string) error {
	_, exists, err := v.find(ctx, dir, name)
	switch {
	case err != nil:
		return err
	case exists:
		return ErrExist
	case dir.record().Nlink == 0:
		return ErrNotExist // an open directory that was removed
	}
	return nil
}

// newRecord is the record of the new inode ino, whose number is locked.
func (v *Volume) newRecord(ctx context.Context, tx *txn, c Caller, dir *ondisk.Inode, ino Ino, name string, what newInode) (*ondisk.Inode, error) {
	now := v.now()
	rec := &ondisk.Inode{
		Ino: ino, Generation: v.j.LSN() + 1, Mode: what.mode, UID: c.UID, GID: c.GID, Nlink: 1, Rdev: what.rdev,
		Atime: now, Mtime: now, Ctime: now, Btime: now,
		Names: []ondisk.KeptName{{Parent: dir.Ino, Name: name}},
	}
	if dir.Mode&syscall.S_ISGID != 0 {
		rec.GID = dir.GID
	}
	switch what.mode & syscall.S_IFMT {
	case syscall.S_IFDIR:
		rec.Nlink = 2
		rec.Size = ondisk.BlockSize
		rec.Mode |= dir.Mode & syscall.S_ISGID
		rec.Body, rec.Root = ondisk.BodyIndex, ondisk.InitNode(make([]byte, ondisk.MinNodeSize), 0)
	case syscall.S_IFLNK:
		rec.Size = uint64(len(what.target))
		if len(what.target) <= ondisk.MaxResident {
			rec.Body, rec.Resident = ondisk.BodyResident, []byte(what.target)
		} else {
			if err := v.storeTarget(ctx, tx, rec, what.target); err != nil {
				return nil, err
			}
		}
	}
	tx.countInode(1)
	return rec, nil
}

// storeTarget puts a target that is too long for the record into a cluster.
func (v *Volume) storeTarget(ctx context.Context, tx *txn, rec *ondisk.Inode, target string) error {
	rec.Body, rec.Root = ondisk.BodyExtents, ondisk.InitNode(make([]byte, ondisk.MinNodeSize), 0)
	runs, err := tx.allocData(ctx, 1, 0)
	if err != nil {
		return err
	}
	if err := v.writeCluster(ctx, runs[0].Start, []byte(target)); err != nil {
		return err
	}
	tx.ordered()
	rec.Clusters = 1
	return v.mapInsert(ctx, tx, rec, ondisk.Extent{Physical: runs[0].Start, Length: 1})
}

// How many numbers newNumber tries at first, and at most before it waits for one. After the death of a node one number
// in n cannot be had until it is recovered, because nobody knows whether it held the lock; creating files must not wait
// for that.
const (
	fewNumbers  = 4
	manyNumbers = 256
)

// busyNumber says that the numbers at hand are still locked by other nodes, which knew earlier lives of them.
type busyNumber struct{ ino Ino }

func (e *busyNumber) Error() string {
	return fmt.Sprintf("inode number %d is still locked elsewhere", e.ino)
}

// newNumber takes a block whose lock as an inode nobody holds. It does not wait for one, because a transaction is open.
func (v *Volume) newNumber(ctx context.Context, tx *txn, tries int) (Ino, hold, error) {
	var passed []uint64
	defer func() {
		for _, blk := range passed {
			tx.freeMeta(blk)
		}
	}()
	for range tries {
		blk, err := tx.allocMeta(ctx)
		if err != nil {
			return 0, hold{}, err
		}
		h, ok, err := v.locks.tryLock(ctx, inodeRes(blk), useExcl, true)
		if err != nil {
			return 0, hold{}, err
		}
		if ok {
			return blk, h, nil
		}
		passed = append(passed, blk)
	}
	return 0, hold{}, &busyNumber{passed[0]}
}

// addEntry writes a new record and its name into the transaction.
func (v *Volume) addEntry(ctx context.Context, tx *txn, dir, rec *ondisk.Inode, name string) error {
	if err := v.dirPut(ctx, tx, dir, ondisk.Dirent{Ino: rec.Ino, Type: dtype(rec.Mode), Name: name}); err != nil {
		return err
	}
	if isDir(rec) {
		if dir.Nlink >= maxLinks {
			return ErrTooManyLinks
		}
		dir.Nlink++
	}
	if err := v.putInode(ctx, tx, dir); err != nil {
		return err
	}
	return v.putInode(ctx, tx, rec)
}

// maxLinks bounds the names of a file and the subdirectories of a directory.
const maxLinks = 1 << 31

// setInode makes n what is cached under the glock, which the caller holds exclusively.
func (g *glock) setInode(n *inode) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.obj = n
}

// emitAttr counts a reference of the kernel and hands out the attributes.
func (v *Volume) emitAttr(emit func(Attr)) func(*ondisk.Inode) {
	return func(rec *ondisk.Inode) {
		v.known.looked(rec.Ino, rec.Generation)
		emit(v.attrOf(rec))
	}
}

// Mknod makes a regular file, device, FIFO or socket. mode holds type and permissions.
func (v *Volume) Mknod(ctx context.Context, c Caller, parent Ino, name string, mode, rdev uint32, emit func(Attr)) error {
	switch mode & syscall.S_IFMT {
	case 0:
		mode |= syscall.S_IFREG
	case syscall.S_IFREG, syscall.S_IFCHR, syscall.S_IFBLK, syscall.S_IFIFO, syscall.S_IFSOCK:
	default:
		return ErrInvalid
	}
	return v.make(ctx, c, parent, name, newInode{mode: mode, rdev: rdev}, v.emitAttr(emit))
}

// Mkdir makes a directory.
func (v *Volume) Mkdir(ctx context.Context, c Caller, parent Ino, name string, mode uint32, emit func(Attr)) error {
	return v.make(ctx, c, parent, name, newInode{mode: syscall.S_IFDIR | mode&0o7777}, v.emitAttr(emit))
}

// Symlink makes a symbolic link.
func (v *Volume) Symlink(ctx context.Context, c Caller, parent Ino, name, target string, emit func(Attr)) error {
	if len(target) == 0 || len(target) > 4095 {
		return ErrNameTooLong
	}
	return v.make(ctx, c, parent, name, newInode{mode: syscall.S_IFLNK | 0o777, target: target}, v.emitAttr(emit))
}

// Create makes a regular file and opens it. If the name exists it is opened instead, unless flags has O_EXCL.
func (v *Volume) Create(ctx context.Context, c Caller, parent Ino, name string, mode, flags uint32, emit func(Attr, File)) error {
	for {
		err := v.make(ctx, c, parent, name, newInode{mode: syscall.S_IFREG | mode&0o7777}, func(rec *ondisk.Inode) {
			f := v.open(rec, flags)
			v.known.looked(rec.Ino, rec.Generation)
			emit(v.attrOf(rec), f)
		})
		if Errno(err) != syscall.EEXIST || flags&syscall.O_EXCL != 0 {
			return err
		}
		err = v.openEntry(ctx, c, parent, name, flags, emit)
		if Errno(err) != syscall.ENOENT {
			return err
		}
	}
}

// openEntry opens a name that exists.
func (v *Volume) openEntry(ctx context.Context, c Caller, parent Ino, name string, flags uint32, emit func(Attr, File)) error {
	set, d, err := v.lockEntry(ctx, parent, name, useShared, useExcl)
	if err != nil {
		return err
	}
	defer set.unlock()
	n := set.nodes[d.Ino]
	if !isReg(n.record()) {
		return ErrExist
	}
	if flags&syscall.O_TRUNC != 0 {
		var zero uint64
		if err := v.setattrLocked(ctx, c, n, SetAttr{Size: &zero}); err != nil {
			return err
		}
	}
	rec := n.snapshot()
	f := v.open(rec, flags)
	v.known.looked(rec.Ino, rec.Generation)
	emit(v.attrOf(rec), f)
	return nil
}
