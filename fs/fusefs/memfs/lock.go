package memfs

import (
	"slices"
	"syscall"

	"github.com/covol/covol/fs"
)

// shared locks an inode for a node that will cache what it is shown. The caller holds mu, before and after.
func (n *Node) shared(i *inode, page bool) {
	for i.excl || (i.closing && (!i.draining || !page)) {
		n.s.cond.Wait()
	}
	i.readers++
	if page {
		i.pageReaders++
		i.pageReads++
	}
	i.cachers[n] = true
}

func (n *Node) unshare(i *inode, page bool) {
	i.readers--
	if page {
		i.pageReaders--
	}
	n.s.cond.Broadcast()
}

// exclusive locks inodes, in the order of their numbers, for a change by this node. The caller holds mu, before and
// after, but not in between.
func (n *Node) exclusive(inodes ...*inode) {
	for _, i := range sorted(inodes) {
		for i.excl || i.closing {
			n.s.cond.Wait()
		}
		i.closing, i.draining = true, true
		for i.readers > i.pageReaders {
			n.s.cond.Wait()
		}
		for !n.invalidateOthers(i) {
			continue
		}
		i.draining = false
		for i.readers > 0 {
			n.s.cond.Wait()
		}
		i.closing, i.excl = false, true
		i.cachers[n] = true
	}
}

// invalidateOthers makes one pass over the other nodes' caches and reports whether they are empty now.
func (n *Node) invalidateOthers(i *inode) bool {
	for i.pageReaders > 0 {
		n.s.cond.Wait()
	}
	before := i.pageReads
	var others []fs.Notifier
	for c := range i.cachers {
		if c != n && c.notifier != nil {
			others = append(others, c.notifier)
		}
	}
	if len(others) == 0 {
		return true
	}
	ino, dir := i.attr.Ino, i.isDir()
	n.s.mu.Unlock()
	for _, o := range others {
		var err error
		if dir {
			err = o.InvalidateAttr(ino)
		} else {
			err = o.InvalidateData(ino)
		}
		if err != nil {
			panic(err)
		}
	}
	n.s.mu.Lock()
	if i.pageReaders > 0 || i.pageReads != before {
		return false
	}
	clear(i.cachers)
	return true
}

func (n *Node) unlock(inodes ...*inode) {
	for _, i := range inodes {
		i.excl = false
	}
	n.s.cond.Broadcast()
}

func sorted(inodes []*inode) []*inode {
	out := slices.Clone(inodes)
	slices.SortFunc(out, func(a, b *inode) int { return int(a.attr.Ino) - int(b.attr.Ino) })
	return slices.Compact(out)
}

// get finds an inode. The caller holds mu.
func (s *Store) get(ino fs.Ino) (*inode, error) {
	if i := s.inodes[ino]; i != nil {
		return i, nil
	}
	return nil, syscall.ESTALE
}

// dir finds a directory that can hold name. The caller holds mu.
func (s *Store) dir(ino fs.Ino, name string) (*inode, error) {
	i, err := s.get(ino)
	switch {
	case err != nil:
		return nil, err
	case !i.isDir():
		return nil, syscall.ENOTDIR
	case len(name) > maxName:
		return nil, syscall.ENAMETOOLONG
	}
	return i, nil
}
