package ondisk

import (
	"encoding/binary"
	"time"
)

// Time is a point of calendar time.
type Time struct {
	Sec  int64 // since 1970
	Nsec uint32
}

// TimeOf is the Time of t.
func TimeOf(t time.Time) Time { return Time{t.Unix(), uint32(t.Nanosecond())} }

// Time is the time.Time of t.
func (t Time) Time() time.Time { return time.Unix(t.Sec, int64(t.Nsec)) }

// Body says what a record holds behind its standard information.
type Body uint16

// Bodies of a record.
const (
	BodyNone     Body = 0
	BodyResident Body = 1 // content of a tiny file, or target of a symbolic link
	BodyExtents  Body = 2 // root of the tree of extents
	BodyIndex    Body = 3 // root of the tree of names, of orphans or of deferred frees
)

// Flags of an inode.
const (
	// InodeMoreNames: the inode has more names than its record keeps.
	InodeMoreNames uint32 = 1 << 0
	// InodeSystem: a record of the format itself, without a name.
	InodeSystem uint32 = 1 << 1
)

const (
	attrStart = 200 // first attribute in a record
	attrHead  = 8
	// AttrSpace is how many bytes the attributes of a record may take, each with its head, padded to 8 bytes.
	AttrSpace = BlockSize - attrStart
	// MaxResident is the largest resident content in bytes.
	MaxResident = 2048
	// MaxKeptNames is how many names with their parents a record keeps.
	MaxKeptNames = 3
	// MaxXattrBytes is the room for extended attributes inside a record, heads included.
	MaxXattrBytes = 720
)

// Types of attributes.
const (
	attrEnd      uint16 = 0
	attrName     uint16 = 1
	attrXattr    uint16 = 2
	attrResident uint16 = 3
	attrExtents  uint16 = 4
	attrIndex    uint16 = 5
)

// KeptName is a name of the inode with the directory that holds it, so that a lost directory can be rebuilt.
type KeptName struct {
	Parent uint64
	Name   string
}

// Xattr is an extended attribute.
type Xattr struct {
	Name  string
	Value []byte
}

// Inode is the record of a file: one block that holds typed attributes. The number of an inode is the number of the
// block of its record; Generation tells lives of one number apart.
type Inode struct {
	Ino                        uint64
	Generation                 uint64
	Mode                       uint32 // type and permissions as in stat(2)
	UID, GID                   uint32
	Nlink                      uint32
	Flags                      uint32
	Rdev                       uint32
	Size                       uint64 // bytes
	Clusters                   uint64 // allocated to its data
	Meta                       uint64 // blocks of its tree besides the record
	Change                     uint64 // grows with every change
	Atime, Mtime, Ctime, Btime Time
	Names                      []KeptName
	Xattrs                     []Xattr
	Body                       Body
	Resident                   []byte // BodyResident
	Root                       Node   // BodyExtents, BodyIndex
}

// pad8 is n rounded up to a multiple of 8.
func pad8(n int) int { return (n + 7) &^ 7 }

// AttrRoom is how many bytes the record has left for its body, head not included, given its names and extended
// attributes. What the body takes now counts as free.
func (in *Inode) AttrRoom() int {
	n := AttrSpace - attrHead - attrHead // head of the body, end mark
	for _, k := range in.Names {
		n -= attrHead + pad8(8+len(k.Name))
	}
	for _, x := range in.Xattrs {
		n -= attrHead + pad8(2+len(x.Name)+len(x.Value))
	}
	return n &^ 7
}

// Fits reports whether the record can hold the inode.
func (in *Inode) Fits() bool {
	l := len(in.Resident)
	if in.Body == BodyExtents || in.Body == BodyIndex {
		l = len(in.Root)
	}
	return pad8(l) <= in.AttrRoom()
}

// EncodeInode makes the record of in, which must fit. It is not stamped.
func EncodeInode(uuid UUID, in *Inode) []byte {
	b := NewBlock(TypeInode, in.Ino, uuid, in.Ino, in.Generation)
	le := binary.LittleEndian
	p := b[HeaderSize:]
	le.PutUint32(p[0:], in.Mode)
	le.PutUint32(p[4:], in.UID)
	le.PutUint32(p[8:], in.GID)
	le.PutUint32(p[12:], in.Nlink)
	le.PutUint32(p[16:], in.Flags)
	le.PutUint32(p[20:], in.Rdev)
	le.PutUint64(p[24:], in.Size)
	le.PutUint64(p[32:], in.Clusters)
	le.PutUint64(p[40:], in.Meta)
	le.PutUint64(p[48:], in.Change)
	for i, t := range []Time{in.Atime, in.Mtime, in.Ctime, in.Btime} {
		le.PutUint64(p[56+16*i:], uint64(t.Sec))
		le.PutUint32(p[64+16*i:], t.Nsec)
	}
	at := attrStart
	put := func(typ uint16, parts ...[]byte) {
		l := 0
		for _, q := range parts {
			copy(b[at+attrHead+l:], q)
			l += len(q)
		}
		le.PutUint16(b[at:], typ)
		le.PutUint16(b[at+2:], uint16(l))
		at += attrHead + pad8(l)
	}
	var num [8]byte
	for _, k := range in.Names {
		le.PutUint64(num[:], k.Parent)
		put(attrName, num[:], []byte(k.Name))
	}
	for _, x := range in.Xattrs {
		le.PutUint16(num[:], uint16(len(x.Name)))
		put(attrXattr, num[:2], []byte(x.Name), x.Value)
	}
	switch in.Body {
	case BodyResident:
		put(attrResident, in.Resident)
	case BodyExtents:
		put(attrExtents, in.Root)
	case BodyIndex:
		put(attrIndex, in.Root)
	}
	return b
}

// DecodeInode reads a record, which must have been checked by CheckHeader. The parts of the result share memory with b.
func DecodeInode(b []byte) (*Inode, error) {
	h := GetHeader(b)
	bad := func(field string, got any) (*Inode, error) {
		return nil, &Corrupt{Struct: "inode", Block: h.Block, Field: field, Got: got}
	}
	le := binary.LittleEndian
	p := b[HeaderSize:]
	in := &Inode{Ino: h.Block, Generation: h.Generation, Mode: le.Uint32(p[0:]), UID: le.Uint32(p[4:]), GID: le.Uint32(p[8:]),
		Nlink: le.Uint32(p[12:]), Flags: le.Uint32(p[16:]), Rdev: le.Uint32(p[20:]), Size: le.Uint64(p[24:]),
		Clusters: le.Uint64(p[32:]), Meta: le.Uint64(p[40:]), Change: le.Uint64(p[48:])}
	for i, t := range []*Time{&in.Atime, &in.Mtime, &in.Ctime, &in.Btime} {
		*t = Time{int64(le.Uint64(p[56+16*i:])), le.Uint32(p[64+16*i:])}
		if t.Nsec >= 1e9 {
			return bad("nanoseconds", t.Nsec)
		}
	}
	switch {
	case h.Owner != in.Ino:
		return bad("owner", h.Owner)
	case in.Size > MaxFileSize:
		return bad("size", in.Size)
	}
	at := attrStart
	for {
		if at+attrHead > BlockSize {
			return bad("end of attributes", at)
		}
		typ, l := le.Uint16(b[at:]), int(le.Uint16(b[at+2:]))
		if typ == attrEnd {
			return in, nil
		}
		if at+attrHead+pad8(l) > BlockSize {
			return bad("length of attribute", l)
		}
		v := b[at+attrHead : at+attrHead+l : at+attrHead+l]
		if err := in.decodeAttr(typ, v); err != nil {
			return nil, err
		}
		at += attrHead + pad8(l)
	}
}

func (in *Inode) decodeAttr(typ uint16, v []byte) error {
	bad := func(field string, got any) error {
		return &Corrupt{Struct: "inode", Block: in.Ino, Field: field, Got: got}
	}
	if typ >= attrResident && in.Body != BodyNone {
		return bad("second body", typ)
	}
	switch typ {
	case attrName:
		if len(v) < 8 || !ValidName(string(v[8:])) || len(in.Names) == MaxKeptNames {
			return bad("kept name", v)
		}
		in.Names = append(in.Names, KeptName{binary.LittleEndian.Uint64(v), string(v[8:])})
	case attrXattr:
		if len(v) < 2 || int(binary.LittleEndian.Uint16(v))+2 > len(v) || binary.LittleEndian.Uint16(v) == 0 {
			return bad("extended attribute", len(v))
		}
		n := int(binary.LittleEndian.Uint16(v))
		in.Xattrs = append(in.Xattrs, Xattr{string(v[2 : 2+n]), v[2+n:]})
	case attrResident:
		if len(v) > MaxResident || uint64(len(v)) != in.Size {
			return bad("resident size", len(v))
		}
		in.Body, in.Resident = BodyResident, v
	case attrExtents, attrIndex:
		in.Body = BodyExtents
		if typ == attrIndex {
			in.Body = BodyIndex
		}
		if len(v) < MinNodeSize {
			return bad("size of root", len(v))
		}
		in.Root = v
		return in.Root.Check(in.Ino)
	default:
		return bad("attribute", typ)
	}
	return nil
}
