package memfs

import (
	"context"
	"syscall"

	"github.com/covol/covol/fs"
)

// create makes an inode under a name.
func (n *Node) create(ctx context.Context, c fs.Caller, parent fs.Ino, name string, mode, rdev uint32,
	fill func(*inode), emit func(*inode)) error {
	if err := n.hook(ctx, "create", parent); err != nil {
		return err
	}
	n.s.mu.Lock()
	dir, err := n.s.dir(parent, name)
	if err != nil {
		n.s.mu.Unlock()
		return err
	}
	n.exclusive(dir)
	switch {
	case dir.attr.Nlink == 0:
		err = syscall.ENOENT
	case dir.names[name] != nil:
		err = syscall.EEXIST
	}
	if err != nil {
		n.unlock(dir)
		n.s.mu.Unlock()
		return err
	}
	i := n.s.newInode(c, dir, mode, rdev)
	if i.isDir() {
		i.attr.Nlink, i.parent = 2, parent
		dir.attr.Nlink++
	}
	if fill != nil {
		fill(i)
	}
	n.s.add(dir, name, i.attr.Ino)
	n.exclusive(i)
	n.s.mu.Unlock()
	emit(i)
	n.s.mu.Lock()
	n.unlock(dir, i)
	n.s.mu.Unlock()
	return nil
}

// Mknod makes a file of any kind but directory and link.
func (n *Node) Mknod(ctx context.Context, c fs.Caller, parent fs.Ino, name string, mode, rdev uint32,
	emit func(fs.Attr)) error {
	return n.create(ctx, c, parent, name, mode, rdev, nil, func(i *inode) { n.ref(i, emit) })
}

// Mkdir makes a directory.
func (n *Node) Mkdir(ctx context.Context, c fs.Caller, parent fs.Ino, name string, mode uint32,
	emit func(fs.Attr)) error {
	return n.create(ctx, c, parent, name, mode&^syscall.S_IFMT|syscall.S_IFDIR, 0, nil,
		func(i *inode) { n.ref(i, emit) })
}

// Symlink makes a link.
func (n *Node) Symlink(ctx context.Context, c fs.Caller, parent fs.Ino, name, target string,
	emit func(fs.Attr)) error {
	return n.create(ctx, c, parent, name, syscall.S_IFLNK|0o777, 0,
		func(i *inode) { i.target, i.attr.Size = target, uint64(len(target)) },
		func(i *inode) { n.ref(i, emit) })
}

// Create makes a file and opens it.
func (n *Node) Create(ctx context.Context, c fs.Caller, parent fs.Ino, name string, mode, flags uint32,
	emit func(fs.Attr, fs.File)) error {
	for {
		err := n.create(ctx, c, parent, name, mode&^syscall.S_IFMT|syscall.S_IFREG, 0,
			func(i *inode) { i.opens++ },
			func(i *inode) { n.ref(i, func(a fs.Attr) { emit(a, &file{n: n, i: i, flags: flags}) }) })
		if err != syscall.EEXIST || flags&syscall.O_EXCL != 0 {
			return err
		}
		var ino fs.Ino
		err = n.Lookup(ctx, c, parent, name, func(a fs.Attr) {
			n.s.mu.Lock()
			n.s.inodes[a.Ino].opens++
			i := n.s.inodes[a.Ino]
			n.s.mu.Unlock()
			ino = a.Ino
			emit(a, &file{n: n, i: i, flags: flags})
		})
		if err != syscall.ENOENT || ino != 0 {
			return err
		}
	}
}

// Link gives an inode another name.
func (n *Node) Link(ctx context.Context, _ fs.Caller, ino, parent fs.Ino, name string, emit func(fs.Attr)) error {
	if err := n.hook(ctx, "link", ino); err != nil {
		return err
	}
	n.s.mu.Lock()
	i, err := n.s.get(ino)
	var dir *inode
	if err == nil {
		dir, err = n.s.dir(parent, name)
	}
	if err != nil {
		n.s.mu.Unlock()
		return err
	}
	n.exclusive(dir, i)
	switch {
	case i.isDir():
		err = syscall.EPERM
	case dir.names[name] != nil:
		err = syscall.EEXIST
	case i.attr.Nlink == 0 || dir.attr.Nlink == 0:
		err = syscall.ENOENT
	default:
		i.attr.Nlink++
		n.s.add(dir, name, ino)
		i.attr.Ctime = dir.attr.Ctime
		n.s.mu.Unlock()
		n.ref(i, emit)
		n.s.mu.Lock()
	}
	n.unlock(dir, i)
	n.s.mu.Unlock()
	return err
}

// lockName locks a directory, what name is there (nil if nothing), and more inodes. The caller holds mu.
func (n *Node) lockName(parent fs.Ino, name string, more ...*inode) (dir, i *inode, err error) {
	for {
		if dir, err = n.s.dir(parent, name); err != nil {
			return nil, nil, err
		}
		i = nil
		set := append([]*inode{dir}, more...)
		d := dir.names[name]
		if d != nil {
			if i, err = n.s.get(d.ino); err != nil {
				return nil, nil, err
			}
			set = append(set, i)
		}
		n.exclusive(set...)
		if dir.names[name] == d {
			return dir, i, nil
		}
		n.unlock(set...)
	}
}

// Unlink removes a name.
func (n *Node) Unlink(ctx context.Context, _ fs.Caller, parent fs.Ino, name string) error {
	return n.remove(ctx, parent, name, func(i *inode) error {
		if i.isDir() {
			return syscall.EISDIR
		}
		return nil
	})
}

// Rmdir removes an empty directory.
func (n *Node) Rmdir(ctx context.Context, _ fs.Caller, parent fs.Ino, name string) error {
	return n.remove(ctx, parent, name, func(i *inode) error {
		switch {
		case !i.isDir():
			return syscall.ENOTDIR
		case len(i.names) > 0:
			return syscall.ENOTEMPTY
		}
		return nil
	})
}

func (n *Node) remove(ctx context.Context, parent fs.Ino, name string, check func(*inode) error) error {
	if err := n.hook(ctx, "remove", parent); err != nil {
		return err
	}
	n.s.mu.Lock()
	defer n.s.mu.Unlock()
	dir, i, err := n.lockName(parent, name)
	if err != nil {
		return err
	}
	if i == nil {
		n.unlock(dir)
		return syscall.ENOENT
	}
	if err = check(i); err == nil {
		n.s.del(dir, name)
		n.s.unlinked(dir, i)
	}
	n.unlock(dir, i)
	return err
}

// unlinked takes a link from an inode that lost a name in dir.
func (s *Store) unlinked(dir, i *inode) {
	if i.isDir() {
		i.attr.Nlink = 0
		dir.attr.Nlink--
	} else {
		i.attr.Nlink--
	}
	i.attr.Ctime = dir.attr.Ctime
	s.reap(i)
}

// Rename moves a name. One at a time, which is what makes the walk to the root and the locking simple.
func (n *Node) Rename(ctx context.Context, _ fs.Caller, oldParent fs.Ino, oldName string, newParent fs.Ino,
	newName string, flags uint32) error {
	if err := n.hook(ctx, "rename", oldParent); err != nil {
		return err
	}
	if flags != 0 {
		return syscall.EINVAL
	}
	n.s.mu.Lock()
	defer n.s.mu.Unlock()
	for {
		from, err := n.s.dir(oldParent, oldName)
		if err != nil {
			return err
		}
		to, err := n.s.dir(newParent, newName)
		if err != nil {
			return err
		}
		set := []*inode{from, to}
		src, dst := n.child(from, oldName), n.child(to, newName)
		for _, i := range []*inode{src, dst} {
			if i != nil {
				set = append(set, i)
			}
		}
		n.exclusive(set...)
		if n.child(from, oldName) == src && n.child(to, newName) == dst {
			err = n.move(from, oldName, src, to, newName, dst)
			n.unlock(set...)
			return err
		}
		n.unlock(set...)
	}
}

func (n *Node) child(dir *inode, name string) *inode {
	if d := dir.names[name]; d != nil {
		return n.s.inodes[d.ino]
	}
	return nil
}

func (n *Node) move(from *inode, oldName string, src, to *inode, newName string, dst *inode) error {
	switch {
	case src == nil || to.attr.Nlink == 0:
		return syscall.ENOENT
	case src == dst:
		return nil
	case dst != nil && src.isDir() && !dst.isDir():
		return syscall.ENOTDIR
	case dst != nil && !src.isDir() && dst.isDir():
		return syscall.EISDIR
	case dst != nil && dst.isDir() && len(dst.names) > 0:
		return syscall.ENOTEMPTY
	}
	for d := to; src.isDir(); d = n.s.inodes[d.parent] {
		if d == src {
			return syscall.EINVAL
		}
		if d.attr.Ino == rootIno {
			break
		}
	}
	if dst != nil {
		n.s.del(to, newName)
		n.s.unlinked(to, dst)
	}
	n.s.del(from, oldName)
	n.s.add(to, newName, src.attr.Ino)
	src.attr.Ctime = to.attr.Ctime
	if src.isDir() {
		from.attr.Nlink--
		to.attr.Nlink++
		src.parent = to.attr.Ino
	}
	return nil
}
