package check

import (
	"errors"
	"fmt"

	"github.com/covol/covol/ondisk"
)

// Types of files, as in stat(2).
const (
	modeFmt  = 0o170000
	modeFifo = 0o010000
	modeChr  = 0o020000
	modeDir  = 0o040000
	modeBlk  = 0o060000
	modeReg  = 0o100000
	modeLnk  = 0o120000
	modeSock = 0o140000

	knownFlags = ondisk.InodeMoreNames | ondisk.InodeSystem
	maxSymlink = 4095 // bytes, as Linux has it
)

func isDir(in *ondisk.Inode) bool { return in.Mode&modeFmt == modeDir }

// record reads the record of an inode.
func (c *checker) record(ino uint64) (*ondisk.Inode, error) {
	b, err := c.load(ondisk.TypeInode, ino)
	if err != nil {
		return nil, err
	}
	return ondisk.DecodeInode(b)
}

// inode judges what the record of a file or directory says of itself, and walks its extents. The tree of a
// directory is walked later, by walkDir.
func (c *checker) inode(in *ondisk.Inode, path string) error {
	w := Where{Block: in.Ino, Inode: in.Ino, Path: path}
	if unknown := in.Flags &^ knownFlags; unknown != 0 {
		c.tell(FlagsUnknown, w, "unknown flags %#x", unknown)
	}
	c.xattrs(in, w)
	s := &c.rep.Stats
	ok := false
	switch in.Mode & modeFmt {
	case modeReg:
		s.Files++
		s.Bytes += in.Size
		ok = in.Body != ondisk.BodyIndex
	case modeDir:
		s.Dirs++
		ok = in.Body == ondisk.BodyIndex
	case modeLnk:
		s.Symlinks++
		ok = in.Body == ondisk.BodyResident || in.Body == ondisk.BodyExtents
		if in.Size == 0 || in.Size > maxSymlink {
			c.tell(SymlinkSize, w, "the target has %d bytes", in.Size)
		}
	case modeChr, modeBlk, modeFifo, modeSock:
		s.Special++
		ok = in.Body == ondisk.BodyNone
	default:
		c.tell(ModeInvalid, w, "mode %#o names no type", in.Mode)
		ok = true
	}
	if !ok {
		c.tell(BodyMismatch, w, "mode %#o does not go with body %d", in.Mode, in.Body)
	}
	if in.Body == ondisk.BodyExtents {
		return c.extents(in, path)
	}
	if in.Clusters != 0 {
		c.count(ClustersWrong, w, "clusters", in.Clusters, 0)
	}
	if in.Meta != 0 && in.Body != ondisk.BodyIndex {
		c.count(MetaWrong, w, "tree blocks", in.Meta, 0)
	}
	return nil
}

// count reports a counter that is wrong.
func (c *checker) count(code Code, w Where, what string, got, want uint64) {
	c.add(Finding{Code: code, Where: w, Got: int64(got), Want: int64(want), Text: fmt.Sprintf("%d %s are counted, there are %d", got, what, want)})
}

func (c *checker) xattrs(in *ondisk.Inode, w Where) {
	seen, size := map[string]bool{}, 0
	for _, x := range in.Xattrs {
		if seen[x.Name] {
			c.tell(XattrInvalid, w, "extended attribute %q is there twice", x.Name)
		}
		seen[x.Name] = true
		size += 8 + (2+len(x.Name)+len(x.Value)+7)&^7
	}
	if size > ondisk.MaxXattrBytes {
		c.tell(XattrInvalid, w, "extended attributes take %d bytes of %d", size, ondisk.MaxXattrBytes)
	}
}

// extents walks the tree of extents of a file and claims its clusters.
func (c *checker) extents(in *ondisk.Inode, path string) error {
	var clusters, beyond, next uint64
	var last ondisk.Extent
	eof := (in.Size + uint64(c.sb.ClusterSize) - 1) / uint64(c.sb.ClusterSize)
	t := &tree{c: c, ino: in.Ino, gen: in.Generation, path: path}
	t.leaf = func(blk, key uint64, v []byte) error {
		e, err := ondisk.DecodeExtent(c.sb, blk, key, v)
		if err != nil || !c.dataReady(e) {
			t.broken = true
			c.extentFinding(t, blk, key, err)
			return nil
		}
		if e.Logical < next {
			c.add(Finding{Code: ExtentOverlap, Where: t.at(blk), Key: key, First: e.Physical, Count: uint64(e.Length),
				Text: fmt.Sprintf("the extent at cluster %d begins before %d, where the one before ends", key, next)})
		}
		next = max(next, e.End())
		clusters += uint64(e.Length)
		if e.End() > eof {
			beyond += min(uint64(e.Length), e.End()-eof)
		}
		c.rep.Stats.Extents++
		if last.Length == 0 || last.End() != e.Logical || last.Physical+uint64(last.Length) != e.Physical {
			c.rep.Stats.Fragments++
		}
		last = e
		if err := c.claimData(e.Physical, e.Length, t.at(blk)); err != nil {
			return err
		}
		if c.o.Deep && e.Flags&ondisk.ExtentUnwritten == 0 {
			return c.readData(t, blk, e)
		}
		return nil
	}
	if err := t.walk(in.Root); err != nil {
		return err
	}
	c.rep.Stats.DataClusters += clusters
	c.rep.Stats.MaxFileTree = max(c.rep.Stats.MaxFileTree, t.levels)
	w := t.at(in.Ino)
	if clusters != in.Clusters && !t.broken {
		c.count(ClustersWrong, w, "clusters", in.Clusters, clusters)
	}
	if t.nodes != in.Meta && !t.broken {
		c.count(MetaWrong, w, "tree blocks", in.Meta, t.nodes)
	}
	if beyond > 0 {
		c.rep.Stats.Prealloc += beyond
		c.add(Finding{Code: BeyondEOF, Where: w, Got: int64(beyond), Text: plural(beyond, "cluster") + " behind the end of the file"})
	}
	return nil
}

// dataReady reports whether the clusters of e, which passed DecodeExtent, lie in a formatted group.
func (c *checker) dataReady(e ondisk.Extent) bool {
	_, _, ok := c.own.at(e.Physical * uint64(c.sb.ClusterBlocks()))
	return ok
}

// extentFinding tells of an extent that cannot be followed; err is nil if its group is not formatted.
func (c *checker) extentFinding(t *tree, blk, key uint64, err error) {
	f := Finding{Code: ExtentInvalid, Where: t.at(blk), Key: key}
	var bad *ondisk.Corrupt
	switch {
	case err == nil:
		f.Code, f.Text = ExtentPlace, fmt.Sprintf("the extent at cluster %d leads to a group that is not formatted", key)
	case errors.As(err, &bad) && bad.Field == "physical cluster":
		f.Code, f.Text = ExtentPlace, fmt.Sprintf("the extent at cluster %d leads to volume cluster %v, not in the data of one group", key, bad.Got)
	default:
		f.Text = fmt.Sprintf("the extent at cluster %d is not valid (%s)", key, reason(err))
	}
	c.add(f)
}

// readData reads the clusters of e and reports those that the medium does not give back.
func (c *checker) readData(t *tree, blk uint64, e ondisk.Extent) error {
	size := uint64(c.sb.ClusterSize)
	step := max(1, (1<<20)/size)
	buf := c.r.buffer(int(step * size))
	var bad conflict
	for i := uint64(0); i < uint64(e.Length); i += step {
		n := min(step, uint64(e.Length)-i)
		err := c.r.dev.ReadAt(c.ctx, buf[:n*size], int64((e.Physical+i)*size))
		if err == nil {
			continue
		}
		if !isFinding(err) {
			return err
		}
		for j := i; j < i+n; j++ {
			err := c.r.dev.ReadAt(c.ctx, buf[:size], int64((e.Physical+j)*size))
			if err == nil {
				continue
			}
			if !isFinding(err) {
				return err
			}
			if bad.count == 0 {
				bad.first = e.Physical + j
			}
			bad.count = e.Physical + j + 1 - bad.first
		}
	}
	if bad.count > 0 {
		c.add(Finding{Code: DataUnreadable, Where: t.at(blk), Key: e.Logical + bad.first - e.Physical, First: bad.first, Count: bad.count,
			Text: fmt.Sprintf("volume clusters %d to %d cannot all be read", bad.first, bad.first+bad.count-1)})
	}
	return nil
}
