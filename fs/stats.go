package fs

import (
	"slices"
	"strings"

	"github.com/covol/covol/dlm"
	"github.com/covol/covol/journal"
)

// Stats counts what a mounted volume does, and what it keeps in memory now.
type Stats struct {
	Journal journal.Stats
	Locks   int // cluster locks kept or used
	Idle    int // of them without use
	Known   int // inodes that the kernel or an open file refers to
}

// Stats returns the counters. It waits for nothing, and works after a withdrawal.
func (v *Volume) Stats() Stats {
	s := Stats{Journal: v.j.Stats()}
	v.locks.mu.Lock()
	s.Locks, s.Idle = len(v.locks.locks), v.locks.idle.n
	v.locks.mu.Unlock()
	v.known.mu.Lock()
	s.Known = len(v.known.m)
	v.known.mu.Unlock()
	return s
}

// maxDepth bounds the directories that Path climbs through: records in memory may be of different moments.
const maxDepth = 64

// Path is a name of an inode as far as it is known without asking anyone: the directories that are not cached here are
// left out, and the path begins with "..." then. It is empty if the inode itself is not cached. For people: it may be
// out of date.
func (v *Volume) Path(ino Ino) string {
	if ino == v.Root() {
		return "/"
	}
	var names []string
	for range maxDepth {
		n := v.locks.cached(ino)
		if n == nil || len(n.record().Names) == 0 {
			break
		}
		name := n.record().Names[0]
		names = append(names, string(name.Name))
		if ino = name.Parent; ino == v.Root() {
			slices.Reverse(names)
			return "/" + strings.Join(names, "/")
		}
	}
	if len(names) == 0 {
		return ""
	}
	slices.Reverse(names)
	return ".../" + strings.Join(names, "/")
}

// cached is the inode that is in memory under its lock, nil if it is not.
func (t *lockTable) cached(ino Ino) *inode {
	t.mu.Lock()
	e := t.locks[dlm.Resource{Kind: dlm.Inode, ID: ino}]
	t.mu.Unlock()
	if e == nil {
		return nil
	}
	return e.g.inode()
}
