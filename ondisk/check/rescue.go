package check

import (
	"slices"

	"github.com/covol/covol/ondisk"
)

// rescue is what a check for a repair remembers besides.
type rescue struct {
	claims *claims
	// strays are leaves that are in use and that nothing leads to, by the inode in their header.
	strays map[uint64][]stray
	// torn are directories of which something could not be read: what they do not name may still belong to them.
	torn map[uint64]bool
	// wanted are directories that a record without a name keeps as its parent.
	wanted map[uint64]bool
}

// stray is a leaf that lost its parent.
type stray struct {
	blk, gen, lsn uint64
}

// stray notes the leaf in blk, if there is one.
func (c *checker) stray(blk uint64) error {
	if c.rescue == nil || c.isMeta(blk) {
		return nil
	}
	b, err := c.load(ondisk.TypeNode, blk)
	if err == nil {
		err = ondisk.Node(b[ondisk.NodeBody:]).Check(blk)
	}
	if err != nil {
		if isFinding(err) {
			return nil
		}
		return err
	}
	h := ondisk.GetHeader(b)
	if n := ondisk.Node(b[ondisk.NodeBody:]); n.Level() != 0 || n.Count() == 0 {
		return nil
	}
	c.rescue.strays[h.Owner] = append(c.rescue.strays[h.Owner], stray{blk, h.Generation, h.LSN})
	return c.grow(32)
}

// tear notes that directory ino is not whole.
func (c *checker) tear(ino uint64) {
	if c.rescue != nil {
		c.rescue.torn[ino] = true
	}
}

// searchBlind looks for records where the bitmaps of a group cannot tell what is in use: without that, a file whose
// directory is damaged too would be lost with them.
func (c *checker) searchBlind(m *groupMaps, found map[uint64]*ondisk.Inode) error {
	if c.rescue == nil || (!slices.ContainsFunc(m.clusters, isNil) && !slices.ContainsFunc(m.meta, isNil)) {
		return nil
	}
	k, own := c.sb.ClusterBlocks(), c.sb.GroupMetaClusters()
	for b := own * k; b < c.sb.GroupClusters(m.g)*k; b++ {
		metaKnown, known := m.meta[b/ondisk.BitsPerBitmap] != nil, m.clusters[b/k/ondisk.BitsPerBitmap] != nil
		switch {
		case metaKnown && known, m.own.meta.has(b):
			continue
		case metaKnown && !bitAt(m.meta, b), known && !bitAt(m.clusters, b/k), m.own.data.has(b / k):
			continue
		}
		ino := c.sb.GroupFirst(m.g) + uint64(b)
		in, err := c.record(ino)
		if err != nil {
			if !isFinding(err) {
				return err
			}
			if metaKnown {
				if err := c.stray(ino); err != nil {
					return err
				}
			}
			continue
		}
		if in.Flags&ondisk.InodeSystem != 0 || in.Nlink == 0 || (!metaKnown && c.wasDeleted(in)) {
			continue
		}
		if err := c.remember(in, found); err != nil {
			return err
		}
	}
	return nil
}

func isNil(b []byte) bool { return b == nil }

// wasDeleted reports whether a record that may be a leftover is one: a directory that it names is whole and does not
// name it.
func (c *checker) wasDeleted(in *ondisk.Inode) bool {
	for _, k := range in.Names {
		if c.dirs[k.Parent] != nil && !c.rescue.torn[k.Parent] {
			return true
		}
	}
	return false
}
