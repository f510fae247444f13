package check

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/covol/covol/ondisk"
)

// planner turns the findings of one check into images of blocks: one round of a repair. It writes to the draft alone.
type planner struct {
	r *repairer
	c *checker // that has made the findings
	d *draft

	edits   map[uint64]*edit
	broken  map[uint64]bool   // inodes whose trees lost nodes: leaves without a parent may be theirs
	adopted map[uint64]uint64 // tree nodes, and the inode that takes each
	moved   map[uint64]uint64 // directories without a name that get one in this round, and their parents
	revived map[uint64]bool   // directories that are made anew in this round
	room    *room
	changed int
}

// stage orders findings: what is wrong further down may be but a consequence, and is looked at again afterwards.
type stage int

const (
	stageVolume   stage = iota // blocks at fixed places; together with the first of the others
	stageShape                 // records, trees, entries
	stageShared                // what has more than one owner
	stageLost                  // what has no name
	stageCounts                // counters in records, kept names
	stageGroups                // bitmaps
	stageCounters              // of the whole volume
	stageNever                 // nothing to do
)

func (p *planner) stageOf(f *Finding) stage {
	switch f.Code {
	case ClusterTwice, DataAndMetadata:
		if slices.ContainsFunc(f.Owners, func(w Where) bool { return p.isFreeLog(w.Inode) }) {
			return stageShape
		}
		return stageShared
	case MetaTwice:
		return stageShape
	case FileLost, RecordLeak, DirLost, OrphanNlink, OrphanNotEmpty:
		return stageLost
	case ClustersWrong, MetaWrong, NlinkFile, NlinkDir, NamesDisagree:
		return stageCounts
	case FreeCount, InodeCount:
		return stageCounters
	case DataUnreadable:
		return stageVolume
	case TooMany:
		return stageNever
	}
	switch {
	case f.Severity == Info:
		return stageNever
	case f.Code < "F3":
		return stageVolume
	case f.Code < "F4":
		return stageGroups
	}
	return stageShape
}

// fix plans what is to be done about the findings of the first stage that has any.
func (p *planner) fix() error {
	all := p.c.rep.Findings
	first := stageNever
	for i := range all {
		if s := p.stageOf(&all[i]); s > stageVolume {
			first = min(first, s)
		}
	}
	var lost []*Finding
	for i := range all {
		f := &all[i]
		switch s := p.stageOf(f); {
		case s != stageVolume && s != first, s == stageNever:
			continue
		case s == stageLost:
			lost = append(lost, f)
			continue
		}
		if p.isTreeFault(f.Code) {
			p.broken[f.Where.Inode] = true
		}
	}
	for i := range all {
		f := &all[i]
		if s := p.stageOf(f); s == stageNever || s == stageLost || (s != stageVolume && s != first) {
			continue
		}
		if err := p.one(f); err != nil {
			return fmt.Errorf("%s: %w", f, err)
		}
	}
	if err := p.findHomes(lost); err != nil {
		return err
	}
	if first == stageShared {
		if err := p.unshare(); err != nil {
			return err
		}
	}
	for _, ino := range slices.Sorted(maps.Keys(p.edits)) {
		if err := p.write(p.edits[ino]); err != nil {
			return err
		}
	}
	return nil
}

func (p *planner) isTreeFault(c Code) bool {
	switch c {
	case NodeInvalid, NodeOwner, NodeLevel, NodeRange, NodeEmpty, NodePlace:
		return true
	}
	return false
}

// one plans for one finding, and tells what.
func (p *planner) one(f *Finding) error {
	done, err := p.volumeFault(f)
	if done == "" && err == nil {
		done, err = p.recordFault(f)
	}
	if done == "" && err == nil {
		done, err = p.treeFault(f)
	}
	if done == "" && err == nil {
		done, err = p.nameFault(f)
	}
	if done == "" && err == nil {
		done, err = p.systemFault(f)
	}
	if done == "" && err == nil {
		done, err = p.groupFault(f)
	}
	if done != "" && err == nil && !p.isOurs(f) {
		p.r.did(f, done)
	}
	return err
}

// isOurs reports whether a finding is about bits that must change because of the plan itself.
func (p *planner) isOurs(f *Finding) bool {
	k := uint64(1)
	switch f.Code {
	case ClusterLeak, ClusterFree:
		k = uint64(p.c.sb.ClusterBlocks())
	case MetaLeak, MetaFree:
	default:
		return false
	}
	for i := f.First; i < f.First+f.Count; i++ {
		some := false
		for b := i * k; b < (i+1)*k; b++ {
			some = some || p.r.ours.has(b)
		}
		if !some {
			return false
		}
	}
	return true
}

// read returns a block of the draft, as a copy.
func (p *planner) read(blk uint64) ([]byte, error) {
	b := make([]byte, ondisk.BlockSize)
	if blk >= p.c.r.blocks {
		return nil, &ondisk.Corrupt{Struct: "volume", Block: blk, Field: "length of the device in blocks", Got: p.c.r.blocks}
	}
	if err := p.d.ReadAt(p.c.ctx, b, int64(blk)*ondisk.BlockSize); err != nil {
		return nil, fmt.Errorf("read block %d: %w", blk, err)
	}
	return b, nil
}

func (p *planner) load(t ondisk.Type, blk uint64) ([]byte, error) {
	b, err := p.read(blk)
	if err != nil {
		return nil, err
	}
	return b, ondisk.CheckHeader(b, t, blk, p.c.sb.UUID)
}

func (p *planner) record(ino uint64) (*ondisk.Inode, error) {
	b, err := p.load(ondisk.TypeInode, ino)
	if err != nil {
		return nil, err
	}
	return ondisk.DecodeInode(b)
}

func (p *planner) isFreeLog(ino uint64) bool {
	first := p.c.sb.OrphanBlock(0)
	return ino >= first && ino < p.c.sb.OrphanBlock(uint16(p.c.sb.Slots)) && (ino-first)%ondisk.SystemPerSlot == 1
}

// errVanished says that a finding speaks of what is not there.
var errVanished = errors.New("not there any more")
