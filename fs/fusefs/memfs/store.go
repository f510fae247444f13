// Package memfs is a filesystem in memory for tests of FUSE transports: what fs is to them, without disk and cluster.
//
// A Store may be mounted by several Nodes at a time. Each inode has a lock that stands for its cluster lock: a node that
// was shown attributes or pages keeps them cached until another node changes the inode, which invalidates them
// first, by the same rules as fs: replies go out under the lock, reads of pages are served while the cache is being
// emptied, and the lock is taken only when a pass of the invalidation saw no such read.
package memfs

import (
	"sync"
	"syscall"
	"time"

	"github.com/covol/covol/fs"
)

const rootIno fs.Ino = 1000

const (
	pageSize = 4096 // bytes
	maxName  = 255  // bytes
)

// Store is the content.
type Store struct {
	mu   sync.Mutex // everything below, and all inodes
	cond *sync.Cond // any lock changed

	inodes map[fs.Ino]*inode
	next   fs.Ino
	cookie uint64
}

// inode is a file of any kind and its lock.
type inode struct {
	attr   fs.Attr
	pages  map[int64]*[pageSize]byte
	target string
	names  map[string]*dent
	order  []*dent // by cookie
	parent fs.Ino
	opens  int
	refs   map[*Node]uint64

	readers, pageReaders int
	pageReads            uint64
	excl, closing        bool
	draining             bool // closing, but reads of pages still come in
	cachers              map[*Node]bool
}

type dent struct {
	name   string
	ino    fs.Ino
	cookie uint64
}

// NewStore makes an empty volume.
func NewStore() *Store {
	s := &Store{inodes: map[fs.Ino]*inode{}, next: rootIno, cookie: 2}
	s.cond = sync.NewCond(&s.mu)
	root := s.newInode(fs.Caller{}, nil, syscall.S_IFDIR|0o755, 0)
	root.attr.Nlink, root.parent = 2, root.attr.Ino
	return s
}

// newInode makes an inode without a name. The caller holds mu.
func (s *Store) newInode(c fs.Caller, dir *inode, mode, rdev uint32) *inode {
	now := time.Now()
	i := &inode{pages: map[int64]*[pageSize]byte{}, refs: map[*Node]uint64{}, cachers: map[*Node]bool{}}
	i.attr = fs.Attr{Ino: s.next, Generation: 7, Mode: mode, Nlink: 1, UID: c.UID, GID: c.GID, Rdev: rdev,
		BlkSize: pageSize, Atime: now, Mtime: now, Ctime: now, Btime: now}
	if mode&syscall.S_IFMT == syscall.S_IFDIR {
		i.names = map[string]*dent{}
	}
	if dir != nil && dir.attr.Mode&syscall.S_ISGID != 0 {
		i.attr.GID = dir.attr.GID
		if i.names != nil {
			i.attr.Mode |= syscall.S_ISGID
		}
	}
	s.inodes[s.next] = i
	s.next++
	return i
}

// reap removes an inode that has no name, no user and no reference. The caller holds mu.
func (s *Store) reap(i *inode) {
	if i.attr.Nlink > 0 || i.opens > 0 || len(i.refs) > 0 {
		return
	}
	delete(s.inodes, i.attr.Ino)
}

func (i *inode) isDir() bool { return i.names != nil }

func (i *inode) touch() {
	i.attr.Mtime = time.Now()
	i.attr.Ctime = i.attr.Mtime
}

// add enters a name. The caller holds mu and the directory's lock.
func (s *Store) add(dir *inode, name string, ino fs.Ino) {
	s.cookie++
	d := &dent{name: name, ino: ino, cookie: s.cookie}
	dir.names[name] = d
	dir.order = append(dir.order, d)
	dir.attr.Size++
	dir.touch()
}

// del removes a name. The caller holds mu and the directory's lock.
func (s *Store) del(dir *inode, name string) {
	d := dir.names[name]
	delete(dir.names, name)
	for k, o := range dir.order {
		if o == d {
			dir.order = append(dir.order[:k:k], dir.order[k+1:]...)
			break
		}
	}
	dir.attr.Size--
	dir.touch()
}

// resize cuts or extends a file; what is beyond the end reads as zeros if it grows again.
func (i *inode) resize(size uint64) {
	if size < i.attr.Size {
		for n, p := range i.pages {
			switch start := uint64(n) * pageSize; {
			case start >= size:
				delete(i.pages, n)
			case start+pageSize > size:
				clear(p[size-start:])
			}
		}
	}
	i.attr.Size = size
	i.attr.Blocks = uint64(len(i.pages)) * (pageSize / 512)
	i.touch()
}

func (i *inode) readAt(p []byte, off int64) int {
	if off >= int64(i.attr.Size) {
		return 0
	}
	p = p[:min(int64(len(p)), int64(i.attr.Size)-off)]
	for done := 0; done < len(p); {
		n, at := (off+int64(done))/pageSize, (off+int64(done))%pageSize
		var k int
		if pg := i.pages[n]; pg != nil {
			k = copy(p[done:], pg[at:])
		} else {
			k = min(len(p)-done, int(pageSize-at))
			clear(p[done : done+k])
		}
		done += k
	}
	return len(p)
}

func (i *inode) writeAt(p []byte, off int64) {
	for done := 0; done < len(p); {
		n, at := (off+int64(done))/pageSize, (off+int64(done))%pageSize
		pg := i.pages[n]
		if pg == nil {
			pg = new([pageSize]byte)
			i.pages[n] = pg
		}
		done += copy(pg[at:], p[done:])
	}
	i.attr.Size = max(i.attr.Size, uint64(off)+uint64(len(p)))
	i.attr.Blocks = uint64(len(i.pages)) * (pageSize / 512)
	i.touch()
}

// Idle returns how many references, open files and nameless inodes there are: all zero when everything is unmounted
// and closed properly.
func (s *Store) Idle() (refs uint64, opens, orphans int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range s.inodes {
		for _, n := range i.refs {
			refs += n
		}
		opens += i.opens
		if i.attr.Nlink == 0 {
			orphans++
		}
	}
	return refs, opens, orphans
}
