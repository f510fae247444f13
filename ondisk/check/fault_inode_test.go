package check_test

import (
	"encoding/binary"
	"math"

	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/check"
)

// tweak is a fault in the record of one inode.
func tweak(fn func(in *ondisk.Inode), names ...string) func(v *vol) {
	return func(v *vol) { v.tweaks[v.inoOf(names...)] = fn }
}

func inodeFaults() []fault {
	return []fault{
		{name: "crc", want: check.RecordInvalid, raw: func(v *vol) { v.spoil(v.inoOf("a", "b", "none")) }},
		{name: "nanoseconds", want: check.RecordInvalid, model: tweak(func(in *ondisk.Inode) { in.Mtime.Nsec = 2e9 }, "a", "b", "none")},
		{name: "root is a file", want: check.RecordInvalid, also: []check.Code{check.DirLost}, model: func(v *vol) {
			v.tweaks[ondisk.RootBlock] = func(in *ondisk.Inode) { in.Mode = 0o100644 }
		}},
		{name: "none", want: check.ModeInvalid, model: func(v *vol) {
			e := v.inodes[v.inoOf("a")].entries["fifo"]
			e.Type = 0
			v.inodes[v.inoOf("a")].entries["fifo"] = e
			v.tweaks[e.Ino] = func(in *ondisk.Inode) { in.Mode = 0o644 }
		}},
		{name: "one", want: check.FlagsUnknown, model: tweak(func(in *ondisk.Inode) { in.Flags |= 1 << 7 }, "a", "one")},
		{name: "content in a fifo", want: check.BodyMismatch, model: tweak(func(in *ondisk.Inode) {
			in.Body, in.Resident, in.Size = ondisk.BodyResident, []byte("x"), 1
		}, "a", "fifo")},
		{name: "directory without index", want: check.BodyMismatch, model: tweak(func(in *ondisk.Inode) { in.Body = ondisk.BodyNone }, "a", "b", "empty dir")},
		{name: "less", want: check.ClustersWrong, model: tweak(func(in *ondisk.Inode) { in.Clusters-- }, "a", "tree")},
		{name: "of a resident file", want: check.ClustersWrong, model: tweak(func(in *ondisk.Inode) { in.Clusters = 1 }, "a", "b", "tiny")},
		{name: "file", want: check.MetaWrong, model: tweak(func(in *ondisk.Inode) { in.Meta++ }, "a", "deep")},
		{name: "directory", want: check.MetaWrong, model: tweak(func(in *ondisk.Inode) { in.Meta++ }, "big")},
		{name: "resident", want: check.MetaWrong, model: tweak(func(in *ondisk.Inode) { in.Meta++ }, "a", "b", "tiny")},
		{name: "system record", want: check.MetaWrong, model: func(v *vol) {
			v.tweaks[v.sb.FreeLogBlock(0)] = func(in *ondisk.Inode) { in.Meta = 0 }
		}},
		{name: "fallocated", want: check.BeyondEOF, model: func(v *vol) {}},
		{name: "empty", want: check.SymlinkSize, model: tweak(func(in *ondisk.Inode) { in.Resident, in.Size = nil, 0 }, "a", "short link")},
		{name: "too long", want: check.SymlinkSize, model: tweak(func(in *ondisk.Inode) { in.Size = 4096 }, "a", "long link")},
		{name: "twice", want: check.XattrInvalid, model: tweak(func(in *ondisk.Inode) { in.Xattrs = append(in.Xattrs, in.Xattrs[0]) }, "a", "b", "tiny")},
		{name: "too large", want: check.XattrInvalid, model: tweak(func(in *ondisk.Inode) { in.Xattrs[0].Value = make([]byte, 800) }, "a", "b", "tiny")},
		{name: "more", want: check.NlinkFile, model: tweak(func(in *ondisk.Inode) { in.Nlink = 2 }, "a", "one")},
		{name: "zero", want: check.NlinkFile, model: tweak(func(in *ondisk.Inode) { in.Nlink = 0 }, "a", "one")},
		{name: "less than names", want: check.NlinkFile, also: []check.Code{check.NamesDisagree}, model: tweak(func(in *ondisk.Inode) {
			in.Nlink, in.Names = 1, in.Names[:1]
		}, "a", "two names")},
		{name: "less than many names", want: check.NlinkFile, model: tweak(func(in *ondisk.Inode) { in.Nlink = 4 }, "a", "name 0")},
		{name: "a", want: check.NlinkDir, model: tweak(func(in *ondisk.Inode) { in.Nlink++ }, "a")},
		{name: "root", want: check.NlinkDir, model: func(v *vol) { v.inodes[ondisk.RootBlock].in.Nlink-- }},
		{name: "other name", want: check.NamesDisagree, model: tweak(func(in *ondisk.Inode) { in.Names[0].Name = "old" }, "a", "one")},
		{name: "other directory", want: check.NamesDisagree, model: tweak(func(in *ondisk.Inode) { in.Names[1].Parent++ }, "a", "two names")},
		{name: "none", want: check.NamesDisagree, model: tweak(func(in *ondisk.Inode) { in.Names = nil }, "a", "one")},
		{name: "with extents", want: check.FileLost, model: func(v *vol) { delete(v.inodes[v.inoOf("a")].entries, "deep") }},
		{name: "with extents", want: check.RecordLeak, model: func(v *vol) { v.fill(v.inode(0o100644), 30, 1, 2) }},
		{name: "directory", want: check.RecordLeak, model: func(v *vol) { v.inode(0o040755).in.Nlink = 0 }},
		{name: "with all below", want: check.DirLost, model: func(v *vol) {
			delete(v.inodes[ondisk.RootBlock].entries, "a")
			v.inodes[ondisk.RootBlock].in.Nlink--
		}},
		{name: "in a circle", want: check.DirLost, model: func(v *vol) {
			a, b := v.inodes[v.inoOf("a")], v.inodes[v.inoOf("a", "b")]
			delete(v.inodes[ondisk.RootBlock].entries, "a")
			v.inodes[ondisk.RootBlock].in.Nlink--
			b.entries["up"] = ondisk.Dirent{Ino: a.in.Ino, Type: 4, Name: "up"}
			b.in.Nlink++
			a.in.Names = []ondisk.KeptName{{Parent: b.in.Ino, Name: "up"}}
		}, also: []check.Code{check.DirTwice, check.NlinkDir}},
	}
}

// hang puts a slot behind all others of an inner root; what it leads to is made by child.
func hang(child func(v *vol, in *ondisk.Inode) uint64, names ...string) func(v *vol) {
	return func(v *vol) {
		v.tweaks[v.inoOf(names...)] = func(in *ondisk.Inode) {
			blk := child(v, in)
			in.Root.Insert(in.Root.Count(), math.MaxUint64, binary.LittleEndian.AppendUint64(nil, blk))
		}
	}
}

func treeFaults() []fault {
	leaf := func(i int, names ...string) func(v *vol) uint64 {
		return func(v *vol) uint64 { return v.nodes[v.inoOf(names...)][i] }
	}
	second := leaf(1, "a", "deep")
	body := func(b []byte) ondisk.Node { return ondisk.Node(b[ondisk.NodeBody:]) }
	extra := func(key uint64, val []byte) func(v *vol) {
		return func(v *vol) {
			n := v.inodes[v.inoOf("a", "tree")]
			n.slots = append(n.slots, kv{key, val})
		}
	}
	return []fault{
		{name: "crc", want: check.NodeInvalid, also: []check.Code{check.ClusterLeak}, raw: func(v *vol) { v.spoil(second(v)) }},
		{name: "shape", want: check.NodeInvalid, also: []check.Code{check.ClusterLeak}, raw: func(v *vol) {
			v.edit(second(v), func(b []byte) { body(b).SetKey(0, math.MaxUint64) })
		}},
		{name: "of a directory", want: check.NodeInvalid, also: []check.Code{check.FileLost}, raw: func(v *vol) { v.spoil(leaf(3, "big")(v)) }},
		{name: "owner", want: check.NodeOwner, raw: func(v *vol) { v.edit(second(v), add32(32, 1)) }},
		{name: "generation", want: check.NodeOwner, raw: func(v *vol) { v.edit(second(v), add32(40, 1)) }},
		{name: "root too high", want: check.NodeLevel, model: tweak(func(in *ondisk.Inode) { binary.LittleEndian.PutUint16(in.Root, 3) }, "a", "deep")},
		{name: "root too low", want: check.NodeLevel, also: []check.Code{check.ClusterLeak},
			model: tweak(func(in *ondisk.Inode) { binary.LittleEndian.PutUint16(in.Root, 1) }, "a", "deep")},
		{name: "below", want: check.NodeRange, raw: func(v *vol) {
			v.edit(second(v), func(b []byte) { body(b).SetKey(0, body(b).Key(0)-1) })
		}},
		{name: "above", want: check.NodeRange, raw: func(v *vol) {
			v.edit(second(v), func(b []byte) { n := body(b); n.SetKey(n.Count()-1, n.Key(n.Count()-1)+3) })
		}, also: []check.Code{check.ExtentOverlap}},
		{name: "leaf", want: check.NodeEmpty, model: hang(func(v *vol, in *ondisk.Inode) uint64 {
			blk := v.block()
			b := ondisk.NewBlock(ondisk.TypeNode, blk, v.sb.UUID, in.Ino, in.Generation)
			ondisk.InitNode(b[ondisk.NodeBody:], in.Root.Level()-1)
			v.stamp(b)
			v.put(blk, b)
			in.Meta++
			return blk
		}, "a", "tree")},
		{name: "journal", want: check.NodePlace, model: hang(func(v *vol, _ *ondisk.Inode) uint64 { return v.sb.JournalStart(0) }, "a", "deep")},
		{name: "group header", want: check.NodePlace, model: hang(func(v *vol, _ *ondisk.Inode) uint64 { return v.sb.GroupFirst(2) }, "big")},
		{name: "beyond the volume", want: check.NodePlace, model: hang(func(v *vol, _ *ondisk.Inode) uint64 { return math.MaxUint64 }, "a", "tree")},
		{name: "size", want: check.ExtentInvalid, model: extra(1000, []byte{1})},
		{name: "shared", want: check.ExtentInvalid, model: func(v *vol) {
			extra(1000, ondisk.EncodeExtent(ondisk.Extent{Physical: v.sb.GroupFirst(3) + 900, Length: 1, Flags: ondisk.ExtentShared}))(v)
		}},
		{name: "logical", want: check.ExtentOverlap, model: func(v *vol) {
			n := v.inodes[v.inoOf("a", "one")]
			n.extents = append(n.extents, ondisk.Extent{Logical: 4, Physical: v.clusters(2, 3), Length: 3})
		}},
		{name: "group header", want: check.ExtentPlace, model: func(v *vol) {
			extra(1000, ondisk.EncodeExtent(ondisk.Extent{Physical: v.sb.GroupFirst(3), Length: 1}))(v)
		}},
		{name: "over the end of a group", want: check.ExtentPlace, model: func(v *vol) {
			extra(1000, ondisk.EncodeExtent(ondisk.Extent{Physical: v.sb.GroupFirst(3) - 5, Length: 50}))(v)
		}},
	}
}
