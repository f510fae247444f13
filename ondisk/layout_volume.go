package ondisk

import "github.com/covol/covol/ondisk/layout"

// Layouts are the tables of every structure of the format, in the order of FORMAT.md. Codecs are held to them by
// tests; the dumper walks them. They must not be changed.
var Layouts = layout.Set{
	layoutHeader, layoutSuper, layoutGrow, layoutMember, layoutHolder, layoutView,
	layoutBallot, layoutSlot, layoutSpace, layoutGroup, layoutBitmap,
	layoutTime, layoutInode, layoutAttribute, layoutAttrName, layoutAttrXattr,
	layoutAttrResident, layoutNodeArea, layoutNodeSlot, layoutNodeBlock, layoutExtentValue,
	layoutDirentValue, layoutOrphanValue, layoutFreeValue, layoutJournalHeadBlock, layoutJournalDescBlock,
	layoutJournalCommitBlock,
}

func field(name string, off, size int, typ, doc string) layout.Field {
	return layout.Field{Name: name, Off: off, Size: size, Type: typ, Doc: doc}
}

// Layouts of the fixed blocks and of the groups.
var (
	layoutHeader = layout.Layout{Name: "header", Size: 80, Fields: []layout.Field{
		field("magic", 0, 4, "le32", "0x6c766f63, \"covl\""),
		field("type", 4, 2, "le16", "1 super, 2 grow, 3 view, 4 ballot, 5 slot, 6 space, 7 group, 8 bitmap, 9 inode, 10 node, 11 journal head, 12 journal descriptor, 13 journal commit"),
		field("version", 6, 2, "le16", "format version, 1"),
		field("block", 8, 8, "le64", "number of the home of the block"),
		field("uuid", 16, 16, "bytes[16]", "of the volume"),
		field("owner", 32, 8, "le64", "inode number, group index or slot that the block belongs to"),
		field("generation", 40, 8, "le64", "of the owner; tells lives of an inode number apart"),
		field("lsn", 48, 8, "le64", "Lamport stamp of the transaction that wrote the block"),
		field("epoch", 56, 8, "le64", "view in which it was written"),
		field("slot", 64, 2, "le16", "node that wrote it"),
		field("zero", 66, 2, "zero[2]", "unused"),
		field("incarnation", 68, 4, "le32", "life of that node"),
		field("crc", 72, 4, "le32", "CRC32C over the block with this field zero"),
		field("zero", 76, 4, "zero[4]", "unused"),
	}}
	layoutSuper = layout.Layout{Name: "super", Size: BlockSize, Fields: []layout.Field{
		field("header", 0, 80, "header", "of every metadata block"),
		field("label", 80, 64, "text[64]", "UTF-8"),
		field("created", 144, 8, "s64", "seconds since 1970"),
		field("blocks", 152, 8, "le64", "size of the volume in blocks"),
		field("cluster size", 160, 4, "le32", "bytes; a power of two, 4 KiB to 1 MiB"),
		field("slots", 164, 4, "le32", "nodes at a time, 1 to 255"),
		field("journal blocks", 168, 4, "le32", "per slot, both heads included"),
		field("group blocks", 172, 4, "le32", "of every group but the last"),
		field("groups", 176, 4, "le32", "number of groups"),
		field("zero", 180, 4, "zero[4]", "unused"),
		field("group start", 184, 8, "le64", "first block of group 0; a multiple of the cluster"),
		field("free clusters", 192, 8, "le64", "free data clusters when the volume was made, as if all groups were formatted"),
		field("profile name", 200, 16, "text[16]", "name of the timing profile"),
		field("profile heartbeat", 216, 4, "le32", "ms between renewals"),
		field("profile lease", 220, 4, "le32", "ms from the start of its last renewal in which a node may write"),
		field("profile io bound", 224, 4, "le32", "ms that one device I/O may take"),
		field("profile guard", 228, 4, "le32", "ms of margin"),
		field("hash seed", 232, 16, "bytes[16]", "SipHash key of the hash of names"),
		field("compat", 248, 8, "le64", "features that an old build may ignore"),
		field("ro compat", 256, 8, "le64", "features that an old build may only read past"),
		field("incompat", 264, 8, "le64", "features that an old build must refuse; bit 0 is reserved for shared extents"),
		field("zero", 272, 3824, "zero[3824]", "unused"),
	}}
	layoutGrow = layout.Layout{Name: "grow", Size: BlockSize, Fields: []layout.Field{
		field("header", 0, 80, "header", "of every metadata block"),
		field("ready", 80, 4, "le32", "groups 0 to ready-1 have been formatted"),
		field("zero", 84, 4012, "zero[4012]", "unused"),
	}}
	layoutMember = layout.Layout{Name: "member", Size: 8, Fields: []layout.Field{
		field("member", 0, 4, "le32", "incarnation of the slot that is in the view, 0 if it is not"),
		field("recovering", 4, 4, "le32", "incarnation whose journal must be replayed, 0 if none"),
	}}
	layoutHolder = layout.Layout{Name: "holder", Size: 6, Fields: []layout.Field{
		field("incarnation", 0, 4, "le32", "latest life of the slot that a vote has spoken of, 0 for none"),
		field("state", 4, 2, "le16", "0 over, 1 owns the slot, 2 doomed, 3 dead, 4+k dead and its journal is brought home by the member in slot k"),
	}}
	layoutView = layout.Layout{Name: "view", Size: BlockSize, Fields: []layout.Field{
		field("header", 0, 80, "header", "of every metadata block"),
		field("epoch", 80, 8, "le64", "number of the view"),
		field("writer", 88, 8, "le64", "random for each write"),
		field("members", 96, 2040, "member[255]", "per slot; only the first Super.slots count"),
		field("holders", 2136, 1530, "holder[255]", "per slot; all zero where views are swapped"),
		field("zero", 3666, 430, "zero[430]", "unused"),
	}}
	layoutBallot = layout.Layout{Name: "ballot", Size: BlockSize, Fields: []layout.Field{
		field("header", 0, 80, "header", "of every metadata block"),
		field("slot", 80, 2, "le16", "own slot"),
		field("value", 82, 2, "le16", "what the view in it is: 0 nothing, 1 the decided view of epoch-1, 2 proposed in bal, 3 the decided view of epoch"),
		field("incarnation", 84, 4, "le32", "life of the owner that wrote it"),
		field("epoch", 88, 8, "le64", "of the view that the vote decides; 0: no vote"),
		field("mbal", 96, 8, "le64", "highest ballot begun by the owner"),
		field("bal", 104, 8, "le64", "highest ballot in which it proposed; 0: nothing proposed"),
		field("writer", 112, 8, "le64", "of the view"),
		field("members", 120, 2040, "member[255]", "of the view; only the first Super.slots count"),
		field("holders", 2160, 1530, "holder[255]", "of the view"),
		field("zero", 3690, 406, "zero[406]", "unused"),
	}}
	layoutSlot = layout.Layout{Name: "slot", Size: BlockSize, Fields: []layout.Field{
		field("header", 0, 80, "header", "of every metadata block"),
		field("index", 80, 2, "le16", "own slot"),
		field("arbitration", 82, 2, "le16", "how the owner agrees on views: 0 compare-and-swap, 1 votes"),
		field("state", 84, 4, "le32", "0 free, 1 joining, 2 active, 3 leaving"),
		field("incarnation", 88, 4, "le32", "grows with every claim"),
		field("pid", 92, 4, "le32", "process of the owner on its host"),
		field("seq", 96, 8, "le64", "grows with every renewal"),
		field("epoch", 104, 8, "le64", "of the view that the owner has installed"),
		field("name", 112, 64, "text[64]", "name of the node"),
		field("addr", 176, 64, "text[64]", "host:port of its lock manager"),
		field("boot", 240, 16, "bytes[16]", "boot id of its host"),
		field("host", 256, 16, "bytes[16]", "machine id of its host"),
		field("profile", 272, 16, "le32[4]", "ms: heartbeat, lease, io bound, guard as the owner uses them"),
		field("writer", 288, 8, "le64", "random for each write"),
		field("hears", 296, 32, "bytes[32]", "bit i of byte i/8: the owner has heard the node in slot i lately; bit 255: it publishes this"),
		field("zero", 328, 3768, "zero[3768]", "unused"),
	}}
	layoutSpace = layout.Layout{Name: "space", Size: BlockSize, Fields: []layout.Field{
		field("header", 0, 80, "header", "of every metadata block"),
		field("clusters", 80, 8, "s64", "given back minus taken by the slot since the volume was made"),
		field("inodes", 88, 8, "s64", "made minus deleted by the slot"),
		field("zero", 96, 4000, "zero[4000]", "unused"),
	}}
	layoutGroup = layout.Layout{Name: "group", Size: BlockSize, Fields: []layout.Field{
		field("header", 0, 80, "header", "of every metadata block"),
		field("index", 80, 4, "le32", "number of the group"),
		field("clusters", 84, 4, "le32", "in the group, those of its own metadata included"),
		field("free clusters", 88, 4, "le32", "clear bits of the bitmap of clusters"),
		field("free meta", 92, 4, "le32", "clear bits of the bitmap of metadata blocks"),
		field("zero", 96, 4000, "zero[4000]", "unused"),
	}}
	layoutBitmap = layout.Layout{Name: "bitmap", Size: BlockSize, Fields: []layout.Field{
		field("header", 0, 80, "header", "of every metadata block"),
		field("kind", 80, 4, "le32", "1 clusters, 2 metadata blocks"),
		field("index", 84, 4, "le32", "which block of that bitmap"),
		field("zero", 88, 8, "zero[8]", "unused"),
		field("bits", 96, 4000, "bits[4000]", "bit i is bit i%8 of byte i/8; bits beyond the end of the group are set"),
	}}
)
