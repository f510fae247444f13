package ondisk

import "github.com/covol/covol/ondisk/layout"

// Layouts of journals.
var (
	layoutJournalHeadBlock = layout.Layout{Name: "journal head", Size: BlockSize, Fields: []layout.Field{
		field("header", 0, 80, "header", "of every metadata block"),
		field("seq", 80, 8, "le64", "grows with every write of a head"),
		field("tail seq", 88, 8, "le64", "number of the first transaction that may have to be replayed"),
		field("tail", 96, 4, "le32", "its place: block of the ring, from 0"),
		field("clean", 100, 4, "le32", "1: nothing to replay"),
		field("zero", 104, 3992, "zero[3992]", "unused"),
	}}
	layoutJournalDescBlock = layout.Layout{Name: "journal descriptor", Size: BlockSize, Fields: []layout.Field{
		field("header", 0, 80, "header", "of every metadata block"),
		field("seq", 80, 8, "le64", "number of the transaction"),
		field("entries", 88, 4, "le32", "1 to 500"),
		field("zero", 92, 4, "zero[4]", "unused"),
		field("blocks", 96, 4000, "le64[entries]", "block number; bit 63: revoke, no content follows"),
	}}
	layoutJournalCommitBlock = layout.Layout{Name: "journal commit", Size: BlockSize, Fields: []layout.Field{
		field("header", 0, 80, "header", "of every metadata block"),
		field("seq", 80, 8, "le64", "number of the transaction"),
		field("blocks", 88, 4, "le32", "of the transaction before this one"),
		field("sum", 92, 4, "le32", "CRC32C over all of them"),
		field("zero", 96, 4000, "zero[4000]", "unused"),
	}}
)
