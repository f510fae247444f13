package check_test

import (
	"encoding/binary"

	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/check"
)

func nameFaults() []fault {
	// entry puts an entry into /a that leads anywhere.
	entry := func(ino func(v *vol) uint64, kind uint8) func(v *vol) {
		return func(v *vol) {
			v.inodes[v.inoOf("a")].entries["planted"] = ondisk.Dirent{Ino: ino(v), Type: kind, Name: "planted"}
		}
	}
	return []fault{
		{name: "cut short", want: check.DirentInvalid, model: func(v *vol) {
			n := v.inodes[v.inoOf("a")]
			n.slots = append(n.slots, kv{12345, []byte{1, 2, 3}})
		}},
		{name: "name with a slash", want: check.DirentInvalid, model: func(v *vol) {
			n := v.inodes[v.inoOf("a")]
			n.slots = append(n.slots, kv{v.sb.HashName("x/y"), ondisk.EncodeDirents([]ondisk.Dirent{{Ino: 5, Type: 8, Name: "x/y"}})})
		}},
		{name: "moved", want: check.DirentHash, model: func(v *vol) {
			n := v.inodes[v.inoOf("a")]
			e := n.entries["one"]
			delete(n.entries, "one")
			n.slots = append(n.slots, kv{v.sb.HashName("one") + 1, ondisk.EncodeDirents([]ondisk.Dirent{e})})
		}},
		{name: "free block", want: check.DirentDangling, model: entry(func(v *vol) uint64 { return v.sb.GroupFirst(9) + 700 }, 8)},
		{name: "tree node", want: check.DirentDangling, raw: func(v *vol) {
			// The type of the record is changed into that of a node.
			v.edit(v.inoOf("a", "fifo"), func(b []byte) { binary.LittleEndian.PutUint16(b[4:], uint16(ondisk.TypeNode)) })
		}, also: []check.Code{check.ClusterLeak, check.InodeCount}},
		{name: "outside", want: check.DirentDangling, model: entry(func(v *vol) uint64 { return 1 << 60 }, 8)},
		{name: "superblock", want: check.DirentDangling, model: entry(func(v *vol) uint64 { return 0 }, 8)},
		{name: "file as directory", want: check.DirentType, model: func(v *vol) {
			e := v.inodes[v.inoOf("a")].entries["one"]
			e.Type = 4
			v.inodes[v.inoOf("a")].entries["one"] = e
		}},
		{name: "index of orphans", want: check.DirentSystem, model: entry(func(v *vol) uint64 { return v.sb.OrphanBlock(0) }, 8)},
		{name: "flag", want: check.DirentSystem, model: tweak(func(in *ondisk.Inode) { in.Flags |= ondisk.InodeSystem }, "a", "fifo"),
			also: []check.Code{check.ClusterLeak, check.InodeCount}},
		{name: "second name", want: check.DirTwice, model: entry(func(v *vol) uint64 { return v.inoOf("big") }, 4)},
		{name: "circle", want: check.DirTwice, model: entry(func(v *vol) uint64 { return v.inoOf("a") }, 4)},
		{name: "root inside", want: check.DirTwice, model: entry(func(v *vol) uint64 { return ondisk.RootBlock }, 4)},
		{name: "other parent", want: check.DirParent, model: tweak(func(in *ondisk.Inode) { in.Names[0].Parent = 99 }, "a", "b")},
		{name: "no name", want: check.DirParent, model: tweak(func(in *ondisk.Inode) { in.Names = nil }, "big")},
		{name: "root has a name", want: check.DirParent, model: func(v *vol) {
			v.tweaks[ondisk.RootBlock] = func(in *ondisk.Inode) {
				in.Root = ondisk.InitNode(make([]byte, 400), 0)
				for _, name := range []string{"a", "big"} {
					i, _ := in.Root.Search(v.sb.HashName(name))
					in.Root.Insert(i, v.sb.HashName(name), ondisk.EncodeDirents([]ondisk.Dirent{v.inodes[ondisk.RootBlock].entries[name]}))
				}
				in.Names = []ondisk.KeptName{{Parent: 1, Name: "x"}}
			}
		}},
	}
}

func systemFaults() []fault {
	slotIn := func(blk func(v *vol) uint64, key func(v *vol) uint64, val []byte) func(v *vol) {
		return func(v *vol) {
			n := v.inodes[blk(v)]
			n.slots = append(n.slots, kv{key(v), val})
		}
	}
	orphans := func(v *vol) uint64 { return v.sb.OrphanBlock(2) }
	frees := func(v *vol) uint64 { return v.sb.FreeLogBlock(2) }
	number := func(n uint64) func(*vol) uint64 { return func(*vol) uint64 { return n } }
	return []fault{
		{name: "crc", want: check.SystemInvalid, raw: spoil(func(sb *ondisk.Super) uint64 { return sb.OrphanBlock(3) })},
		{name: "flag", want: check.SystemInvalid, model: func(v *vol) {
			v.tweaks[v.sb.FreeLogBlock(3)] = func(in *ondisk.Inode) { in.Flags = 0 }
		}},
		{name: "lost orphans", want: check.SystemInvalid, also: []check.Code{check.RecordLeak}, raw: func(v *vol) { v.spoil(v.sb.OrphanBlock(0)) }},
		{name: "place", want: check.OrphanInvalid, model: slotIn(orphans, number(3), make([]byte, 8))},
		{name: "size", want: check.OrphanInvalid, model: slotIn(orphans, func(v *vol) uint64 { return v.sb.GroupFirst(3) + 800 }, nil)},
		{name: "no record", want: check.OrphanMissing, model: slotIn(orphans, func(v *vol) uint64 { return v.sb.GroupFirst(9) + 800 }, make([]byte, 8))},
		{name: "generation", want: check.OrphanMissing, also: []check.Code{check.RecordLeak}, model: func(v *vol) {
			n := v.inode(0o100644)
			v.orphan(1, n)
			v.tweaks[n.in.Ino] = func(in *ondisk.Inode) { in.Generation++ }
		}},
		{name: "one link", want: check.OrphanNlink, model: func(v *vol) {
			n := v.inode(0o100644)
			n.in.Nlink = 1
			v.orphan(1, n)
		}},
		{name: "file", want: check.OrphanCut, model: func(v *vol) { v.orphan(1, v.inodes[v.inoOf("a", "one")]) }},
		{name: "named directory", want: check.OrphanNamed, model: func(v *vol) { v.orphan(1, v.inodes[v.inoOf("a")]) }},
		{name: "two slots", want: check.OrphanTwice, model: func(v *vol) {
			n := v.inode(0o100644)
			v.orphan(1, n)
			v.orphan(3, n)
		}},
		{name: "directory", want: check.OrphanNotEmpty, model: func(v *vol) {
			n := v.inode(0o040755)
			n.in.Nlink = 0
			v.orphan(1, n)
			v.make(n.in.Ino, "left", 0o100644)
		}},
		{name: "kind", want: check.FreeInvalid, model: slotIn(frees, func(v *vol) uint64 { return v.sb.GroupFirst(3) + 800 }, []byte{1, 0, 0, 0, 9, 0, 0, 0})},
		{name: "place", want: check.FreeInvalid, model: slotIn(frees, func(v *vol) uint64 { return v.sb.GroupFirst(3) }, []byte{1, 0, 0, 0, 1, 0, 0, 0})},
	}
}
