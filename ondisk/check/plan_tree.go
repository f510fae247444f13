package check

import (
	"fmt"

	"github.com/covol/covol/ondisk"
)

// treeFault plans for trees that are damaged and for extents that cannot be. It returns "" for other findings.
func (p *planner) treeFault(f *Finding) (string, error) {
	ino := f.Where.Inode
	switch f.Code {
	case NodeInvalid:
		if done, err := p.mendNode(f); done != "" || err != nil {
			return done, err
		}
		fallthrough
	case NodeOwner, NodeLevel, NodeRange, NodeEmpty, NodePlace:
		e, err := p.content(ino)
		if e == nil || err != nil {
			return "", err
		}
		p.r.mayHaveTorn(e.in)
		return "tree built anew from " + p.what(e), nil
	case ExtentInvalid, ExtentOverlap, ExtentPlace:
		e, err := p.content(ino)
		if e == nil || err != nil {
			return "", err
		}
		if f.Code == ExtentOverlap {
			return "the part of the later extent that overlaps was removed", nil
		}
		return "removed; the file reads zeros there", nil
	case MetaTwice:
		return p.metaTwice(f)
	case ClusterTwice, DataAndMetadata:
		return p.dropFrees(f)
	}
	return "", nil
}

func (p *planner) what(e *edit) string {
	switch {
	case e.in.Body == ondisk.BodyExtents:
		return plural(uint64(len(e.extents)), "extent")
	case e.in.Flags&ondisk.InodeSystem != 0:
		return plural(uint64(len(e.slots)), "slot")
	}
	return plural(uint64(len(e.entries)), "name")
}

// mendNode turns one flipped bit of a node back.
func (p *planner) mendNode(f *Finding) (string, error) {
	b, err := p.read(f.Where.Block)
	if err != nil {
		if isFinding(err) {
			return "", nil
		}
		return "", err
	}
	if sealed(b) || !unflip(b) || ondisk.CheckHeader(b, ondisk.TypeNode, f.Where.Block, p.c.sb.UUID) != nil ||
		ondisk.Node(b[ondisk.NodeBody:]).Check(f.Where.Block) != nil {
		return "", nil
	}
	return "one flipped bit turned back", p.put(b)
}

// metaTwice leaves a block to one owner: a record to itself, a node to the inode in its header.
func (p *planner) metaTwice(f *Finding) (string, error) {
	if done, err := p.dropFrees(f); done != "" || err != nil {
		return done, err
	}
	keeper := uint64(0)
	for blk := f.First; blk < f.First+f.Count; blk++ {
		if b, err := p.read(blk); err == nil {
			keeper = ondisk.Owner(b)
		}
	}
	for _, w := range f.Owners {
		e, err := p.open(w.Inode)
		if err != nil {
			return "", err
		}
		if e == nil {
			continue
		}
		p.broken[w.Inode] = true
		p.r.mayHaveTorn(e.in)
		if _, err := p.content(w.Inode); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("kept for inode %d, cut off the others", keeper), nil
}

// dropFrees takes the deferred frees out of the free logs that speak of a range which something else uses too. Two free
// logs that speak of one range both lose it; the check of the bitmaps frees it then.
func (p *planner) dropFrees(f *Finding) (string, error) {
	k := uint64(p.c.sb.ClusterBlocks())
	first, end := f.First, f.First+f.Count
	if unit(f.Code) == "cluster" {
		first, end = first*k, end*k
	}
	done := ""
	for _, w := range f.Owners {
		if !p.isFreeLog(w.Inode) {
			continue
		}
		e, err := p.content(w.Inode)
		if err != nil {
			return "", err
		}
		if e == nil {
			continue
		}
		var keep []slot
		for _, s := range e.slots {
			x, err := ondisk.DecodeFree(p.c.sb, 0, s.key, s.v)
			if err == nil && x.Block < end && first < x.Block+uint64(x.Blocks) {
				continue
			}
			keep = append(keep, s)
		}
		e.slots = keep
		done = "removed from the index of deferred frees"
	}
	return done, nil
}
