package fs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/covol/covol/dlm"
	"github.com/covol/covol/journal"
	"github.com/covol/covol/ondisk"
)

// inode is what this node caches of a file under its glock.
type inode struct {
	ino Ino
	mu  sync.Mutex
	// rec is the newest published record. It is never changed, only replaced: an operation clones it, changes the
	// clone and sets it when its transaction is published. GUARDED_BY(mu)
	rec *ondisk.Inode
	// Times newer than those of rec, of overwrites and reads; flushed into the record by writeTimes. GUARDED_BY(mu)
	atime, mtime ondisk.Time
	timesDirty   bool
	// dead: the record has been freed under this hold of the glock. GUARDED_BY(mu)
	dead bool
	// win is the space reserved ahead for a file that grows; used under lockExcl only.
	win window
}

// inodeRes is the cluster lock of an inode.
func inodeRes(ino Ino) dlm.Resource { return dlm.Resource{Kind: dlm.Inode, ID: ino} }

// record is the published record, pending times aside. It must not be changed.
func (n *inode) record() *ondisk.Inode {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.rec
}

// snapshot is a private copy of the record, pending times included.
func (n *inode) snapshot() *ondisk.Inode {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := cloneRecord(n.rec)
	if n.timesDirty {
		c.Atime, c.Mtime = n.atime, n.mtime
		if later(n.mtime, c.Ctime) {
			c.Ctime = n.mtime
		}
	}
	return c
}

// publish replaces the record by what a transaction has just made public.
func (n *inode) publish(rec *ondisk.Inode) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.rec = rec
	n.timesDirty = false
}

// timesAfter is how long times may be newer in memory than in the record.
const timesAfter = 10 * time.Second

// touch notes times that are newer than the record's, zero for unchanged. They are written into the record soon. The
// caller uses the glock in mode EX.
func (v *Volume) touch(n *inode, atime, mtime time.Time) {
	if n.touch(atime, mtime) {
		v.jobs.after(timesAfter, "write times", func(ctx context.Context) error { return v.timesDue(ctx, n.ino) })
	}
}

// timesDue writes the pending times of an inode, if it has not been given away since.
func (v *Volume) timesDue(ctx context.Context, ino Ino) error {
	g := v.locks.get(inodeRes(ino))
	defer v.locks.put(g)
	n := g.inode()
	if n == nil || !n.hasTimes() {
		return nil
	}
	h, err := g.lock(ctx, useExcl, false)
	if err != nil {
		return err
	}
	defer h.unlock()
	if n = g.inode(); n == nil {
		return nil
	}
	return v.writeTimes(ctx, n)
}

func (n *inode) hasTimes() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.timesDirty && !n.dead
}

// touch reports whether nothing was pending before.
func (n *inode) touch(atime, mtime time.Time) (first bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.timesDirty {
		n.atime, n.mtime = n.rec.Atime, n.rec.Mtime
		n.timesDirty, first = true, true
	}
	if !atime.IsZero() {
		n.atime = ondisk.TimeOf(atime)
	}
	if !mtime.IsZero() {
		n.mtime = ondisk.TimeOf(mtime)
	}
	return first
}

// cloneRecord copies a record so that the copy can be changed.
func cloneRecord(r *ondisk.Inode) *ondisk.Inode {
	c := *r
	c.Names = append([]ondisk.KeptName(nil), r.Names...)
	c.Xattrs = append([]ondisk.Xattr(nil), r.Xattrs...)
	c.Resident = append([]byte(nil), r.Resident...)
	if r.Root != nil {
		c.Root = append(ondisk.Node(nil), r.Root...)
	}
	return &c
}

func later(a, b ondisk.Time) bool { return a.Sec > b.Sec || a.Sec == b.Sec && a.Nsec > b.Nsec }

// load returns the cached inode under a hold of its glock, reading the record if need be. A record that is not that of
// a living inode is ErrStale: whoever asks came by a number that was valid once.
func (v *Volume) load(ctx context.Context, h hold) (*inode, error) {
	g := h.g
	if n := g.inode(); n != nil {
		return n, n.alive()
	}
	ino := g.res.ID
	if !v.sb.IsMetaPlace(ino) {
		return nil, ErrStale
	}
	b, err := v.j.Read(ctx, ino, ondisk.TypeInode, ino)
	var c *ondisk.Corrupt
	if errors.As(err, &c) && (c.Field == "type" || c.Field == "magic") {
		return nil, ErrStale
	}
	if err != nil {
		return nil, fmt.Errorf("read inode %d: %w", ino, err)
	}
	rec, err := ondisk.DecodeInode(b)
	if err != nil {
		return nil, err
	}
	n := &inode{ino: ino, rec: rec}
	if err := n.alive(); err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if other, ok := g.obj.(*inode); ok {
		return other, nil // another shared user was quicker
	}
	g.obj = n
	return n, nil
}

// alive is ErrStale for the tombstone of a deleted inode and for records of the format itself.
func (n *inode) alive() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.dead || n.rec.Mode == 0 || n.rec.Flags&ondisk.InodeSystem != 0 {
		return ErrStale
	}
	return nil
}

// inode is what is cached under the glock of an inode, nil if nothing is.
func (g *glock) inode() *inode {
	g.mu.Lock()
	defer g.mu.Unlock()
	n, _ := g.obj.(*inode)
	return n
}

// with runs fn on inode ino under a use of its glock. The kernel's number is held to the generation under which it
// learned of it.
func (v *Volume) with(ctx context.Context, ino Ino, u use, fn func(n *inode) error) error {
	h, n, err := v.acquire(ctx, lockReq{ino: ino, use: u}, false)
	if err != nil {
		return err
	}
	defer h.unlock()
	return fn(n)
}

// acquire locks and loads one inode. The caller must unlock the hold.
func (v *Volume) acquire(ctx context.Context, r lockReq, page bool) (hold, *inode, error) {
	if err := v.failed(); err != nil {
		return hold{}, nil, err
	}
	g := v.locks.get(inodeRes(r.ino))
	h, err := g.lock(ctx, r.use, page)
	if err != nil {
		v.locks.put(g)
		return hold{}, nil, err
	}
	h.ref = true
	n, err := v.load(ctx, h)
	if err == nil && !r.named && !v.known.valid(r.ino, n.record().Generation) {
		err = ErrStale
	}
	if err != nil {
		h.unlock()
		return hold{}, nil, err
	}
	return h, n, nil
}

// putInode writes rec, the changed copy of a record, into the transaction. It makes room if the attributes have grown.
func (v *Volume) putInode(ctx context.Context, tx *txn, rec *ondisk.Inode) error {
	if !rec.Fits() {
		switch rec.Body {
		case ondisk.BodyExtents, ondisk.BodyIndex:
			if err := treeShrinkRoot(ctx, tx, rec, rec.AttrRoom()); err != nil {
				return err
			}
		default:
			return fmt.Errorf("inode %d: resident content does not fit: %w", rec.Ino, ErrNoSpace)
		}
	}
	rec.Change++
	tx.Write(rec.Ino, rec.Ino, ondisk.EncodeInode(v.sb.UUID, rec))
	return nil
}

// commitInodes publishes the transaction and then the records that it has changed to the cached inodes.
func commitInodes(ctx context.Context, tx *txn, changed ...change) (journal.Seq, error) {
	seq, err := tx.commit(ctx)
	if err != nil {
		return 0, err
	}
	for _, c := range changed {
		c.n.publish(c.rec)
	}
	return seq, nil
}

// change pairs a cached inode with its new record.
type change struct {
	n   *inode
	rec *ondisk.Inode
}

// writeTimes publishes pending times. The caller holds the glock in mode EX without other users, or exclusively.
func (v *Volume) writeTimes(ctx context.Context, n *inode) error {
	if !n.hasTimes() {
		return nil
	}
	rec := n.snapshot()
	tx, err := v.begin(ctx, need{})
	if err != nil {
		return err
	}
	if err := v.putInode(ctx, tx, rec); err != nil {
		tx.abort()
		return err
	}
	_, err = commitInodes(ctx, tx, change{n, rec})
	return err
}

// now is the time for timestamps.
func (v *Volume) now() ondisk.Time { return ondisk.TimeOf(v.sched.Wall()) }

// attrOf is what stat tells of a record.
func (v *Volume) attrOf(r *ondisk.Inode) Attr {
	return Attr{
		Ino: r.Ino, Generation: r.Generation, Size: r.Size,
		Blocks: r.Clusters*uint64(v.sb.ClusterSize)/512 + r.Meta*ondisk.BlockSize/512,
		Mode:   r.Mode, Nlink: r.Nlink, UID: r.UID, GID: r.GID, Rdev: r.Rdev, BlkSize: blkSize,
		Atime: r.Atime.Time(), Mtime: r.Mtime.Time(), Ctime: r.Ctime.Time(), Btime: r.Btime.Time(),
	}
}

// blkSize is the preferred size of I/O that stat tells, in bytes.
const blkSize = 4096

func isDir(r *ondisk.Inode) bool { return r.Mode&syscall.S_IFMT == syscall.S_IFDIR }
func isReg(r *ondisk.Inode) bool { return r.Mode&syscall.S_IFMT == syscall.S_IFREG }

// dtype is the type of a directory entry for a mode.
func dtype(mode uint32) uint8 { return uint8(mode >> 12 & 0xf) }
