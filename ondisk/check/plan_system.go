package check

import (
	"fmt"
	"slices"

	"github.com/covol/covol/ondisk"
)

// systemFault plans for the indexes of orphans and of deferred frees. It returns "" for other findings.
func (p *planner) systemFault(f *Finding) (string, error) {
	switch f.Code {
	case SystemInvalid:
		return p.newSystem(f.Where.Block)
	case OrphanInvalid, FreeInvalid, OrphanTwice:
		return "removed", p.notOrphan(f.Where.Inode, f.Key)
	case OrphanMissing, OrphanNamed:
		return "removed from the index of orphans", p.notOrphan(f.Where.Block, f.Key)
	}
	return "", nil
}

// notOrphan removes key from the index whose record is index.
func (p *planner) notOrphan(index, key uint64) error {
	e, err := p.content(index)
	if e == nil || err != nil {
		return err
	}
	e.slots = slices.DeleteFunc(e.slots, func(s slot) bool { return s.key == key })
	return nil
}

// newSystem writes a system record anew, with what can be found of its index.
func (p *planner) newSystem(blk uint64) (string, error) {
	b, err := p.read(blk)
	if err != nil && !isFinding(err) {
		return "", err
	}
	in := p.mend(b, blk)
	if in == nil || in.Body != ondisk.BodyIndex {
		in = &ondisk.Inode{Ino: blk, Generation: 1, Nlink: 1, Body: ondisk.BodyIndex}
		in.Root = ondisk.InitNode(make([]byte, in.AttrRoom()), 0)
		p.broken[blk] = true
	}
	in.Flags |= ondisk.InodeSystem
	e := &edit{in: in}
	p.edits[blk] = e
	if p.broken[blk] {
		if _, err := p.content(blk); err != nil {
			return "", err
		}
		return fmt.Sprintf("written anew with what was found of its entries, %d", len(e.slots)), nil
	}
	return "mended", nil
}
