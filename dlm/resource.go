package dlm

import (
	"cmp"
	"strconv"

	"github.com/covol/covol/dlm/wire"
)

// Kind says what a resource protects.
type Kind uint8

// The kinds of resources. Their numbers are part of the protocol.
const (
	Inode  Kind = 1 + iota // a file record and its data
	Open                   // the count of those who have a file open
	Group                  // an allocation group
	Slot                   // a node's slot and journal
	Volume                 // the volume as a whole
	Rename                 // renames of directories, volume-wide
	VM                     // a virtual machine
)

var kindNames = [...]string{Inode: "inode", Open: "open", Group: "group", Slot: "slot", Volume: "volume", Rename: "rename", VM: "vm"}

// String is the lower-case name.
func (k Kind) String() string {
	if k > 0 && int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "kind" + strconv.Itoa(int(k))
}

// Resource is the name of a thing that is locked. It is comparable and means the same on every node.
type Resource struct {
	Kind Kind
	ID   uint64
}

// String is like "inode/4711".
func (r Resource) String() string { return r.Kind.String() + "/" + strconv.FormatUint(r.ID, 10) }

func compareResources(a, b Resource) int {
	if c := cmp.Compare(a.Kind, b.Kind); c != 0 {
		return c
	}
	return cmp.Compare(a.ID, b.ID)
}

func (r Resource) wire() wire.Resource { return wire.Resource{Kind: uint8(r.Kind), ID: r.ID} }

func fromWire(r wire.Resource) Resource { return Resource{Kind: Kind(r.Kind), ID: r.ID} }
