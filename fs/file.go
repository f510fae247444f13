package fs

import (
	"context"
	"syscall"
	"time"

	"github.com/covol/covol/ondisk"
)

// file is an open file.
type file struct {
	v          *Volume
	ino        Ino
	generation uint64
	flags      uint32 // of open(2)
}

var _ File = (*file)(nil)

// Open opens a file that is not a directory.
func (v *Volume) Open(ctx context.Context, c Caller, ino Ino, flags uint32) (File, error) {
	u := useShared
	if flags&syscall.O_TRUNC != 0 {
		u = useExcl
	}
	var f File
	err := v.with(ctx, ino, u, func(n *inode) error {
		rec := n.record()
		if isDir(rec) {
			return ErrIsDir
		}
		if u == useExcl && isReg(rec) {
			var zero uint64
			if err := v.setattrLocked(ctx, c, n, SetAttr{Size: &zero}); err != nil {
				return err
			}
		}
		f = v.open(rec, flags)
		return nil
	})
	return f, err
}

// open counts and makes an open file. The inode is locked.
func (v *Volume) open(rec *ondisk.Inode, flags uint32) File {
	v.known.opened(rec.Ino, rec.Generation)
	return &file{v, rec.Ino, rec.Generation, flags}
}

// acquire locks the file's inode.
func (f *file) acquire(ctx context.Context, u use, page bool) (hold, *inode, error) {
	h, n, err := f.v.acquire(ctx, lockReq{ino: f.ino, use: u, named: true}, page)
	if err == nil && n.record().Generation != f.generation {
		h.unlock()
		return hold{}, nil, ErrStale
	}
	return h, n, err
}

// Read implements File.
func (f *file) Read(ctx context.Context, p []byte, off int64, page bool, emit func(n int)) error {
	if off < 0 {
		return ErrInvalid
	}
	h, n, err := f.acquire(ctx, useShared, page)
	if err != nil {
		return err
	}
	defer h.unlock()
	got, err := f.v.readAt(ctx, n.record(), p, off)
	if err != nil {
		return err
	}
	f.v.touchAtime(h, n)
	emit(got)
	return nil
}

// touchAtime keeps the time of the last access as relatime does, but only while this node may write the record anyway:
// a read must not cost a lock.
func (v *Volume) touchAtime(h hold, n *inode) {
	h.g.mu.Lock()
	mayWrite := h.use == useShared && h.g.mode > useShared.mode() && h.g.phase == phaseOpen
	h.g.mu.Unlock()
	if !mayWrite {
		return
	}
	n.mu.Lock()
	at, mt := n.rec.Atime, n.rec.Mtime
	if n.timesDirty {
		at, mt = n.atime, n.mtime
	}
	n.mu.Unlock()
	now := v.sched.Wall()
	if later(at, mt) && now.Sub(at.Time()) < 24*time.Hour {
		return
	}
	v.touch(n, now, time.Time{})
}

// Sync implements File.
func (f *file) Sync(ctx context.Context, dataOnly bool) error {
	if !dataOnly {
		h, n, err := f.acquire(ctx, useShared, false)
		if err != nil {
			return err
		}
		dirty := n.hasTimes()
		h.unlock()
		if dirty {
			if err := f.syncTimes(ctx); err != nil {
				return err
			}
		}
	}
	if err := f.v.failed(); err != nil {
		return err
	}
	if f.v.j.HasDirty(f.ino) {
		return f.v.j.SyncData(ctx)
	}
	return f.v.j.Barrier(ctx)
}

func (f *file) syncTimes(ctx context.Context) error {
	h, n, err := f.acquire(ctx, useExcl, false)
	if err != nil {
		return err
	}
	defer h.unlock()
	return f.v.writeTimes(ctx, n)
}

// Release implements File.
func (f *file) Release(ctx context.Context) error {
	g := f.v.locks.get(inodeRes(f.ino))
	defer f.v.locks.put(g)
	if n := g.inode(); n != nil && f.flags&syscall.O_ACCMODE != syscall.O_RDONLY {
		if h, ok, err := g.tryLock(ctx, useExcl, false); err == nil && ok {
			n.win.release(f.v)
			h.unlock()
		}
	}
	f.v.dropReference(f.ino, f.generation, 0, 1)
	return nil
}
