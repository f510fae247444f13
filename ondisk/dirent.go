package ondisk

import (
	"encoding/binary"

	"github.com/dchest/siphash"
)

// MaxName is the longest name of a directory entry in bytes.
const MaxName = 255

const direntHead = 10

// Dirent is one name of a directory. Type is the high four bits of the mode (DT_REG and so on), for readdir.
type Dirent struct {
	Ino  uint64
	Type uint8
	Name string
}

// HashName is the key under which a directory keeps a name: SipHash-2-4 under the seed of the volume, without its top
// bit (offsets of readdir are signed), and at least 16, so that small offsets are free for "." and "..".
func (s *Super) HashName(name string) uint64 {
	le := binary.LittleEndian
	h := siphash.Hash(le.Uint64(s.HashSeed[0:]), le.Uint64(s.HashSeed[8:]), []byte(name)) &^ (1 << 63)
	return max(h, 16)
}

// EncodeDirents makes the value of one key: all names with that hash, in ascending order of names.
//
//	le64 ino, u8 type, u8 length, name; repeated
func EncodeDirents(ds []Dirent) []byte {
	var v []byte
	for _, d := range ds {
		v = binary.LittleEndian.AppendUint64(v, d.Ino)
		v = append(v, d.Type, uint8(len(d.Name)))
		v = append(v, d.Name...)
	}
	return v
}

// DecodeDirents reads the value of one key of the directory whose tree node lies in block blk.
func DecodeDirents(blk uint64, v []byte) ([]Dirent, error) {
	bad := func(field string, got any) ([]Dirent, error) {
		return nil, &Corrupt{Struct: "directory entry", Block: blk, Field: field, Got: got}
	}
	var ds []Dirent
	for len(v) > 0 {
		if len(v) < direntHead {
			return bad("size", len(v))
		}
		n := int(v[9])
		if n == 0 || len(v) < direntHead+n {
			return bad("length of name", n)
		}
		d := Dirent{Ino: binary.LittleEndian.Uint64(v), Type: v[8], Name: string(v[direntHead : direntHead+n])}
		if !ValidName(d.Name) {
			return bad("name", d.Name)
		}
		if len(ds) > 0 && ds[len(ds)-1].Name >= d.Name {
			return bad("order of names", d.Name)
		}
		ds = append(ds, d)
		v = v[direntHead+n:]
	}
	if len(ds) == 0 {
		return bad("size", 0)
	}
	return ds, nil
}

// ValidName reports whether name can be a name in a directory: 1 to 255 bytes, no '/', no NUL, not "." or "..".
func ValidName(name string) bool {
	if len(name) == 0 || len(name) > MaxName || name == "." || name == ".." {
		return false
	}
	for i := range len(name) {
		if name[i] == '/' || name[i] == 0 {
			return false
		}
	}
	return true
}
