package memfs

import (
	"context"
	"sort"
	"syscall"

	"github.com/covol/covol/fs"
)

// Open opens a file.
func (n *Node) Open(ctx context.Context, _ fs.Caller, ino fs.Ino, flags uint32) (fs.File, error) {
	if err := n.hook(ctx, "open", ino); err != nil {
		return nil, err
	}
	n.s.mu.Lock()
	defer n.s.mu.Unlock()
	i, err := n.s.get(ino)
	if err != nil {
		return nil, err
	}
	i.opens++
	return &file{n: n, i: i, flags: flags}, nil
}

type file struct {
	n     *Node
	i     *inode
	flags uint32
}

func (f *file) Read(ctx context.Context, p []byte, off int64, page bool, emit func(int)) error {
	op := "read"
	if page {
		op = "readpage"
	}
	if err := f.n.hook(ctx, op, f.i.attr.Ino); err != nil {
		return err
	}
	f.n.s.mu.Lock()
	f.n.shared(f.i, page)
	k := f.i.readAt(p, off)
	f.n.s.mu.Unlock()
	emit(k)
	f.n.s.mu.Lock()
	f.n.unshare(f.i, page)
	f.n.s.mu.Unlock()
	return nil
}

func (f *file) Write(ctx context.Context, p []byte, off int64) (int, error) {
	if err := f.n.hook(ctx, "write", f.i.attr.Ino); err != nil {
		return 0, err
	}
	f.n.s.mu.Lock()
	defer f.n.s.mu.Unlock()
	f.n.exclusive(f.i)
	if f.flags&syscall.O_APPEND != 0 {
		off = int64(f.i.attr.Size)
	}
	f.i.writeAt(p, off)
	f.n.unlock(f.i)
	return len(p), nil
}

func (f *file) Sync(ctx context.Context, _ bool) error { return f.n.hook(ctx, "sync", f.i.attr.Ino) }

// Allocate knows growing (0), keeping the size (1) and punching holes (3).
func (f *file) Allocate(ctx context.Context, mode uint32, off, length int64) error {
	if err := f.n.hook(ctx, "allocate", f.i.attr.Ino); err != nil {
		return err
	}
	f.n.s.mu.Lock()
	defer f.n.s.mu.Unlock()
	f.n.exclusive(f.i)
	defer f.n.unlock(f.i)
	i := f.i
	switch mode {
	case 0:
		if end := uint64(off + length); end > i.attr.Size {
			i.resize(end)
		}
	case 1:
	case 3:
		for k, p := range i.pages {
			start := k * pageSize
			lo, hi := max(off, start), min(off+length, start+pageSize)
			if lo < hi {
				clear(p[lo-start : hi-start])
			}
		}
	default:
		return syscall.EOPNOTSUPP
	}
	return nil
}

func (f *file) Release(ctx context.Context) error {
	err := f.n.hook(ctx, "release", f.i.attr.Ino)
	f.n.closed(f.i)
	return err
}

func (n *Node) closed(i *inode) {
	n.s.mu.Lock()
	defer n.s.mu.Unlock()
	i.opens--
	n.s.reap(i)
}

// OpenDir opens a directory.
func (n *Node) OpenDir(ctx context.Context, ino fs.Ino) (fs.Dir, error) {
	if err := n.hook(ctx, "opendir", ino); err != nil {
		return nil, err
	}
	n.s.mu.Lock()
	defer n.s.mu.Unlock()
	i, err := n.s.get(ino)
	if err != nil {
		return nil, err
	}
	if !i.isDir() {
		return nil, syscall.ENOTDIR
	}
	i.opens++
	return &dir{n: n, i: i}, nil
}

type dir struct {
	n *Node
	i *inode
}

func (d *dir) Read(ctx context.Context, cookie uint64, emit func(fs.DirEntry) bool) error {
	if err := d.n.hook(ctx, "readdir", d.i.attr.Ino); err != nil {
		return err
	}
	d.n.s.mu.Lock()
	defer d.n.s.mu.Unlock()
	d.n.shared(d.i, false)
	defer d.n.unshare(d.i, false)
	if cookie < 1 && !emit(fs.DirEntry{Ino: d.i.attr.Ino, Type: syscall.DT_DIR, Name: ".", Cookie: 1}) {
		return nil
	}
	if cookie < 2 && !emit(fs.DirEntry{Ino: d.i.parent, Type: syscall.DT_DIR, Name: "..", Cookie: 2}) {
		return nil
	}
	order := d.i.order
	for k := sort.Search(len(order), func(k int) bool { return order[k].cookie > cookie }); k < len(order); k++ {
		e := order[k]
		t := uint8(d.n.s.inodes[e.ino].attr.Mode >> 12)
		if !emit(fs.DirEntry{Ino: e.ino, Type: t, Name: e.name, Cookie: e.cookie}) {
			break
		}
	}
	return nil
}

func (d *dir) Sync(ctx context.Context) error { return d.n.hook(ctx, "syncdir", d.i.attr.Ino) }

func (d *dir) Release() { d.n.closed(d.i) }
