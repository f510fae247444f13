package fs

import (
	"context"

	"github.com/covol/covol/dlm"
)

// opsFor says what each kind of glock does when it is given away.
func (v *Volume) opsFor(r dlm.Resource) glops {
	switch r.Kind {
	case dlm.Inode:
		return inodeOps{v}
	case dlm.Group:
		return v.groupOps()
	default:
		return plainOps{} // open, rename, volume, slot: nothing is cached under them that is not home
	}
}

// plainOps is for locks under which nothing is cached.
type plainOps struct{}

func (plainOps) invalidate(context.Context, *glock) error          { return nil }
func (plainOps) writeback(context.Context, *glock, dlm.Mode) error { return nil }
func (plainOps) drop(*glock)                                       {}

// inodeOps gives an inode away.
type inodeOps struct{ v *Volume }

func (o inodeOps) invalidate(_ context.Context, g *glock) error {
	nt := o.v.notifier.Load()
	if nt == nil || !o.v.known.has(g.res.ID) {
		return nil
	}
	if n := g.inode(); n != nil && !isReg(n.record()) {
		return (*nt).InvalidateAttr(g.res.ID)
	}
	return (*nt).InvalidateData(g.res.ID)
}

func (o inodeOps) writeback(ctx context.Context, g *glock, to dlm.Mode) error {
	v, ino := o.v, g.res.ID
	n := g.inode()
	if n != nil && g.mode == dlm.EX {
		n.win.release(v)
		if err := v.writeTimes(ctx, n); err != nil {
			return err
		}
	}
	if to == dlm.NL {
		if err := v.keepOpen(ctx, ino); err != nil {
			return err
		}
	}
	if g.mode != dlm.EX {
		return nil
	}
	if n != nil && n.dead {
		// Whatever the block is now, its old record must not be found on disk by a node that still knows the number.
		if err := v.j.FlushBlocks(ctx, ino); err != nil {
			return err
		}
	}
	return v.j.FlushOwner(ctx, ino)
}

func (o inodeOps) drop(g *glock) { o.v.j.Drop(g.res.ID) }
