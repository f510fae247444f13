package layout

import (
	"fmt"
	"strconv"
	"strings"
)

// Field is one field of a structure.
type Field struct {
	Name string // lower case words; "zero" for padding
	Off  int    // bytes from the start of the structure
	Size int    // bytes; 0: varies, only in the last field
	Type string // see the package comment
	Doc  string // meaning and unit, in one line without '|'
}

// Case says of which layout the bytes of type "case" are for one value of the switch field.
type Case struct {
	Value  uint64
	Layout string
}

// Layout is one structure.
type Layout struct {
	Name   string
	Size   int // bytes; 0: varies
	Align  int // 0 and 1: none
	End    string
	Switch string
	Cases  []Case
	Fields []Field
}

// Set holds layouts that may refer to each other, in the order of the document.
type Set []Layout

// Get returns the layout of that name.
func (s Set) Get(name string) (*Layout, bool) {
	for i := range s {
		if s[i].Name == name {
			return &s[i], true
		}
	}
	return nil, false
}

// Field returns the field of that name.
func (l *Layout) Field(name string) (*Field, bool) {
	for i := range l.Fields {
		if l.Fields[i].Name == name {
			return &l.Fields[i], true
		}
	}
	return nil, false
}

// scalars are the numbers, with their sizes in bytes.
var scalars = map[string]int{"u8": 1, "le16": 2, "le32": 4, "le64": 8, "s64": 8}

// raw are the types whose elements are bytes.
var raw = map[string]bool{"text": true, "bytes": true, "bits": true, "zero": true, "case": true}

// fieldType is a type taken apart. count is -1 unless it is a number.
type fieldType struct {
	base  string
	many  bool // there were brackets
	count int
	by    string // counting field, "" for a number or for "as many as there is room for"
}

func parseType(t string) (fieldType, error) {
	base, rest, many := strings.Cut(t, "[")
	if base == "" || many && !strings.HasSuffix(rest, "]") {
		return fieldType{}, fmt.Errorf("type %q: want base or base[count]", t)
	}
	ft := fieldType{base: base, many: many, count: 1}
	if !many {
		return ft, nil
	}
	n := strings.TrimSuffix(rest, "]")
	if c, err := strconv.Atoi(n); err == nil {
		if c <= 0 || c > 1<<20 {
			return fieldType{}, fmt.Errorf("type %q: bad count", t)
		}
		ft.count = c
		return ft, nil
	}
	ft.count, ft.by = -1, n
	return ft, nil
}

// elemSize is the size of one element of the base, 0 if it varies.
func (s Set) elemSize(base string) (int, error) {
	if n, ok := scalars[base]; ok {
		return n, nil
	}
	if raw[base] {
		return 1, nil
	}
	if l, ok := s.Get(base); ok {
		return l.Size, nil
	}
	return 0, fmt.Errorf("unknown type %q", base)
}
