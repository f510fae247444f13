package dump

import (
	"encoding/hex"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/covol/covol/ondisk"
)

// inodeItems prints a record and all that its tree leads to.
func (d *dumper) inodeItems(ino uint64) ([]item, error) {
	it, b, err := d.block(fmt.Sprintf("inode %d", ino), ondisk.TypeInode, ino)
	if b == nil {
		return nil, err
	}
	all := []item{it}
	if err != nil {
		return all, nil
	}
	in, err := ondisk.DecodeInode(b)
	if err != nil {
		all[0].add(finding(err))
		return all, nil
	}
	if len(in.Xattrs) > 0 {
		x := item{name: "extended attributes"}
		for _, a := range in.Xattrs {
			x.add(content(a.Name, a.Value))
		}
		all = append(all, x)
	}
	switch in.Body {
	case ondisk.BodyResident:
		return append(all, content("content", in.Resident)), nil
	case ondisk.BodyExtents:
		more, err := d.extents(in)
		return append(all, more...), err
	case ondisk.BodyIndex:
		more, err := d.index(in)
		return append(all, more...), err
	}
	return all, nil
}

// content is text if it can be, else hex.
func content(name string, b []byte) item {
	if utf8.Valid(b) {
		return kv(name, string(b))
	}
	return kv(name, hex.EncodeToString(b))
}

// items is what a walk found out about the tree itself.
func (t *tree) items() item {
	it := item{name: "tree", sub: []item{kv("height", t.height), kv("blocks", t.blocks)}}
	for _, err := range t.findings {
		it.add(finding(err))
	}
	return it
}

func (d *dumper) extents(in *ondisk.Inode) ([]item, error) {
	list := item{name: "extents", list: true, sub: []item{}}
	var clusters, longest, unwritten uint64
	end := uint64(0)
	t := d.tree(in)
	err := t.walk(in.Root, in.Ino, func(blk, key uint64, value []byte) {
		e, err := ondisk.DecodeExtent(d.s, blk, key, value)
		it := item{name: fmt.Sprintf("logical %d", key)}
		it.add(kv("logical", key), kv("physical", e.Physical), kv("length", e.Length), kv("unwritten", e.Flags&ondisk.ExtentUnwritten != 0))
		it.value = fmt.Sprintf("physical %d length %d flags %d", e.Physical, e.Length, e.Flags)
		switch {
		case err != nil:
			it.value, it.sub = nil, []item{kv("logical", key), finding(err)}
			it.add(tableItems("extent", value)...)
		case key < end:
			it.add(kv("finding", fmt.Sprintf("overlaps the extent before, which ends at %d", end)))
		default:
			clusters += uint64(e.Length)
			longest = max(longest, uint64(e.Length))
			if e.Flags&ondisk.ExtentUnwritten != 0 {
				unwritten += uint64(e.Length)
			}
		}
		end = max(end, e.End())
		list.add(it)
	})
	stats := item{name: "statistics"}
	stats.add(kv("extents", len(list.sub)), kv("clusters", clusters), kv("unwritten clusters", unwritten), kv("longest", longest))
	if bytes := clusters * uint64(d.s.ClusterSize); bytes > 0 {
		perGiB := float64(len(list.sub)) / (float64(bytes) / (1 << 30))
		stats.add(item{name: "extents per GiB", value: perGiB, text: fmt.Sprintf("%.1f", perGiB)})
	}
	return []item{stats, t.items(), list}, err
}

// index prints a directory, or the index of orphans or of deferred frees of a slot.
func (d *dumper) index(in *ondisk.Inode) ([]item, error) {
	layout := "dirent"
	for slot := range uint16(d.s.Slots) {
		switch in.Ino {
		case d.s.OrphanBlock(slot):
			layout = "orphan"
		case d.s.FreeLogBlock(slot):
			layout = "deferred free"
		}
	}
	list := item{name: "entries", list: true, sub: []item{}}
	t := d.tree(in)
	err := t.walk(in.Root, in.Ino, func(blk, key uint64, value []byte) {
		bad := d.checkValue(layout, blk, key, value)
		for _, v := range sequenceOf(layout, value) {
			it := item{name: "entry", sub: append([]item{{name: "key", value: key, text: fmt.Sprintf("%#x", key)}}, items(v.Sub)...)}
			if bad != nil {
				it.add(finding(bad))
			}
			list.add(it)
		}
		if bad != nil && len(value) == 0 {
			list.add(item{name: "entry", sub: []item{kv("key", key), finding(bad)}})
		}
	})
	return []item{t.items(), kv("number of entries", len(list.sub)), list}, err
}

func (d *dumper) checkValue(layout string, blk, key uint64, value []byte) error {
	var err error
	switch layout {
	case "orphan":
		_, err = ondisk.DecodeOrphan(d.s, blk, key, value)
	case "deferred free":
		_, err = ondisk.DecodeFree(d.s, blk, key, value)
	default:
		var ds []ondisk.Dirent
		ds, err = ondisk.DecodeDirents(blk, value)
		for _, e := range ds {
			if h := d.s.HashName(e.Name); h != key {
				return fmt.Errorf("name %q has hash %#x, not %#x", e.Name, h, key)
			}
		}
	}
	return err
}

// path looks a path up from the root directory and prints the inode that it leads to. Symbolic links are not followed.
func (d *dumper) path(p string) ([]item, error) {
	ino := uint64(ondisk.RootBlock)
	steps := item{name: "path", list: true, sub: []item{}}
	for _, name := range strings.Split(p, "/") {
		if name == "" || name == "." {
			continue
		}
		in, err := d.inode(ino)
		if err != nil {
			return nil, fmt.Errorf("path %q: %w", p, err)
		}
		if name == ".." {
			if len(in.Names) > 0 {
				ino = in.Names[0].Parent
			}
			continue
		}
		next, err := d.lookup(in, name)
		if err != nil {
			return nil, fmt.Errorf("path %q: at %q in inode %d: %w", p, name, ino, err)
		}
		steps.add(item{name: name, value: next.Ino, sub: []item{kv("name", name), kv("ino", next.Ino)}})
		ino = next.Ino
	}
	more, err := d.inodeItems(ino)
	return append([]item{steps}, more...), err
}

func (d *dumper) lookup(dir *ondisk.Inode, name string) (ondisk.Dirent, error) {
	if dir.Body != ondisk.BodyIndex {
		return ondisk.Dirent{}, fmt.Errorf("not a directory: %w", ErrNotFound)
	}
	value, blk, err := d.tree(dir).get(dir.Root, d.s.HashName(name))
	if err != nil {
		return ondisk.Dirent{}, err
	}
	if value != nil {
		ds, err := ondisk.DecodeDirents(blk, value)
		if err != nil {
			return ondisk.Dirent{}, err
		}
		for _, e := range ds {
			if e.Name == name {
				return e, nil
			}
		}
	}
	return ondisk.Dirent{}, ErrNotFound
}
