package check

import (
	"maps"
	"slices"

	"github.com/covol/covol/ondisk"
)

// suspect looks for records of inodes in what is marked used and belongs to nothing.
func (c *checker) suspect(m *groupMaps, code Code, rel, n uint32, found map[uint64]*ondisk.Inode) error {
	if code == ClusterLeak {
		rel, n = rel*c.sb.ClusterBlocks(), n*c.sb.ClusterBlocks()
	} else if code != MetaLeak {
		return nil
	}
	for i := range n {
		ino := c.sb.GroupFirst(m.g) + uint64(rel+i)
		in, err := c.record(ino)
		if err != nil {
			if !isFinding(err) {
				return err
			}
			if err := c.stray(ino); err != nil {
				return err
			}
			continue
		}
		if in.Flags&ondisk.InodeSystem != 0 {
			continue
		}
		if err := c.remember(in, found); err != nil {
			return err
		}
	}
	return nil
}

// remember keeps of a record what is needed to find the way; the block would keep its neighbours in memory.
func (c *checker) remember(in *ondisk.Inode, found map[uint64]*ondisk.Inode) error {
	if c.rescue != nil {
		for _, k := range in.Names {
			c.rescue.wanted[k.Parent] = true
		}
	}
	found[in.Ino] = &ondisk.Inode{Ino: in.Ino, Mode: in.Mode, Nlink: in.Nlink}
	if isDir(in) && len(in.Names) > 0 {
		found[in.Ino].Names = []ondisk.KeptName{{Parent: in.Names[0].Parent}}
	}
	return c.grow(512)
}

// walkLost visits records that are in use without a name, directories before what lies in them.
func (c *checker) walkLost(found map[uint64]*ondisk.Inode) error {
	inos := slices.Sorted(maps.Keys(found))
	for _, ino := range inos {
		if !isDir(found[ino]) || c.isMeta(ino) {
			continue
		}
		for _, top := range []uint64{c.climb(ino, found), ino} {
			if err := c.lostInode(top); err != nil {
				return err
			}
		}
	}
	for _, ino := range inos {
		if err := c.lostInode(ino); err != nil {
			return err
		}
	}
	return nil
}

// climb follows the kept names upwards as long as they lead to lost directories.
func (c *checker) climb(ino uint64, found map[uint64]*ondisk.Inode) uint64 {
	seen := map[uint64]bool{}
	for !seen[ino] {
		seen[ino] = true
		in := found[ino]
		if len(in.Names) == 0 {
			break
		}
		up := found[in.Names[0].Parent]
		if up == nil || !isDir(up) || c.isMeta(up.Ino) {
			break
		}
		ino = up.Ino
	}
	return ino
}

// lostInode reports an inode that no name leads to and walks it, unless something has led to it meanwhile.
func (c *checker) lostInode(ino uint64) error {
	if c.isMeta(ino) {
		return nil
	}
	in, err := c.record(ino)
	if err != nil {
		if isFinding(err) {
			return nil
		}
		return err
	}
	if _, err := c.claimMeta(ino, true, Where{Block: ino, Inode: ino}); err != nil {
		return err
	}
	c.found++
	w := Where{Block: ino, Inode: ino}
	switch {
	case in.Nlink == 0:
		c.tell(RecordLeak, w, "mode %#o, %d bytes, no links, and in no index of orphans", in.Mode, in.Size)
	case isDir(in):
		c.tell(DirLost, w, "the directory cannot be reached; it keeps the name %v", in.Names)
	default:
		c.tell(FileLost, w, "mode %#o, %d bytes, %d links, no name; it keeps the names %v", in.Mode, in.Size, in.Nlink, in.Names)
	}
	if err := c.inode(in, ""); err != nil {
		return err
	}
	if !isDir(in) {
		c.links[ino] = &link{nlink: in.Nlink, lost: true}
		return c.grow(120)
	}
	if err := c.pushDir(in, &dir{nlink: in.Nlink, lost: true}); err != nil {
		return err
	}
	return c.drain()
}
