package check

import (
	"fmt"

	"github.com/covol/covol/ondisk"
)

// nameFault plans for the entries of directories. It returns "" for other findings.
func (p *planner) nameFault(f *Finding) (string, error) {
	switch f.Code {
	case DirentInvalid:
		e, err := p.content(f.Where.Inode)
		if e == nil || err != nil {
			return "", err
		}
		p.r.torn[f.Where.Inode] = true
		return "what could not be read was removed", nil
	case DirentHash:
		e, err := p.content(f.Where.Inode)
		if e == nil || err != nil {
			return "", err
		}
		return "filed under the right hash", nil
	case DirentDangling:
		return p.dangling(f)
	case DirentSystem:
		return p.unname(f)
	case DirentType:
		return p.entryType(f)
	case DirTwice:
		return p.dirTwice(f)
	case DirParent:
		return p.keepName(f)
	}
	return "", nil
}

// unname removes an entry.
func (p *planner) unname(f *Finding) (string, error) {
	e, err := p.content(f.Where.Inode)
	if e == nil || err != nil {
		return "", err
	}
	if e.entries[f.Name].Ino == f.Target {
		delete(e.entries, f.Name)
	}
	return "the name was removed", nil
}

// dangling removes an entry, unless it led to a directory of which others still speak: then the directory is made anew.
func (p *planner) dangling(f *Finding) (string, error) {
	e, err := p.content(f.Where.Inode)
	if e == nil || err != nil {
		return "", err
	}
	if p.c.metaPlace(f.Target) && !p.c.isMeta(f.Target) && p.edits[f.Target] == nil {
		b, err := p.read(f.Target)
		if err != nil && !isFinding(err) {
			return "", err
		}
		if in := p.mend(b, f.Target); in != nil {
			p.edits[f.Target] = &edit{in: in}
			return "mended", nil
		}
	}
	spoken := p.c.rescue.wanted[f.Target] || len(p.c.rescue.strays[f.Target]) > 0
	if e.entries[f.Name].Type != modeDir>>12 || !spoken || !p.c.metaPlace(f.Target) || p.c.isMeta(f.Target) || p.edits[f.Target] != nil {
		return p.unname(f)
	}
	return "the directory was made anew, with what was found of its names", p.newDir(f.Target, f.Where.Inode, f.Name)
}

// entryType makes an entry say what the record says.
func (p *planner) entryType(f *Finding) (string, error) {
	in, err := p.record(f.Target)
	if err != nil {
		return "", err
	}
	if e := p.edits[f.Target]; e != nil {
		in = e.in
	}
	e, err := p.content(f.Where.Inode)
	if e == nil || err != nil {
		return "", err
	}
	if d, ok := e.entries[f.Name]; ok && d.Ino == f.Target {
		d.Type = uint8(in.Mode & modeFmt >> 12)
		e.entries[f.Name] = d
	}
	return "the entry has the type of the inode", nil
}

// dirTwice leaves a directory one name: the one that its record keeps, unless that lies below itself.
func (p *planner) dirTwice(f *Finding) (string, error) {
	in, err := p.record(f.Target)
	if err != nil {
		return "", err
	}
	d := p.c.dirs[f.Target]
	second := ondisk.KeptName{Parent: f.Where.Inode, Name: f.Name}
	if d == nil || d.lost || d.orphan || f.Target == ondisk.RootBlock || len(in.Names) != 1 || in.Names[0] != second || p.below(second.Parent, f.Target) {
		return p.unname(f)
	}
	e, err := p.content(d.parent)
	if e == nil || err != nil {
		return "", err
	}
	if e.entries[d.name].Ino == f.Target {
		delete(e.entries, d.name)
	}
	return fmt.Sprintf("its other name %q in directory %d was removed", d.name, d.parent), nil
}

// below reports whether directory ino lies below top, or is it. What this round gives a name counts.
func (p *planner) below(ino, top uint64) bool {
	for range len(p.c.dirs) + 1 {
		if ino == top {
			return true
		}
		d := p.c.dirs[ino]
		switch to, moved := p.moved[ino]; {
		case moved:
			ino = to
		case ino == ondisk.RootBlock, d == nil, d.lost, d.orphan:
			return false
		default:
			ino = d.parent
		}
	}
	return true // a circle
}

// keepName makes the record of a directory keep the name that leads to it.
func (p *planner) keepName(f *Finding) (string, error) {
	e, err := p.open(f.Where.Inode)
	if e == nil || err != nil {
		return "", err
	}
	d := p.c.dirs[f.Where.Inode]
	e.in.Names = nil
	e.in.Flags &^= ondisk.InodeMoreNames
	if f.Where.Inode != ondisk.RootBlock && d != nil {
		e.in.Names = []ondisk.KeptName{{Parent: d.parent, Name: d.name}}
	}
	return "the record keeps that name", nil
}

// enter gives inode ino a name in a directory; false if the name is taken or there is no such directory.
func (p *planner) enter(parent uint64, name string, ino uint64) (bool, error) {
	e, err := p.content(parent)
	if e == nil || err != nil || !isDir(e.in) || !ondisk.ValidName(name) {
		return false, err
	}
	if _, taken := e.entries[name]; taken {
		return false, nil
	}
	child, err := p.open(ino)
	if child == nil || err != nil {
		return false, err
	}
	e.entries[name] = ondisk.Dirent{Ino: ino, Type: uint8(child.in.Mode & modeFmt >> 12), Name: name}
	return true, nil
}
