package check

import (
	"fmt"
	"maps"
	"slices"

	"github.com/covol/covol/ondisk"
)

// checkCounters judges what can be counted only when all has been seen.
func (c *checker) checkCounters() error {
	for _, ino := range slices.Sorted(maps.Keys(c.links)) {
		c.checkLinks(ino, c.links[ino])
	}
	for _, ino := range slices.Sorted(maps.Keys(c.dirs)) {
		d := c.dirs[ino]
		if want := d.subdirs + 2; d.nlink != want && !d.lost && !d.orphan {
			c.count(NlinkDir, Where{Block: ino, Inode: ino, Path: c.dirPath(ino)}, "links", uint64(d.nlink), uint64(want))
		}
	}
	c.checkSpaces()
	return nil
}

func (c *checker) checkLinks(ino uint64, l *link) {
	if l.lost {
		return
	}
	w := Where{Block: ino, Inode: ino}
	if in, err := c.record(ino); err == nil && len(in.Names) > 0 && c.dirs[in.Names[0].Parent] != nil {
		w.Path = c.join(in.Names[0].Parent, in.Names[0].Name)
	}
	if l.nlink != l.seen {
		c.count(NlinkFile, w, "links", uint64(l.nlink), uint64(l.seen))
	}
	if len(l.kept) > 0 || (l.unkept > 0 && !l.more) {
		c.tell(NamesDisagree, w, "the record keeps %s that do not lead to it (%v); %s that lead to it are not kept",
			plural(uint64(len(l.kept)), "name"), l.kept, plural(uint64(l.unkept), "name"))
	}
}

// checkSpaces holds the space blocks of all slots to the bitmaps and to what was walked.
func (c *checker) checkSpaces() {
	w := Where{Block: c.sb.SpaceBlock(0)}
	free := c.freeBits
	for g := c.ready; g < c.sb.Groups; g++ {
		free += uint64(c.sb.GroupClusters(g) - c.sb.GroupMetaClusters())
	}
	c.rep.Stats.ClustersFree += free - c.freeBits
	if c.spacesBroken {
		return
	}
	if got := int64(c.sb.FreeClusters) + c.spaces; got != int64(free) && !c.bitsBroken {
		c.add(Finding{Code: FreeCount, Where: w, Got: got, Want: int64(free),
			Text: fmt.Sprintf("%d free clusters are counted, there are %d", got, free)})
	}
	if c.inodes != c.found {
		c.add(Finding{Code: InodeCount, Where: w, Got: c.inodes, Want: c.found,
			Text: fmt.Sprintf("%d inodes are counted, there are %d besides the %s of the format", c.inodes, c.found,
				plural(uint64(ondisk.SystemPerSlot*c.sb.Slots)+1, "record"))})
	}
}
