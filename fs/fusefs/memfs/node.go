package memfs

import (
	"context"
	"syscall"
	"time"

	"github.com/covol/covol/fs"
	"github.com/covol/covol/fs/fusefs"
)

// Node is one node's mount of a Store.
type Node struct {
	s        *Store
	notifier fs.Notifier // GUARDED_BY(s.mu)

	// Hook, if set before the node is used, is called at the beginning of every operation on an inode, without any
	// lock; an error ends the operation. Tests block, fail and panic in it.
	Hook func(ctx context.Context, op string, ino fs.Ino) error
}

var _ fusefs.Filesystem = (*Node)(nil)

// NewNode mounts the store once more.
func (s *Store) NewNode() *Node { return &Node{s: s} }

func (n *Node) hook(ctx context.Context, op string, ino fs.Ino) error {
	if n.Hook == nil {
		return nil
	}
	return n.Hook(ctx, op, ino)
}

// Root implements fusefs.Filesystem, as do all that follow.
func (n *Node) Root() fs.Ino { return rootIno }

// SetNotifier sets who is told of changes by other nodes.
func (n *Node) SetNotifier(nt fs.Notifier) {
	n.s.mu.Lock()
	defer n.s.mu.Unlock()
	n.notifier = nt
}

// Forget drops references. More than there are is a bug of the server, and panics.
func (n *Node) Forget(ino fs.Ino, k uint64) {
	n.s.mu.Lock()
	defer n.s.mu.Unlock()
	i := n.s.inodes[ino]
	if i == nil || i.refs[n] < k {
		panic("memfs: forget of references never given")
	}
	i.refs[n] -= k
	if i.refs[n] == 0 {
		delete(i.refs, n)
	}
	n.s.reap(i)
}

// ref counts a reference and tells of it. The caller holds the inode's lock but not mu.
func (n *Node) ref(i *inode, emit func(fs.Attr)) {
	n.s.mu.Lock()
	i.refs[n]++
	a := i.attr
	n.s.mu.Unlock()
	emit(a)
}

// Lookup finds a name.
func (n *Node) Lookup(ctx context.Context, _ fs.Caller, parent fs.Ino, name string, emit func(fs.Attr)) error {
	if err := n.hook(ctx, "lookup", parent); err != nil {
		return err
	}
	n.s.mu.Lock()
	dir, err := n.s.dir(parent, name)
	var i *inode
	if err == nil {
		n.shared(dir, false)
		if d := dir.names[name]; d != nil {
			i, err = n.s.get(d.ino)
		} else {
			err = syscall.ENOENT
		}
		n.unshare(dir, false)
	}
	if err != nil {
		n.s.mu.Unlock()
		return err
	}
	i.refs[n]++ // keeps it alive while its lock is waited for
	n.shared(i, false)
	a := i.attr
	n.s.mu.Unlock()
	emit(a)
	n.s.mu.Lock()
	n.unshare(i, false)
	n.s.mu.Unlock()
	return nil
}

// Getattr tells attributes.
func (n *Node) Getattr(ctx context.Context, ino fs.Ino, emit func(fs.Attr)) error {
	if err := n.hook(ctx, "getattr", ino); err != nil {
		return err
	}
	n.s.mu.Lock()
	i, err := n.s.get(ino)
	if err != nil {
		n.s.mu.Unlock()
		return err
	}
	n.shared(i, false)
	a := i.attr
	n.s.mu.Unlock()
	emit(a)
	n.s.mu.Lock()
	n.unshare(i, false)
	n.s.mu.Unlock()
	return nil
}

// Setattr changes attributes.
func (n *Node) Setattr(ctx context.Context, _ fs.Caller, ino fs.Ino, s fs.SetAttr, emit func(fs.Attr)) error {
	if err := n.hook(ctx, "setattr", ino); err != nil {
		return err
	}
	n.s.mu.Lock()
	i, err := n.s.get(ino)
	if err != nil {
		n.s.mu.Unlock()
		return err
	}
	n.exclusive(i)
	i.apply(s)
	a := i.attr
	n.s.mu.Unlock()
	emit(a)
	n.s.mu.Lock()
	n.unlock(i)
	n.s.mu.Unlock()
	return nil
}

func (i *inode) apply(s fs.SetAttr) {
	a := &i.attr
	if s.Size != nil {
		i.resize(*s.Size)
	}
	if s.Mode != nil {
		a.Mode = a.Mode&syscall.S_IFMT | *s.Mode
	}
	if s.UID != nil {
		a.UID = *s.UID
	}
	if s.GID != nil {
		a.GID = *s.GID
	}
	if s.Atime != nil {
		a.Atime = *s.Atime
	}
	if s.Mtime != nil {
		a.Mtime = *s.Mtime
	}
	a.Ctime = time.Now()
}

// Readlink tells a link's target.
func (n *Node) Readlink(_ context.Context, ino fs.Ino) (string, error) {
	n.s.mu.Lock()
	defer n.s.mu.Unlock()
	i, err := n.s.get(ino)
	if err != nil {
		return "", err
	}
	return i.target, nil
}

// Statfs makes up some numbers.
func (n *Node) Statfs(context.Context) (fs.Statfs, error) {
	return fs.Statfs{BlockSize: pageSize, Blocks: 1 << 20, Free: 1 << 19, Files: 1 << 20, FreeFiles: 1 << 19,
		NameMax: maxName}, nil
}
