package check

import (
	"fmt"
	"slices"

	"github.com/covol/covol/ondisk"
)

// recordFault plans for what is wrong with a record in itself. It returns "" for other findings.
func (p *planner) recordFault(f *Finding) (done string, err error) {
	if f.Code == RecordInvalid {
		return p.invalidRecord(f)
	}
	fix := map[Code]func(e *edit, f *Finding) (string, error){
		ModeInvalid: p.mode, FlagsUnknown: p.flags, BodyMismatch: p.body, SymlinkSize: p.symlink, XattrInvalid: p.xattr,
		ClustersWrong: p.counter, MetaWrong: p.counter, NlinkFile: p.links, NlinkDir: p.links, NamesDisagree: p.keptNames,
	}[f.Code]
	if fix == nil {
		return "", nil
	}
	e, err := p.open(f.Where.Inode)
	if err != nil || e == nil {
		return "", err
	}
	return fix(e, f)
}

func (p *planner) mode(e *edit, _ *Finding) (string, error) {
	e.in.Mode = e.in.Mode&0o7777 | modeReg
	if e.in.Body == ondisk.BodyIndex {
		e.in.Mode = e.in.Mode&0o7777 | modeDir
	}
	return fmt.Sprintf("made %#o, as its body has it", e.in.Mode), nil
}

func (p *planner) flags(e *edit, _ *Finding) (string, error) {
	e.in.Flags &= knownFlags
	return "cleared", nil
}

// body makes type and body agree. The body is what people miss, so the type follows it where there is something in it.
func (p *planner) body(e *edit, _ *Finding) (string, error) {
	in := e.in
	perm := in.Mode & 0o7777
	switch {
	case in.Body == ondisk.BodyIndex:
		in.Mode = perm | modeDir
		p.r.torn[in.Ino] = true
		return "made a directory, as its body has it", nil
	case isDir(in) && in.Body == ondisk.BodyNone:
		in.Body, in.Root, in.Size = ondisk.BodyIndex, ondisk.InitNode(make([]byte, in.AttrRoom()), 0), 0
		p.broken[in.Ino], p.r.torn[in.Ino] = true, true
		_, err := p.content(in.Ino)
		return "given an index, with what was found of its names", err
	case in.Body == ondisk.BodyNone: // a symbolic link without a target
		return "removed", p.kill(in.Ino)
	case in.Size == 0:
		if _, err := p.content(in.Ino); err != nil {
			return "", err
		}
		for _, blk := range e.nodes {
			if err := p.bury(blk); err != nil {
				return "", err
			}
		}
		in.Body, in.Resident, in.Root, in.Clusters, in.Meta, e.tree, e.nodes = ondisk.BodyNone, nil, nil, 0, 0, false, nil
		if isDir(in) || in.Mode&modeFmt == modeLnk {
			in.Mode = perm | modeReg
		}
		return "its empty body was removed", nil
	}
	in.Mode, in.Rdev = perm|modeReg, 0
	return "made a file, as its body has it", nil
}

func (p *planner) symlink(e *edit, _ *Finding) (string, error) {
	return "removed", p.kill(e.in.Ino)
}

func (p *planner) xattr(e *edit, _ *Finding) (string, error) {
	var keep []ondisk.Xattr
	size, dropped := 0, uint64(0)
	for _, x := range e.in.Xattrs {
		need := 8 + (2+len(x.Name)+len(x.Value)+7)&^7
		if slices.ContainsFunc(keep, func(y ondisk.Xattr) bool { return y.Name == x.Name }) || size+need > ondisk.MaxXattrBytes {
			dropped++
			continue
		}
		keep, size = append(keep, x), size+need
	}
	e.in.Xattrs = keep
	return plural(dropped, "extended attribute") + " removed", nil
}

func (p *planner) counter(e *edit, f *Finding) (string, error) {
	if f.Code == ClustersWrong {
		e.in.Clusters = uint64(f.Want)
	} else {
		e.in.Meta = uint64(f.Want)
	}
	return fmt.Sprintf("set to %d", f.Want), nil
}

func (p *planner) links(e *edit, f *Finding) (string, error) {
	if back, err := p.nameAgain(e.in.Ino); back != "" || err != nil {
		return back, err
	}
	e.in.Nlink = uint32(f.Want)
	return fmt.Sprintf("set to %d", f.Want), nil
}

func (p *planner) keptNames(e *edit, _ *Finding) (string, error) {
	if back, err := p.nameAgain(e.in.Ino); back != "" || err != nil {
		return back, err
	}
	l := p.c.links[e.in.Ino]
	if l == nil {
		return "", errVanished
	}
	e.in.Names = slices.Clone(l.names)
	if e.in.Flags &^= ondisk.InodeMoreNames; int(l.seen) > len(l.names) {
		e.in.Flags |= ondisk.InodeMoreNames
	}
	return "the record keeps the names that lead to it", nil
}

// nameAgain gives a file names back that it keeps, where the directory has lost entries.
func (p *planner) nameAgain(ino uint64) (string, error) {
	l := p.c.links[ino]
	if l == nil {
		return "", nil
	}
	back := ""
	for _, k := range l.kept {
		if !p.r.torn[k.Parent] || p.c.dirs[k.Parent] == nil {
			continue
		}
		ok, err := p.enter(k.Parent, k.Name, ino)
		if err != nil {
			return "", err
		}
		if ok {
			back = fmt.Sprintf("named %q in directory %d again", k.Name, k.Parent)
		}
	}
	return back, nil
}

// invalidRecord mends a record, makes a directory anew, or takes away the name that leads to nothing.
func (p *planner) invalidRecord(f *Finding) (string, error) {
	ino := f.Target
	if f.Name == "" {
		ino = ondisk.RootBlock
	}
	b, err := p.read(ino)
	if err != nil && !isFinding(err) {
		return "", err
	}
	if e := p.edits[ino]; e != nil {
		return "mended", nil // by an earlier finding
	}
	if in := p.mend(b, ino); in != nil && (f.Name != "" || (isDir(in) && in.Body == ondisk.BodyIndex)) {
		p.edits[ino] = &edit{in: in}
		p.r.mayHaveTorn(in)
		if p.broken[ino] {
			_, err := p.content(ino)
			return "what can be read of the record is kept", err
		}
		return "mended", nil
	}
	kind := uint8(modeDir >> 12)
	if f.Name != "" {
		dir, err := p.content(f.Where.Inode)
		if err != nil || dir == nil {
			return "", err
		}
		kind = dir.entries[f.Name].Type
	}
	if kind != modeDir>>12 {
		return p.unname(f)
	}
	return "the directory was made anew, with what was found of its names", p.newDir(ino, f.Where.Inode, f.Name)
}

// newDir makes the record of a directory anew.
func (p *planner) newDir(ino, parent uint64, name string) error {
	in := &ondisk.Inode{Ino: ino, Generation: p.c.maxLSN + 1, Mode: modeDir | 0o755, Nlink: 2, Body: ondisk.BodyIndex}
	newest := uint64(0)
	if ino == ondisk.RootBlock {
		in.Generation = 1
	} else {
		in.Names = []ondisk.KeptName{{Parent: parent, Name: name}}
	}
	for _, s := range p.c.rescue.strays[ino] {
		if s.lsn >= newest {
			newest, in.Generation = s.lsn, s.gen
		}
	}
	in.Root = ondisk.InitNode(make([]byte, in.AttrRoom()), 0)
	p.edits[ino] = &edit{in: in}
	p.broken[ino], p.r.torn[ino] = true, true
	_, err := p.content(ino)
	return err
}
