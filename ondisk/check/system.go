package check

import (
	"fmt"
	"maps"
	"slices"

	"github.com/covol/covol/ondisk"
)

// orphan is an entry of an index of orphans.
type orphan struct {
	slot uint16
	gen  uint64
}

// checkSystem reads the index of orphans and the index of deferred frees of every slot, and walks the orphans.
func (c *checker) checkSystem() error {
	for slot := range uint16(c.sb.Slots) {
		if err := c.index(slot, c.sb.OrphanBlock(slot), c.orphanEntry); err != nil {
			return err
		}
		if err := c.index(slot, c.sb.FreeLogBlock(slot), c.freeEntry); err != nil {
			return err
		}
	}
	for _, ino := range slices.Sorted(maps.Keys(c.orphans)) {
		if err := c.orphan(ino, c.orphans[ino]); err != nil {
			return err
		}
	}
	return c.drain()
}

// index walks the tree of one system record.
func (c *checker) index(slot uint16, ino uint64, entry func(slot uint16, t *tree, blk, key uint64, v []byte) error) error {
	at := atSlot(slot, ino)
	in, err := c.record(ino)
	if err != nil {
		if !isFinding(err) {
			return err
		}
		c.tell(SystemInvalid, at, "the system record is not valid (%s)", reason(err))
		return nil
	}
	c.fixed[ino] = true
	if in.Flags&ondisk.InodeSystem == 0 || in.Body != ondisk.BodyIndex {
		c.tell(SystemInvalid, at, "the record has flags %#x and body %d", in.Flags, in.Body)
		return nil
	}
	t := &tree{c: c, ino: ino, gen: in.Generation}
	t.leaf = func(blk, key uint64, v []byte) error { return entry(slot, t, blk, key, v) }
	if err := t.walk(in.Root); err != nil {
		return err
	}
	if t.nodes != in.Meta && !t.broken {
		c.count(MetaWrong, t.at(ino), "tree blocks", in.Meta, t.nodes)
	}
	return nil
}

func (c *checker) orphanEntry(slot uint16, t *tree, blk, key uint64, v []byte) error {
	o, err := ondisk.DecodeOrphan(c.sb, blk, key, v)
	if err == nil && !c.metaPlace(o.Ino) {
		err = fmt.Errorf("its group is not formatted: %w", ondisk.ErrCorrupt)
	}
	if err != nil {
		c.add(Finding{Code: OrphanInvalid, Where: t.at(blk), Key: key, Text: fmt.Sprintf("the entry of inode %d is not valid (%s)", key, reason(err))})
		return nil
	}
	if first, ok := c.orphans[o.Ino]; ok {
		c.add(Finding{Code: OrphanTwice, Where: t.at(blk), Key: key, Text: fmt.Sprintf("inode %d is in the index of slot %d and of slot %d", key, first.slot, slot)})
		return nil
	}
	c.orphans[o.Ino] = orphan{slot, o.Generation}
	return c.grow(48)
}

func (c *checker) freeEntry(_ uint16, t *tree, blk, key uint64, v []byte) error {
	f, err := ondisk.DecodeFree(c.sb, blk, key, v)
	if err == nil && !c.metaPlace(f.Block) {
		err = fmt.Errorf("its group is not formatted: %w", ondisk.ErrCorrupt)
	}
	if err != nil {
		c.add(Finding{Code: FreeInvalid, Where: t.at(blk), Key: key, Text: fmt.Sprintf("the entry of block %d is not valid (%s)", key, reason(err))})
		return nil
	}
	c.rep.Stats.DeferredFrees++
	if f.Kind == ondisk.FreeMeta {
		_, err := c.claimMeta(f.Block, false, t.at(blk))
		return err
	}
	k := c.sb.ClusterBlocks()
	return c.claimData(f.Block/uint64(k), f.Blocks/k, t.at(blk))
}

// namedOrphan judges an entry whose inode has names. That is right for a file that was being cut short in more than one
// transaction; its other claims were made where its name was found.
func (c *checker) namedOrphan(ino uint64, o orphan, finding func(Code, string, ...any)) error {
	in, err := c.record(ino)
	if err != nil && !isFinding(err) {
		return err
	}
	if err == nil && in.Generation == o.gen && in.Mode&modeFmt == modeReg {
		finding(OrphanCut, "file %d was being cut to %d bytes", ino, in.Size)
		return nil
	}
	finding(OrphanNamed, "orphan %d has a name", ino)
	return nil
}

// orphan judges an inode that an index of orphans names. What it holds counts as used.
func (c *checker) orphan(ino uint64, o orphan) error {
	w := atSlot(o.slot, c.sb.OrphanBlock(o.slot))
	finding := func(code Code, format string, args ...any) {
		c.add(Finding{Code: code, Where: w, Key: ino, Target: ino, Text: fmt.Sprintf(format, args...)})
	}
	if c.isRecord(ino) {
		return c.namedOrphan(ino, o, finding)
	}
	in, err := c.record(ino)
	if err != nil {
		if !isFinding(err) {
			return err
		}
		finding(OrphanMissing, "orphan %d is not there (%s)", ino, reason(err))
		return nil
	}
	if in.Generation != o.gen || in.Flags&ondisk.InodeSystem != 0 {
		finding(OrphanMissing, "orphan %d has generation %d, want %d", ino, in.Generation, o.gen)
		return nil
	}
	if in.Nlink != 0 {
		finding(OrphanNlink, "orphan %d has %d links", ino, in.Nlink)
	}
	if free, err := c.claimMeta(ino, true, Where{Block: ino, Inode: ino}); err != nil || !free {
		return err
	}
	c.found++
	c.rep.Stats.Orphans++
	if err := c.inode(in, ""); err != nil {
		return err
	}
	if isDir(in) {
		return c.pushDir(in, &dir{orphan: true})
	}
	return nil
}
