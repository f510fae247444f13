package fs

import (
	"context"
	"slices"
	"strings"

	"github.com/covol/covol/ondisk"
)

// A directory is a tree from the hash of a name to all entries with that hash.

// dirFind looks a name up.
func (v *Volume) dirFind(ctx context.Context, r blockReader, dir *ondisk.Inode, name string) (ondisk.Dirent, bool, error) {
	ds, err := v.dirBucket(ctx, r, dir, v.sb.HashName(name))
	if err != nil {
		return ondisk.Dirent{}, false, err
	}
	i, found := searchName(ds, name)
	if !found {
		return ondisk.Dirent{}, false, nil
	}
	return ds[i], true, nil
}

// dirBucket is all entries with one hash, ascending by name.
func (v *Volume) dirBucket(ctx context.Context, r blockReader, dir *ondisk.Inode, hash uint64) ([]ondisk.Dirent, error) {
	value, found, err := treeGet(ctx, r, dir, hash)
	if err != nil || !found {
		return nil, err
	}
	return ondisk.DecodeDirents(dir.Ino, value)
}

func searchName(ds []ondisk.Dirent, name string) (int, bool) {
	return slices.BinarySearchFunc(ds, name, func(d ondisk.Dirent, n string) int { return strings.Compare(d.Name, n) })
}

// dirPut inserts an entry, or points an existing name to another inode. dir is the caller's copy.
func (v *Volume) dirPut(ctx context.Context, tx *txn, dir *ondisk.Inode, d ondisk.Dirent) error {
	hash := v.sb.HashName(d.Name)
	ds, err := v.dirBucket(ctx, tx, dir, hash)
	if err != nil {
		return err
	}
	i, found := searchName(ds, d.Name)
	if found {
		ds[i] = d
	} else {
		ds = slices.Insert(ds, i, d)
	}
	if err := treePut(ctx, tx, dir, hash, ondisk.EncodeDirents(ds)); err != nil {
		return err
	}
	v.dirChanged(dir)
	return nil
}

// dirRemove takes an entry out. dir is the caller's copy.
func (v *Volume) dirRemove(ctx context.Context, tx *txn, dir *ondisk.Inode, name string) error {
	hash := v.sb.HashName(name)
	ds, err := v.dirBucket(ctx, tx, dir, hash)
	if err != nil {
		return err
	}
	i, found := searchName(ds, name)
	if !found {
		return ErrNotExist
	}
	if ds = slices.Delete(ds, i, i+1); len(ds) == 0 {
		_, err = treeDelete(ctx, tx, dir, hash)
	} else {
		err = treePut(ctx, tx, dir, hash, ondisk.EncodeDirents(ds))
	}
	if err != nil {
		return err
	}
	v.dirChanged(dir)
	return nil
}

// dirChanged keeps what stat tells of a directory in step with its tree.
func (v *Volume) dirChanged(dir *ondisk.Inode) {
	dir.Size = (1 + dir.Meta) * ondisk.BlockSize
	dir.Mtime = v.now()
	dir.Ctime = dir.Mtime
}

// dirEmpty reports whether a directory has no names.
func dirEmpty(ctx context.Context, r blockReader, dir *ondisk.Inode) (bool, error) {
	empty := true
	err := treeScan(ctx, r, dir, 0, func(uint64, []byte) bool {
		empty = false
		return false
	})
	return empty, err
}

// Cookies of the entries that every directory has. Hashes are at least 16.
const (
	cookieDot    = 1
	cookieDotDot = 2
)

// openDir is an open directory.
type openDir struct {
	v          *Volume
	ino        Ino
	generation uint64
}

// OpenDir opens a directory.
func (v *Volume) OpenDir(ctx context.Context, ino Ino) (Dir, error) {
	var d *openDir
	err := v.with(ctx, ino, useShared, func(n *inode) error {
		rec := n.record()
		if !isDir(rec) {
			return ErrNotDir
		}
		v.known.opened(ino, rec.Generation)
		d = &openDir{v, ino, rec.Generation}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return d, nil
}

// Read implements Dir.
func (d *openDir) Read(ctx context.Context, cookie uint64, emit func(DirEntry) bool) error {
	const dtDir = 4
	return d.v.with(ctx, d.ino, useShared, func(n *inode) error {
		rec := n.record()
		if cookie < cookieDot && !emit(DirEntry{d.ino, dtDir, ".", cookieDot}) {
			return nil
		}
		parent := d.ino
		if len(rec.Names) > 0 {
			parent = rec.Names[0].Parent
		}
		if cookie < cookieDotDot && !emit(DirEntry{parent, dtDir, "..", cookieDotDot}) {
			return nil
		}
		var bad error
		err := treeScan(ctx, d.v.j, rec, cookie+1, func(hash uint64, value []byte) bool {
			ds, err := ondisk.DecodeDirents(d.ino, value)
			if err != nil {
				bad = err
				return false
			}
			for i, e := range ds {
				next := hash
				if i < len(ds)-1 {
					next = hash - 1 // names with one hash are told again rather than left out
				}
				if !emit(DirEntry{e.Ino, e.Type, e.Name, next}) {
					return false
				}
			}
			return true
		})
		if bad != nil {
			return bad
		}
		return err
	})
}

// Sync implements Dir.
func (d *openDir) Sync(ctx context.Context) error {
	if err := d.v.failed(); err != nil {
		return err
	}
	return d.v.j.SyncAll(ctx)
}

// Release implements Dir.
func (d *openDir) Release() { d.v.dropReference(d.ino, d.generation, 0, 1) }
