package check

import (
	"fmt"
	"strings"
)

// Severity says how much a finding matters.
type Severity uint8

// Severities. Only warnings and errors make a volume unclean.
const (
	Info    Severity = iota // worth knowing, and legal
	Warning                 // redundant information is wrong; no file is affected
	Error                   // the volume is inconsistent
)

var severityNames = [...]string{"info", "warning", "error"}

// String is "info", "warning" or "error".
func (s Severity) String() string { return severityNames[min(int(s), len(severityNames)-1)] }

// MarshalText makes the name the form in JSON.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the name.
func (s *Severity) UnmarshalText(t []byte) error {
	for i, n := range severityNames {
		if n == string(t) {
			*s = Severity(i)
			return nil
		}
	}
	return fmt.Errorf("unknown severity %q", t)
}

// Code names a kind of finding. Codes are stable: never renumbered, never reused.
type Code string

// Codes of findings, see CODES.md.
const (
	SuperInvalid     Code = "F101"
	SuperCopyInvalid Code = "F102"
	SuperCopyDiffers Code = "F103"
	GrowInvalid      Code = "F110"
	ViewInvalid      Code = "F120"
	SlotInvalid      Code = "F121"
	BallotInvalid    Code = "F122"
	MemberNoSlot     Code = "F123"
	SlotAhead        Code = "F124"
	SpaceInvalid     Code = "F130"

	JournalNoHead  Code = "F201"
	JournalHead    Code = "F202"
	JournalDamaged Code = "F203"
	JournalDirty   Code = "F204"

	GroupInvalid    Code = "F301"
	BitmapInvalid   Code = "F302"
	GroupFree       Code = "F303"
	GroupFreeMeta   Code = "F304"
	BeyondEnd       Code = "F305"
	OwnFree         Code = "F306"
	ClusterLeak     Code = "F307"
	ClusterFree     Code = "F308"
	MetaLeak        Code = "F309"
	MetaFree        Code = "F310"
	MetaOutside     Code = "F311"
	ClusterTwice    Code = "F312"
	MetaTwice       Code = "F313"
	DataAndMetadata Code = "F314"

	RecordInvalid Code = "F401"
	ModeInvalid   Code = "F402"
	FlagsUnknown  Code = "F403"
	BodyMismatch  Code = "F404"
	ClustersWrong Code = "F405"
	MetaWrong     Code = "F406"
	BeyondEOF     Code = "F407"
	SymlinkSize   Code = "F408"
	XattrInvalid  Code = "F409"
	NlinkFile     Code = "F410"
	NlinkDir      Code = "F411"
	NamesDisagree Code = "F412"
	FileLost      Code = "F413"
	RecordLeak    Code = "F414"
	DirLost       Code = "F415"

	NodeInvalid    Code = "F501"
	NodeOwner      Code = "F502"
	NodeLevel      Code = "F503"
	NodeRange      Code = "F504"
	NodeEmpty      Code = "F505"
	NodePlace      Code = "F506"
	ExtentInvalid  Code = "F507"
	ExtentOverlap  Code = "F508"
	ExtentPlace    Code = "F509"
	DirentInvalid  Code = "F601"
	DirentHash     Code = "F602"
	DirentDangling Code = "F603"
	DirentType     Code = "F604"
	DirentSystem   Code = "F605"
	DirTwice       Code = "F606"
	DirParent      Code = "F607"

	SystemInvalid  Code = "F701"
	OrphanInvalid  Code = "F702"
	OrphanMissing  Code = "F703"
	OrphanNlink    Code = "F704"
	OrphanNamed    Code = "F705"
	OrphanTwice    Code = "F706"
	OrphanNotEmpty Code = "F707"
	OrphanCut      Code = "F708"
	FreeInvalid    Code = "F711"

	FreeCount  Code = "F801"
	InodeCount Code = "F802"

	DataUnreadable Code = "F901"
	TooMany        Code = "F902"
)

// Kind is what is known of a code whatever the volume.
type Kind struct {
	Code     Code
	Severity Severity
	Title    string // what is wrong in general
	Fix      string // what a repair does
}

// Kinds lists all codes in ascending order.
var Kinds = []Kind{
	{SuperInvalid, Error, "the superblock is not valid; a copy was used", "write the superblock anew from the copy"},
	{SuperCopyInvalid, Error, "a copy of the superblock is not valid", "write the copy anew from the superblock"},
	{SuperCopyDiffers, Error, "a copy of the superblock says something else", "write the copy anew from the superblock"},
	{GrowInvalid, Error, "the grow block is not valid", "write it anew, counting the groups that have valid headers"},
	{ViewInvalid, Error, "the view block is not valid", "write an empty view with a higher epoch"},
	{SlotInvalid, Error, "a slot block is not valid", "write a free slot with an incarnation above those in the view and the journal"},
	{BallotInvalid, Warning, "a ballot block is not valid", "write an empty ballot"},
	{MemberNoSlot, Warning, "the view has a member whose slot is not in use", "take it out of the view, once its journal is replayed"},
	{SlotAhead, Info, "a slot has seen a later epoch than the view", "nothing; the next node to claim the slot puts it right"},
	{SpaceInvalid, Error, "a space block is not valid", "write it anew so that the sums of free space and inodes are right"},

	{JournalNoHead, Error, "a journal has no valid head", "write clean heads; what the journal held is lost"},
	{JournalHead, Info, "one of the two heads of a journal is not valid, as after a torn write", "nothing; the next write of a head replaces it"},
	{JournalDamaged, Error, "a journal is damaged in the middle", "replay the transactions before the damage, give up the rest and repair what that leaves"},
	{JournalDirty, Info, "a journal must be replayed", "replay it"},

	{GroupInvalid, Error, "the header of a group is not valid", "write it anew from the bitmaps"},
	{BitmapInvalid, Error, "a block of a bitmap is not valid", "write it anew from what is in use, after looking for records that lost their names"},
	{GroupFree, Error, "the counter of free clusters of a group is wrong", "set it to the clear bits of the bitmap"},
	{GroupFreeMeta, Error, "the counter of free metadata blocks of a group is wrong", "set it to the clear bits of the bitmap"},
	{BeyondEnd, Error, "bits beyond the end of a group are clear", "set them"},
	{OwnFree, Error, "header or bitmaps of a group are marked free", "set the bits"},
	{ClusterLeak, Error, "clusters are marked used and belong to nothing", "clear the bits"},
	{ClusterFree, Error, "clusters in use are marked free", "set the bits"},
	{MetaLeak, Error, "metadata blocks are marked used and belong to nothing", "clear the bits"},
	{MetaFree, Error, "metadata blocks in use are marked free", "set the bits"},
	{MetaOutside, Error, "metadata blocks are marked free outside metadata clusters", "set the bits"},
	{ClusterTwice, Error, "clusters have more than one owner", "keep them for the inode that was written last, copy them for the others; without room for a copy a file reads zeros"},
	{MetaTwice, Error, "a metadata block has more than one owner", "keep it for the owner in its header, cut it off the others"},
	{DataAndMetadata, Error, "clusters are used both as data and as metadata", "copy the data elsewhere, without what is metadata"},

	{RecordInvalid, Error, "the record of an inode is not valid", "turn one flipped bit back, or keep the attributes that can be read; else make a directory anew with what is found of its names, and remove the name of a file"},
	{ModeInvalid, Error, "the mode of an inode names no type of file", "set the type that its body has"},
	{FlagsUnknown, Error, "an inode has unknown flags", "clear them"},
	{BodyMismatch, Error, "the body of an inode does not fit its type", "set the type that its body has; remove an empty body"},
	{ClustersWrong, Error, "the counter of clusters of an inode is wrong", "set it to what its extents add up to"},
	{MetaWrong, Error, "the counter of tree blocks of an inode is wrong", "set it to what its tree has"},
	{BeyondEOF, Info, "a file has space behind its end", "nothing; reserved by fallocate"},
	{SymlinkSize, Error, "the target of a symbolic link is empty or too long", "remove the link"},
	{XattrInvalid, Error, "extended attributes of an inode are doubled or too large", "remove them"},
	{NlinkFile, Error, "the link count of a file is wrong", "give it names back that a damaged directory has lost; else set it to the names that lead to the file"},
	{NlinkDir, Error, "the link count of a directory is wrong", "set it to two more than it has directories inside"},
	{NamesDisagree, Warning, "the names that a record keeps are not those of the file", "keep the names that lead to the file"},
	{FileLost, Error, "a file has no name", "put it back into the directory that it remembers, else into lost+found"},
	{RecordLeak, Error, "a record without links is in no index of orphans", "delete it and give back what it holds; keep a directory with something in it"},
	{DirLost, Error, "a directory cannot be reached from the root", "put it back into the directory that it remembers, else into lost+found"},

	{NodeInvalid, Error, "a tree node is not valid", "turn one flipped bit back; else build the tree anew from all leaves that are found"},
	{NodeOwner, Error, "a tree node belongs to another inode or another life of it", "keep it if no other inode has it, else build the tree anew without it"},
	{NodeLevel, Error, "a tree node has the wrong level", "build the tree anew from its leaves"},
	{NodeRange, Error, "a tree node has keys outside its range", "build the tree anew from its leaves"},
	{NodeEmpty, Error, "a tree node is empty", "build the tree anew without it"},
	{NodePlace, Error, "a tree leads to a block that cannot hold a node", "build the tree anew from all leaves that are found"},
	{ExtentInvalid, Error, "an extent is not valid", "remove it; the file reads zeros there"},
	{ExtentOverlap, Error, "extents of a file overlap", "remove the part of the later one that overlaps"},
	{ExtentPlace, Error, "an extent lies outside the data of formatted groups", "remove it; the file reads zeros there"},
	{DirentInvalid, Error, "a directory entry is not valid", "keep what can be read of it"},
	{DirentHash, Error, "a directory entry lies under the wrong hash", "insert it anew under the right one"},
	{DirentDangling, Error, "a directory entry leads to no inode", "remove it; a directory of which others still speak is made anew"},
	{DirentType, Error, "a directory entry has the wrong type", "set the type that the inode has"},
	{DirentSystem, Error, "a directory entry leads to a record of the format itself", "remove it"},
	{DirTwice, Error, "a directory has more than one name", "remove all but the one that its record keeps"},
	{DirParent, Error, "a directory does not keep the name that leads to it", "keep that name"},

	{SystemInvalid, Error, "a system record is not valid", "write it anew with what is found of its entries; orphans that are not found are deleted"},
	{OrphanInvalid, Error, "an entry of the index of orphans is not valid", "remove it"},
	{OrphanMissing, Error, "the index of orphans names an inode that is not there", "remove the entry"},
	{OrphanNlink, Error, "an orphan has links", "set its link count to zero; one that keeps a name is given it back"},
	{OrphanNamed, Error, "an orphan has a name", "remove it from the index of orphans"},
	{OrphanTwice, Error, "an orphan is in two indexes", "remove one of the entries"},
	{OrphanNotEmpty, Error, "a directory without a name has entries", "give it a name in lost+found"},
	{OrphanCut, Info, "a file was being cut short: it may have space behind its end", "nothing; the next node in the slot gives it back"},
	{FreeInvalid, Error, "an entry of the index of deferred frees is not valid", "remove it"},

	{FreeCount, Error, "the count of free clusters of the volume is wrong", "correct the space block of the first slot"},
	{InodeCount, Error, "the count of inodes of the volume is wrong", "correct the space block of the first slot"},

	{DataUnreadable, Error, "data of a file cannot be read", "write zeros over the blocks that cannot be read"},
	{TooMany, Warning, "there were more findings than are kept", "repair and check again"},
}

var kinds = func() map[Code]*Kind {
	m := make(map[Code]*Kind, len(Kinds))
	for i := range Kinds {
		m[Kinds[i].Code] = &Kinds[i]
	}
	return m
}()

// Markdown is the table of codes as it stands in CODES.md.
func Markdown() string {
	var b strings.Builder
	b.WriteString("| code | severity | what is wrong | what a repair does |\n|---|---|---|---|\n")
	for _, k := range Kinds {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", k.Code, k.Severity, k.Title, k.Fix)
	}
	return b.String()
}
