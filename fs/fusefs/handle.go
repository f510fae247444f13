package fusefs

import (
	"sync"
	"syscall"

	"github.com/covol/covol/fs"
)

// handle is an open file or directory.
type handle struct {
	ino    fs.Ino
	file   fs.File // nil for a directory
	dir    fs.Dir  // nil for a file
	cached bool    // reads go through the page cache
	append bool    // opened with O_APPEND
}

// handles gives out numbers for open files. The low 32 bits index a dense table, the high ones count how often the
// index was used: a number that was released is refused, never taken for its successor.
type handles struct {
	mu sync.RWMutex
	// GUARDED_BY(mu)
	slots []handleSlot
	// GUARDED_BY(mu)
	free []uint32
}

type handleSlot struct {
	use uint32
	h   *handle
}

func (hs *handles) add(h *handle) uint64 {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	var i uint32
	if n := len(hs.free); n > 0 {
		i, hs.free = hs.free[n-1], hs.free[:n-1]
	} else {
		i = uint32(len(hs.slots))
		hs.slots = append(hs.slots, handleSlot{})
	}
	s := &hs.slots[i]
	s.use++
	s.h = h
	return uint64(s.use)<<32 | uint64(i)
}

func (hs *handles) slot(id uint64) *handleSlot {
	i := uint32(id)
	if uint64(i) >= uint64(len(hs.slots)) {
		return nil
	}
	s := &hs.slots[i]
	if s.h == nil || s.use != uint32(id>>32) {
		return nil
	}
	return s
}

// file returns an open file, or EBADF.
func (hs *handles) file(id uint64) (*handle, error) {
	hs.mu.RLock()
	defer hs.mu.RUnlock()
	if s := hs.slot(id); s != nil && s.h.file != nil {
		return s.h, nil
	}
	return nil, syscall.EBADF
}

// dir returns an open directory, or EBADF.
func (hs *handles) dir(id uint64) (*handle, error) {
	hs.mu.RLock()
	defer hs.mu.RUnlock()
	if s := hs.slot(id); s != nil && s.h.dir != nil {
		return s.h, nil
	}
	return nil, syscall.EBADF
}

// remove takes a handle out of the table; nil if it is not there.
func (hs *handles) remove(id uint64) *handle {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	s := hs.slot(id)
	if s == nil {
		return nil
	}
	h := s.h
	s.h = nil
	hs.free = append(hs.free, uint32(id))
	return h
}

// drain takes out all handles.
func (hs *handles) drain() []*handle {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	var out []*handle
	for i := range hs.slots {
		if s := &hs.slots[i]; s.h != nil {
			out = append(out, s.h)
			s.h = nil
			hs.free = append(hs.free, uint32(i))
		}
	}
	return out
}
