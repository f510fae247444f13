package check

import (
	"cmp"
	"fmt"
	"path"
	"slices"

	"github.com/covol/covol/ondisk"
)

// dir is what is remembered of a directory.
type dir struct {
	parent  uint64
	name    string
	subdirs uint32 // found inside
	nlink   uint32
	orphan  bool // must be empty
	lost    bool // no name leads to it: link count unknown
}

// link is what is remembered of a file whose names cannot be judged by the first alone.
type link struct {
	nlink, seen uint32
	kept        []ondisk.KeptName // of the record, not found yet
	unkept      uint32            // names found that the record does not keep
	names       []ondisk.KeptName // the first that were found
	more        bool              // the record says that it does not keep all
	lost        bool              // found without a name: link count unknown
}

// entry is one name, leading to ino.
type entry struct {
	ino  uint64
	kind uint8
	name string
}

// batchEntries bounds how many entries of one directory are held, to visit their records in order of place.
const batchEntries = 1 << 18

// checkNames walks from the root.
func (c *checker) checkNames() error {
	w := Where{Block: ondisk.RootBlock, Inode: ondisk.RootBlock, Path: "/"}
	in, err := c.record(ondisk.RootBlock)
	if err != nil {
		if !isFinding(err) {
			return err
		}
		c.tell(RecordInvalid, w, "the root directory is not valid (%s)", reason(err))
		return nil
	}
	c.fixed[ondisk.RootBlock] = true
	if !isDir(in) || in.Body != ondisk.BodyIndex {
		c.tell(RecordInvalid, w, "the root is no directory")
		return nil
	}
	if len(in.Names) != 0 {
		c.tell(DirParent, w, "the root keeps a name")
	}
	if err := c.inode(in, "/"); err != nil {
		return err
	}
	if err := c.pushDir(in, &dir{parent: ondisk.RootBlock, nlink: in.Nlink}); err != nil {
		return err
	}
	return c.drain()
}

func (c *checker) pushDir(in *ondisk.Inode, d *dir) error {
	c.dirs[in.Ino] = d
	c.queue = append(c.queue, in.Ino)
	return c.grow(int64(160 + len(d.name)))
}

// drain walks the directories in the queue and all below them.
func (c *checker) drain() error {
	for len(c.queue) > 0 {
		ino := c.queue[0]
		c.queue = c.queue[1:]
		if err := c.walkDir(ino); err != nil {
			return err
		}
		c.o.Progress(c.phase, c.found, max(c.inodes, c.found))
	}
	return nil
}

// walkDir walks the names of one directory and visits what they lead to.
func (c *checker) walkDir(ino uint64) error {
	in, err := c.record(ino)
	if err != nil {
		return err // it was valid when it was queued
	}
	if in.Body != ondisk.BodyIndex {
		return nil
	}
	d := c.dirs[ino]
	var batch []entry
	names := 0
	t := &tree{c: c, ino: ino, gen: in.Generation, path: c.dirPath(ino)}
	t.leaf = func(blk, key uint64, v []byte) error {
		ds, err := ondisk.DecodeDirents(blk, v)
		if err != nil {
			c.tear(ino)
			c.add(Finding{Code: DirentInvalid, Where: t.at(blk), Key: key, Text: fmt.Sprintf("the entries under hash %#x are not valid (%s)", key, reason(err))})
			return nil
		}
		for _, e := range ds {
			names++
			if want := c.sb.HashName(e.Name); want != key {
				c.add(Finding{Code: DirentHash, Where: t.at(blk), Key: key, Name: e.Name, Target: e.Ino,
					Text: fmt.Sprintf("%q lies under hash %#x, want %#x", e.Name, key, want)})
			}
			batch = append(batch, entry{e.Ino, e.Type, e.Name})
		}
		if len(batch) < batchEntries {
			return nil
		}
		err = c.visitAll(ino, d, batch)
		batch = batch[:0]
		return err
	}
	if err := t.walk(in.Root); err != nil {
		return err
	}
	if t.broken {
		c.tear(ino)
	}
	if err := c.visitAll(ino, d, batch); err != nil {
		return err
	}
	c.rep.Stats.MaxDirTree = max(c.rep.Stats.MaxDirTree, t.levels)
	if t.nodes != in.Meta && !t.broken {
		c.count(MetaWrong, t.at(ino), "tree blocks", in.Meta, t.nodes)
	}
	if d.orphan && names > 0 {
		c.tell(OrphanNotEmpty, t.at(ino), "%s in a directory without a name", plural(uint64(names), "name"))
	}
	return nil
}

func (c *checker) visitAll(parent uint64, d *dir, batch []entry) error {
	slices.SortFunc(batch, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.ino, b.ino), cmp.Compare(a.name, b.name))
	})
	for _, e := range batch {
		c.rep.Stats.Names++
		if err := c.visit(parent, d, e); err != nil {
			return err
		}
	}
	return nil
}

// visit judges one name of directory parent and the inode that it leads to.
func (c *checker) visit(parent uint64, d *dir, e entry) error {
	finding := func(code Code, format string, args ...any) error {
		c.add(Finding{Code: code, Where: Where{Block: parent, Inode: parent, Path: c.dirPath(parent)}, Name: e.name, Target: e.ino,
			Text: fmt.Sprintf("%q: ", e.name) + fmt.Sprintf(format, args...)})
		return nil
	}
	if c.sb.IsMetaPlace(e.ino) && e.ino < c.sb.GroupStart && e.ino != ondisk.RootBlock {
		return finding(DirentSystem, "it leads to system record %d", e.ino)
	}
	if e.ino != ondisk.RootBlock && !c.metaPlace(e.ino) {
		return finding(DirentDangling, "it leads to block %d, where no record can be", e.ino)
	}
	in, err := c.record(e.ino)
	if err != nil {
		return c.noRecord(parent, e, err, finding)
	}
	if in.Flags&ondisk.InodeSystem != 0 {
		return finding(DirentSystem, "inode %d is a system record", e.ino)
	}
	if uint32(e.kind) != in.Mode&modeFmt>>12 {
		_ = finding(DirentType, "the entry has type %d, inode %d has mode %#o", e.kind, e.ino, in.Mode)
	}
	if c.isRecord(e.ino) {
		if isDir(in) {
			return finding(DirTwice, "directory %d has another name already", e.ino)
		}
		return c.again(parent, e, in)
	}
	self := Where{Block: e.ino, Inode: e.ino, Path: c.join(parent, e.name)}
	if free, err := c.claimMeta(e.ino, true, self); err != nil || !free {
		return err
	}
	c.found++
	if err := c.inode(in, c.join(parent, e.name)); err != nil {
		return err
	}
	if !isDir(in) {
		return c.first(parent, e, in)
	}
	d.subdirs++
	if len(in.Names) != 1 || in.Names[0] != (ondisk.KeptName{Parent: parent, Name: e.name}) {
		c.tell(DirParent, Where{Block: in.Ino, Inode: in.Ino, Path: c.join(parent, e.name)}, "the directory keeps the name %v", in.Names)
	}
	return c.pushDir(in, &dir{parent: parent, name: e.name, nlink: in.Nlink})
}

// noRecord tells why an entry leads to nothing. A record that is there but damaged is claimed, a block that never
// was one is not.
func (c *checker) noRecord(parent uint64, e entry, err error, finding func(Code, string, ...any) error) error {
	if !isFinding(err) {
		return err
	}
	b, rerr := c.r.block(c.ctx, e.ino)
	if rerr != nil && !isFinding(rerr) {
		return rerr
	}
	if rerr == nil {
		if h := ondisk.GetHeader(b); h.Type != ondisk.TypeInode || h.Block != e.ino || h.UUID != c.sb.UUID {
			return finding(DirentDangling, "block %d is no record (%s)", e.ino, reason(err))
		}
	}
	if !c.isMeta(e.ino) {
		if _, err := c.claimMeta(e.ino, false, Where{Block: parent, Inode: parent, Path: c.dirPath(parent)}); err != nil {
			return err
		}
		c.found++
	}
	return finding(RecordInvalid, "inode %d is not valid (%s)", e.ino, reason(err))
}

// first judges the first name found of a file. Nothing is remembered if it is the only one and the record keeps it.
func (c *checker) first(parent uint64, e entry, in *ondisk.Inode) error {
	if in.Nlink == 1 && len(in.Names) == 1 && in.Names[0] == (ondisk.KeptName{Parent: parent, Name: e.name}) {
		return nil
	}
	l := &link{nlink: in.Nlink, kept: slices.Clone(in.Names), more: in.Flags&ondisk.InodeMoreNames != 0}
	c.links[e.ino] = l
	l.see(parent, e.name)
	return c.grow(int64(120 + len(l.kept)*64))
}

// again judges a further name of a file.
func (c *checker) again(parent uint64, e entry, in *ondisk.Inode) error {
	l := c.links[e.ino]
	if l == nil {
		l = &link{nlink: in.Nlink, seen: 1, names: slices.Clone(in.Names), more: in.Flags&ondisk.InodeMoreNames != 0}
		c.links[e.ino] = l
	}
	l.see(parent, e.name)
	return c.grow(120)
}

func (l *link) see(parent uint64, name string) {
	l.seen++
	if len(l.names) < ondisk.MaxKeptNames {
		l.names = append(l.names, ondisk.KeptName{Parent: parent, Name: name})
	}
	if i := slices.Index(l.kept, ondisk.KeptName{Parent: parent, Name: name}); i >= 0 {
		l.kept = slices.Delete(l.kept, i, i+1)
		return
	}
	l.unkept++
}

// dirPath is the path of a directory that was reached.
func (c *checker) dirPath(ino uint64) string {
	var parts []string
	for range 1000 {
		d := c.dirs[ino]
		switch {
		case ino == ondisk.RootBlock:
			parts = append(parts, "/")
		case d == nil || d.lost || d.orphan:
			parts = append(parts, fmt.Sprintf("#%d", ino))
		default:
			parts = append(parts, d.name)
			ino = d.parent
			continue
		}
		break
	}
	slices.Reverse(parts)
	return path.Join(parts...)
}

func (c *checker) join(parent uint64, name string) string { return path.Join(c.dirPath(parent), name) }
