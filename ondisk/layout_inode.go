package ondisk

import "github.com/covol/covol/ondisk/layout"

// Layouts of records, trees and the values in trees.
var (
	layoutTime = layout.Layout{Name: "time", Size: 16, Fields: []layout.Field{
		field("sec", 0, 8, "s64", "seconds since 1970"),
		field("nsec", 8, 4, "le32", "nanoseconds, below 1000000000"),
		field("zero", 12, 4, "zero[4]", "unused"),
	}}
	layoutInode = layout.Layout{Name: "inode", Size: BlockSize, Fields: []layout.Field{
		field("header", 0, 80, "header", "of every metadata block"),
		field("mode", 80, 4, "le32", "type and permissions as in stat(2)"),
		field("uid", 84, 4, "le32", "owner"),
		field("gid", 88, 4, "le32", "group"),
		field("nlink", 92, 4, "le32", "names; of a directory 2 and one for each directory in it"),
		field("flags", 96, 4, "le32", "bit 0: has more names than it keeps; bit 1: record of the format itself"),
		field("rdev", 100, 4, "le32", "of a device file"),
		field("size", 104, 8, "le64", "bytes"),
		field("clusters", 112, 8, "le64", "allocated to its data"),
		field("meta", 120, 8, "le64", "blocks of its tree besides the record"),
		field("change", 128, 8, "le64", "grows with every change"),
		field("atime", 136, 16, "time", "last access"),
		field("mtime", 152, 16, "time", "last change of content"),
		field("ctime", 168, 16, "time", "last change of anything"),
		field("btime", 184, 16, "time", "birth"),
		field("attributes", 200, 3896, "attribute[]", "to the one of type 0"),
	}}
	layoutAttribute = layout.Layout{Name: "attribute",
		Align: 8, End: "type", Switch: "type", Cases: []layout.Case{{Value: 1, Layout: "attribute name"}, {Value: 2, Layout: "attribute xattr"}, {Value: 3, Layout: "attribute resident"}, {Value: 4, Layout: "node area"}, {Value: 5, Layout: "node area"}},
		Fields: []layout.Field{
			field("type", 0, 2, "le16", "0 end, 1 name, 2 xattr, 3 resident, 4 extents, 5 index"),
			field("length", 2, 2, "le16", "bytes of the body, padding not counted"),
			field("zero", 4, 4, "zero[4]", "unused"),
			field("body", 8, 0, "case[length]", "by type"),
		}}
	layoutAttrName = layout.Layout{Name: "attribute name", Fields: []layout.Field{
		field("parent", 0, 8, "le64", "inode number of the directory"),
		field("name", 8, 0, "text[]", "the name there"),
	}}
	layoutAttrXattr = layout.Layout{Name: "attribute xattr", Fields: []layout.Field{
		field("name length", 0, 2, "le16", "bytes, not 0"),
		field("name and value", 2, 0, "bytes[]", "name length bytes of name, the value behind it"),
	}}
	layoutAttrResident = layout.Layout{Name: "attribute resident", Fields: []layout.Field{
		field("content", 0, 0, "bytes[]", "of a tiny file, or target of a symbolic link; as long as size of the inode"),
	}}
	layoutNodeArea = layout.Layout{Name: "node area", Fields: []layout.Field{
		field("level", 0, 2, "le16", "0 for a leaf; values of other levels are le64 block numbers of children"),
		field("count", 2, 2, "le16", "of slots"),
		field("heap", 4, 4, "le32", "offset of the lowest value byte in the area"),
		field("live", 8, 4, "le32", "bytes of values in use"),
		field("zero", 12, 4, "zero[4]", "unused"),
		field("slots", 16, 0, "node slot[count]", "ascending keys; free space and values follow"),
	}}
	layoutNodeSlot = layout.Layout{Name: "node slot", Size: 12, Fields: []layout.Field{
		field("key", 0, 8, "le64", "logical cluster, hash of a name, inode number or first block"),
		field("offset", 8, 2, "le16", "of the value, from the start of the area"),
		field("length", 10, 2, "le16", "of the value in bytes"),
	}}
	layoutNodeBlock = layout.Layout{Name: "node", Size: BlockSize, Fields: []layout.Field{
		field("header", 0, 80, "header", "of every metadata block"),
		field("area", 80, 4016, "node area", "slots from the front, values from the back"),
	}}
	layoutExtentValue = layout.Layout{Name: "extent", Size: 16, Fields: []layout.Field{
		field("physical", 0, 8, "le64", "first cluster of the volume"),
		field("length", 8, 4, "le32", "clusters, not 0"),
		field("flags", 12, 4, "le32", "bit 0: unwritten, reads as zeros; bit 1: shared"),
	}}
	layoutDirentValue = layout.Layout{Name: "dirent", Fields: []layout.Field{
		field("ino", 0, 8, "le64", "inode number"),
		field("type", 8, 1, "u8", "the high four bits of the mode"),
		field("length", 9, 1, "u8", "of the name in bytes, not 0"),
		field("name", 10, 0, "text[length]", "without '/' and NUL, not . or .."),
	}}
	layoutOrphanValue = layout.Layout{Name: "orphan", Size: 8, Fields: []layout.Field{
		field("generation", 0, 8, "le64", "of the inode; its number is the key"),
	}}
	layoutFreeValue = layout.Layout{Name: "deferred free", Size: 8, Fields: []layout.Field{
		field("blocks", 0, 4, "le32", "not 0; the first one is the key"),
		field("kind", 4, 4, "le32", "1 data clusters, 2 metadata block"),
	}}
)
