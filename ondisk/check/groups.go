package check

import (
	"fmt"

	"github.com/covol/covol/ondisk"
)

// checkGroups compares the bitmaps with what was found in use. Groups are read once; only if something is marked used
// and belongs to nothing are the records in it sought, and all groups compared once more.
func (c *checker) checkGroups() error {
	if c.spacesBroken {
		c.bitsBroken = true
	}
	suspects := map[uint64]*ondisk.Inode{}
	var wrong []uint32
	for g := range c.ready {
		if g%64 == 0 {
			c.o.Progress(c.phase, int64(g), int64(c.ready))
		}
		m, err := c.readGroup(g)
		if err != nil {
			return err
		}
		clean := true
		err = m.compare(func(code Code, rel, n uint32) error {
			clean = false
			return c.suspect(m, code, rel, n, suspects)
		})
		if err != nil {
			return err
		}
		if err := c.searchBlind(m, suspects); err != nil {
			return err
		}
		if !clean {
			wrong = append(wrong, g)
		}
	}
	if len(suspects) > 0 {
		wrong = wrong[:0]
		for g := range c.ready {
			wrong = append(wrong, g)
		}
		if err := c.walkLost(suspects); err != nil {
			return err
		}
	}
	if err := c.nameAll(); err != nil {
		return err
	}
	for _, g := range wrong {
		if err := c.tellGroup(g); err != nil {
			return err
		}
	}
	return nil
}

// groupMaps are the bitmaps of a group as the volume has them.
type groupMaps struct {
	c        *checker
	g        uint32
	own      *groupOwned
	clusters [][]byte // nil where the block is not valid
	meta     [][]byte
}

// readGroup reads header and bitmaps, reports what is wrong with them in themselves, and adds up free space.
func (c *checker) readGroup(g uint32) (*groupMaps, error) {
	m := &groupMaps{c: c, g: g, own: c.own.get(g)}
	header, err := c.load(ondisk.TypeGroup, c.sb.GroupFirst(g))
	var hd *ondisk.Group
	if err == nil {
		hd, err = ondisk.DecodeGroup(c.sb, g, header)
	}
	if err != nil {
		if !isFinding(err) {
			return nil, err
		}
		c.tell(GroupInvalid, atGroup(g, c.sb.GroupFirst(g)), "the header is not valid (%s)", reason(err))
	}
	whole := true
	if m.clusters, err = m.read(ondisk.ClusterBitmap, c.sb.ClusterBitmapBlock(g, 0), c.sb.ClusterBitmapBlocks(), &whole); err != nil {
		return nil, err
	}
	if m.meta, err = m.read(ondisk.MetaBitmap, c.sb.MetaBitmapBlock(g, 0), c.sb.MetaBitmapBlocks(), &whole); err != nil {
		return nil, err
	}
	clusters, blocks := c.sb.GroupClusters(g), c.sb.GroupBlocksOf(g)
	free, freeMeta := clearBits(m.clusters, clusters), clearBits(m.meta, blocks)
	c.freeBits += uint64(free)
	s := &c.rep.Stats
	s.ClustersFree += uint64(free)
	s.ClustersUsed += uint64(clusters - free)
	s.MetaFree += uint64(freeMeta)
	for _, p := range m.own.meta.pages {
		s.MetaUsed += onesOf(p)
	}
	if !whole {
		c.bitsBroken = true
		return m, nil
	}
	m.edges(clusters, blocks)
	if hd != nil && hd.FreeClusters != free {
		c.count(GroupFree, atGroup(g, c.sb.GroupFirst(g)), "free clusters", uint64(hd.FreeClusters), uint64(free))
	}
	if hd != nil && hd.FreeMeta != freeMeta {
		c.count(GroupFreeMeta, atGroup(g, c.sb.GroupFirst(g)), "free metadata blocks", uint64(hd.FreeMeta), uint64(freeMeta))
	}
	return m, nil
}

// read reads the blocks of one bitmap.
func (m *groupMaps) read(kind uint32, first uint64, n uint32, whole *bool) ([][]byte, error) {
	maps := make([][]byte, n)
	for i := range n {
		blk := first + uint64(i)
		b, err := m.c.load(ondisk.TypeBitmap, blk)
		if err == nil {
			maps[i], err = ondisk.BitmapBits(b, kind, i)
		}
		if err == nil {
			continue
		}
		if !isFinding(err) {
			return nil, err
		}
		*whole = false
		m.c.tell(BitmapInvalid, atGroup(m.g, blk), "the bitmap is not valid (%s)", reason(err))
	}
	return maps, nil
}

// edges judges the bits of the group's own metadata and those beyond its end, which never change.
func (m *groupMaps) edges(clusters, blocks uint32) {
	k, own := m.c.sb.ClusterBlocks(), m.c.sb.GroupMetaClusters()
	first := m.c.sb.GroupFirst(m.g)
	if n := clearIn(m.clusters, 0, own) + clearIn(m.meta, 0, own*k); n > 0 {
		m.c.add(Finding{Code: OwnFree, Where: atGroup(m.g, first), First: first, Count: uint64(own * k), Text: plural(uint64(n), "bit") + " of the group's own metadata clear"})
	}
	beyond := clearIn(m.clusters, clusters, uint32(len(m.clusters))*ondisk.BitsPerBitmap)
	beyond += clearIn(m.meta, blocks, uint32(len(m.meta))*ondisk.BitsPerBitmap)
	if beyond > 0 {
		m.c.add(Finding{Code: BeyondEnd, Where: atGroup(m.g, first), Got: int64(beyond), Text: plural(uint64(beyond), "bit") + " beyond the end of the group clear"})
	}
}

// tellGroup reports where the bitmaps of g differ from what is in use.
func (c *checker) tellGroup(g uint32) error {
	m := &groupMaps{c: c, g: g, own: c.own.get(g)}
	quiet, kept := &checker{ctx: c.ctx, o: c.o, r: c.r, sb: c.sb, rep: &Report{}}, c
	m.c = quiet
	whole := true
	var err error
	if m.clusters, err = m.read(ondisk.ClusterBitmap, c.sb.ClusterBitmapBlock(g, 0), c.sb.ClusterBitmapBlocks(), &whole); err != nil {
		return err
	}
	if m.meta, err = m.read(ondisk.MetaBitmap, c.sb.MetaBitmapBlock(g, 0), c.sb.MetaBitmapBlocks(), &whole); err != nil {
		return err
	}
	m.c = kept
	var run Finding
	flush := func() {
		if run.Count > 0 {
			run.Text = fmt.Sprintf("%s (%d to %d): %s", plural(run.Count, unit(run.Code)), run.First, run.First+run.Count-1, kinds[run.Code].Title)
			c.add(run)
		}
		run = Finding{}
	}
	err = m.compare(func(code Code, rel, n uint32) error {
		first := c.sb.GroupFirst(g) + uint64(rel)
		blk := first
		if unit(code) == "cluster" {
			first = c.sb.GroupFirst(g)/uint64(c.sb.ClusterBlocks()) + uint64(rel)
			blk = first * uint64(c.sb.ClusterBlocks())
		}
		if run.Code == code && run.First+run.Count == first {
			run.Count += uint64(n)
			return nil
		}
		flush()
		run = Finding{Code: code, Where: atGroup(g, blk), First: first, Count: uint64(n)}
		return nil
	})
	flush()
	return err
}

// unit is what First and Count of a finding of the group phase mean.
func unit(code Code) string {
	switch code {
	case ClusterLeak, ClusterFree, ClusterTwice, DataAndMetadata:
		return "cluster"
	}
	return "block"
}
