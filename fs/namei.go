package fs

import (
	"context"
	"slices"

	"github.com/covol/covol/ondisk"
)

// lockReq asks for one inode in one use.
type lockReq struct {
	ino   Ino
	use   use
	named bool // found by name just now, so whatever generation it has is the right one
}

// lockSet are inodes locked together.
type lockSet struct {
	holds []hold
	nodes map[Ino]*inode
}

// lockInodes locks and loads inodes in ascending order (the lock order of the package). An inode asked for twice is
// locked once, in the stronger use.
func (v *Volume) lockInodes(ctx context.Context, reqs ...lockReq) (*lockSet, error) {
	slices.SortFunc(reqs, func(a, b lockReq) int {
		if a.ino != b.ino {
			if a.ino < b.ino {
				return -1
			}
			return 1
		}
		return int(b.use) - int(a.use)
	})
	s := &lockSet{nodes: map[Ino]*inode{}}
	for _, r := range reqs {
		if s.nodes[r.ino] != nil {
			continue
		}
		h, n, err := v.acquire(ctx, r, false)
		if err != nil {
			s.unlock()
			return nil, err
		}
		s.holds = append(s.holds, h)
		s.nodes[r.ino] = n
	}
	return s, nil
}

func (s *lockSet) unlock() {
	for i := len(s.holds) - 1; i >= 0; i-- {
		s.holds[i].unlock()
	}
}

// find looks a name up in a directory that is locked.
func (v *Volume) find(ctx context.Context, dir *inode, name string) (ondisk.Dirent, bool, error) {
	rec := dir.record()
	if !isDir(rec) {
		return ondisk.Dirent{}, false, ErrNotDir
	}
	return v.dirFind(ctx, v.j, rec, name)
}

// checkName refuses names that no directory can hold.
func checkName(name string) error {
	switch {
	case len(name) > ondisk.MaxName:
		return ErrNameTooLong
	case !ondisk.ValidName(name):
		return ErrInvalid
	}
	return nil
}

// lockEntry locks directory and child for an operation on the name, child and directory in the given uses. It finds the
// child's number first, then locks both in order and looks again, until both agree. The child must exist.
func (v *Volume) lockEntry(ctx context.Context, dir Ino, name string, dirUse, childUse use, more ...lockReq) (*lockSet, ondisk.Dirent, error) {
	if len(name) > ondisk.MaxName {
		return nil, ondisk.Dirent{}, ErrNameTooLong
	}
	for {
		var d ondisk.Dirent
		var ok bool
		err := v.with(ctx, dir, useShared, func(n *inode) (err error) {
			d, ok, err = v.find(ctx, n, name)
			return err
		})
		if err != nil {
			return nil, d, err
		}
		if !ok {
			return nil, d, ErrNotExist
		}
		set, err := v.lockInodes(ctx, append([]lockReq{{ino: dir, use: dirUse}, {ino: d.Ino, use: childUse, named: true}}, more...)...)
		if err == nil {
			again, ok, ferr := v.find(ctx, set.nodes[dir], name)
			if ferr == nil && ok && again.Ino == d.Ino {
				return set, again, nil
			}
			set.unlock()
			err = ferr
		}
		if err != nil && !v.goneMeanwhile(ctx, dir, d, name, err) {
			return nil, d, err
		}
	}
}

// goneMeanwhile tells whether locking failed only because the entry was removed between the look and the lock.
func (v *Volume) goneMeanwhile(ctx context.Context, dir Ino, d ondisk.Dirent, name string, err error) bool {
	if Errno(err) != Errno(ErrStale) {
		return false
	}
	changed := false
	werr := v.with(ctx, dir, useShared, func(n *inode) error {
		again, ok, err := v.find(ctx, n, name)
		changed = err == nil && (!ok || again.Ino != d.Ino)
		return err
	})
	return werr == nil && changed
}

// Lookup finds name in directory parent. emit gets its attributes; the kernel then has one more reference to it.
func (v *Volume) Lookup(ctx context.Context, _ Caller, parent Ino, name string, emit func(Attr)) error {
	set, d, err := v.lockEntry(ctx, parent, name, useShared, useShared)
	if err != nil {
		return err
	}
	defer set.unlock()
	rec := set.nodes[d.Ino].snapshot()
	v.known.looked(rec.Ino, rec.Generation)
	emit(v.attrOf(rec))
	return nil
}

// Forget takes back n references that the kernel was given.
func (v *Volume) Forget(ino Ino, n uint64) {
	v.dropReference(ino, 0, n, 0)
}
