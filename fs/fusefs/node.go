package fusefs

import (
	"sync"

	"github.com/covol/covol/fs"
)

// node is what the kernel may know of an inode.
type node struct {
	refs    uint64 // lookups the kernel was told of and has not forgotten
	readers int    // handles that read through the page cache
	pages   bool   // the page cache may hold pages; set before they are read
}

// nodes counts the kernel's references. The root is always there and not counted.
type nodes struct {
	root fs.Ino

	mu sync.Mutex
	// GUARDED_BY(mu)
	m map[fs.Ino]*node
}

func (ns *nodes) init(root fs.Ino) {
	ns.root = root
	ns.m = map[fs.Ino]*node{root: {}}
}

func (ns *nodes) ref(ino fs.Ino) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	n := ns.m[ino]
	if n == nil {
		n = &node{}
		ns.m[ino] = n
	}
	n.refs++
}

// forget takes back n references and returns how many of them there were.
func (ns *nodes) forget(ino fs.Ino, n uint64) uint64 {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	nd := ns.m[ino]
	if nd == nil {
		return 0
	}
	n = min(n, nd.refs)
	nd.refs -= n
	if nd.refs == 0 && ino != ns.root {
		delete(ns.m, ino)
	}
	return n
}

// known reports whether the kernel may hold the inode.
func (ns *nodes) known(ino fs.Ino) bool {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	return ns.m[ino] != nil
}

func (ns *nodes) update(ino fs.Ino, fn func(*node)) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if n := ns.m[ino]; n != nil {
		fn(n)
	}
}

func (ns *nodes) addReader(ino fs.Ino, d int) { ns.update(ino, func(n *node) { n.readers += d }) }

func (ns *nodes) markPages(ino fs.Ino) { ns.update(ino, func(n *node) { n.pages = true }) }

func (ns *nodes) clearPages(ino fs.Ino) { ns.update(ino, func(n *node) { n.pages = false }) }

// stale is asked after a write that went past the page cache: whether pages may be there, and whether all of them
// should go. While nobody has the file open for reading all go and are noted as gone, so that a file that was read
// once does not cost a notification with every write ever after.
func (ns *nodes) stale(ino fs.Ino) (pages, all bool) {
	ns.update(ino, func(n *node) {
		pages, all = n.pages, n.readers == 0
		if all {
			n.pages = false
		}
	})
	return pages, all
}

// all are the inodes that the kernel may hold, the root first.
func (ns *nodes) all() []fs.Ino {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	list := make([]fs.Ino, 0, len(ns.m))
	list = append(list, ns.root)
	for ino := range ns.m {
		if ino != ns.root {
			list = append(list, ino)
		}
	}
	return list
}

// drain forgets everything and calls fn with what there was.
func (ns *nodes) drain(fn func(ino fs.Ino, n uint64)) {
	ns.mu.Lock()
	old := ns.m
	ns.m = map[fs.Ino]*node{ns.root: {}}
	ns.mu.Unlock()
	for ino, n := range old {
		if n.refs > 0 {
			fn(ino, n.refs)
		}
	}
}

// node is the kernel's number for an inode. The kernel calls the root 1; an inode 1 that is not the root takes the
// root's number in exchange.
func (s *Server) node(ino fs.Ino) uint64 { return s.ino(ino) }

// ino is the inode of a kernel's node number: the exchange undone.
func (s *Server) ino(node uint64) fs.Ino {
	switch node {
	case RootNode:
		return s.nodes.root
	case s.nodes.root:
		return RootNode
	}
	return node
}
