package check

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/covol/covol/ondisk"
)

// LostFound is the directory in the root that gets what has no other place.
const LostFound = "lost+found"

// findHomes gives what has no name one: directories first, so that what lies in them stays there.
func (p *planner) findHomes(all []*Finding) error {
	rank := func(f *Finding) int {
		e, _ := p.open(f.Where.Inode)
		switch {
		case f.Code == DirLost && e != nil && slices.Contains(e.in.Names, ondisk.KeptName{Parent: ondisk.RootBlock, Name: LostFound}):
			return 0
		case f.Code == DirLost:
			return 1
		}
		return 2
	}
	slices.SortStableFunc(all, func(a, b *Finding) int { return cmp.Compare(rank(a), rank(b)) })
	for _, f := range all {
		var done string
		var err error
		switch f.Code {
		case RecordLeak:
			done, err = p.leaked(f.Where.Inode)
		case OrphanNlink:
			done, err = p.linkedOrphan(f)
		case OrphanNotEmpty:
			done, err = p.fullOrphan(f)
		default:
			done, err = p.home(f.Where.Inode)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", f, err)
		}
		p.r.did(f, done)
	}
	return nil
}

// home gives inode ino its kept names back where it can, else one in lost+found.
func (p *planner) home(ino uint64) (string, error) {
	e, err := p.open(ino)
	if err != nil {
		return "", err
	}
	if e == nil {
		return "", errVanished
	}
	kept := e.in.Names
	e.in.Names = nil
	for _, k := range kept {
		if isDir(e.in) && (len(e.in.Names) > 0 || p.below(k.Parent, ino)) {
			continue
		}
		if p.c.dirs[k.Parent] == nil || p.c.dirs[k.Parent].orphan {
			continue
		}
		ok, err := p.enter(k.Parent, k.Name, ino)
		if err != nil {
			return "", err
		}
		if ok {
			e.in.Names = append(e.in.Names, k)
			p.moved[ino] = k.Parent
		}
	}
	e.in.Flags &^= ondisk.InodeMoreNames
	if !isDir(e.in) {
		e.in.Nlink = max(1, uint32(len(e.in.Names)))
	}
	if len(e.in.Names) > 0 {
		return fmt.Sprintf("put back as %q into directory %d", e.in.Names[0].Name, e.in.Names[0].Parent), nil
	}
	for _, k := range kept {
		ok, err := p.revive(k.Parent)
		if ok && err == nil {
			ok, err = p.enter(k.Parent, k.Name, ino)
		}
		if err != nil {
			return "", err
		}
		if ok {
			e.in.Names = []ondisk.KeptName{k}
			p.moved[ino] = k.Parent
			return fmt.Sprintf("put back as %q into directory %d, which was made anew in /%s", k.Name, k.Parent, LostFound), nil
		}
	}
	return p.intoLost(e, kept)
}

// revive makes a directory anew of which nothing is left but what its files remember, so that they stay together. It
// reports whether the directory is there.
func (p *planner) revive(ino uint64) (bool, error) {
	if p.revived[ino] {
		return true, nil
	}
	if !p.c.metaPlace(ino) || p.c.isMeta(ino) || p.edits[ino] != nil || p.c.dirs[ino] != nil {
		return false, nil
	}
	g, rel, _ := p.c.own.at(ino)
	m, err := p.bitmaps(g)
	if err != nil {
		return false, err
	}
	// A number that is marked free was never that of a directory which has just been lost.
	if !bitAt(m.clusters, rel/p.c.sb.ClusterBlocks()) || !bitAt(m.meta, rel) || !p.room.reserve(ino) {
		return false, nil
	}
	p.revived[ino] = true
	if err := p.newDir(ino, 0, "?"); err != nil {
		return false, err
	}
	_, err = p.intoLost(p.edits[ino], nil)
	return err == nil, err
}

// intoLost names e in lost+found: as it was called if that is free there, else by its number.
func (p *planner) intoLost(e *edit, kept []ondisk.KeptName) (string, error) {
	lost, err := p.lostFound()
	if err != nil {
		return "", err
	}
	var names []string
	for _, k := range kept {
		names = append(names, k.Name)
	}
	names = append(names, fmt.Sprintf("#%d", e.in.Ino))
	for i := range 1000 {
		names = append(names, fmt.Sprintf("#%d.%d", e.in.Ino, i+1))
	}
	for _, name := range names {
		ok, err := p.enter(lost, name, e.in.Ino)
		if err != nil {
			return "", err
		}
		if ok {
			e.in.Names = []ondisk.KeptName{{Parent: lost, Name: name}}
			p.moved[e.in.Ino] = lost
			return fmt.Sprintf("put as %q into /%s", name, LostFound), nil
		}
	}
	return "", fmt.Errorf("no free name in /%s", LostFound)
}

// lostFound is the directory of that name in the root. It is made if there is none.
func (p *planner) lostFound() (uint64, error) {
	root, err := p.content(ondisk.RootBlock)
	if err != nil {
		return 0, err
	}
	if root == nil {
		return 0, errVanished
	}
	name := LostFound
	for i := 1; ; i++ {
		d, there := root.entries[name]
		if !there {
			break
		}
		if e, err := p.open(d.Ino); err != nil {
			return 0, err
		} else if e != nil && isDir(e.in) {
			return d.Ino, nil
		}
		name = fmt.Sprintf("%s.%d", LostFound, i)
	}
	ino, err := p.allocMeta()
	if err != nil {
		return 0, err
	}
	in := &ondisk.Inode{Ino: ino, Generation: p.c.maxLSN + 1, Mode: modeDir | 0o700, Nlink: 2, Body: ondisk.BodyIndex,
		Names: []ondisk.KeptName{{Parent: ondisk.RootBlock, Name: name}}}
	in.Root = ondisk.InitNode(make([]byte, in.AttrRoom()), 0)
	p.edits[ino] = &edit{in: in, tree: true, entries: map[string]ondisk.Dirent{}}
	p.moved[ino] = ondisk.RootBlock
	root.entries[name] = ondisk.Dirent{Ino: ino, Type: modeDir >> 12, Name: name}
	return ino, nil
}

// leaked ends an inode that has neither name nor links, unless it is a directory with something in it.
func (p *planner) leaked(ino uint64) (string, error) {
	e, err := p.content(ino)
	if err != nil {
		return "", err
	}
	if e != nil && isDir(e.in) && len(e.entries) > 0 {
		e.in.Nlink = 2
		return "kept: there is something in it", nil
	}
	return "removed", p.kill(ino)
}

// linkedOrphan settles an orphan that has links and no name. A file that keeps a name has lost it.
func (p *planner) linkedOrphan(f *Finding) (string, error) {
	e, err := p.open(f.Target)
	if e == nil || err != nil {
		return "", err
	}
	if len(e.in.Names) > 0 {
		return "taken out of the index of orphans: it has lost its name", p.notOrphan(f.Where.Block, f.Target)
	}
	e.in.Nlink = 0
	return "link count set to zero", nil
}

// fullOrphan takes a directory with something in it out of the index of orphans. The next round gives it a name.
func (p *planner) fullOrphan(f *Finding) (string, error) {
	e, err := p.open(f.Where.Inode)
	if e == nil || err != nil {
		return "", err
	}
	e.in.Nlink = 2
	o := p.c.orphans[f.Where.Inode]
	return "taken out of the index of orphans", p.notOrphan(p.c.sb.OrphanBlock(o.slot), f.Where.Inode)
}
