package layout

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrShort says that the bytes end before the structure does.
var ErrShort = errors.New("bytes end before the structure")

// Value is a field, or an element of one, with what the bytes say.
type Value struct {
	Name string // of the field; an index in brackets for an element
	Type string // base
	Off  int    // from the start of the bytes that Dump was given
	Size int
	// V is uint64, int64, string (text) or []byte; nil when Sub tells more.
	V   any
	Sub []Value
}

// Get returns the part with that name, the zero Value if there is none.
func (v Value) Get(name string) Value {
	for _, s := range v.Sub {
		if s.Name == name {
			return s
		}
	}
	return Value{}
}

// Uint is the number in the part with that name, 0 if there is none.
func (v Value) Uint(name string) uint64 {
	n, _ := v.Get(name).V.(uint64)
	return n
}

// Dump reads b, which begins with the named layout. What lies behind the layout is ignored. If b is too short or is
// inconsistent, the part that could be read is returned with the error.
func (s Set) Dump(name string, b []byte) (Value, error) {
	l, ok := s.Get(name)
	if !ok {
		return Value{}, fmt.Errorf("unknown layout %q", name)
	}
	return s.dump(l, b, 0)
}

// Sequence reads elements of the named layout until b ends, or the element that says so.
func (s Set) Sequence(name string, b []byte) (Value, error) {
	v := Value{Name: name, Type: name, Size: len(b)}
	err := s.many(&v, fieldType{base: name, many: true, count: -1}, b, 0)
	return v, err
}

func (s Set) dump(l *Layout, b []byte, at int) (Value, error) {
	v := Value{Name: l.Name, Type: l.Name, Off: at}
	for _, f := range l.Fields {
		if f.Off > len(b) || f.Size > len(b)-f.Off {
			return v, fmt.Errorf("%s: field %q: %w", l.Name, f.Name, ErrShort)
		}
		area := b[f.Off:]
		if f.Size > 0 {
			area = area[:f.Size]
		}
		sub, err := s.field(l, &f, v, area, at+f.Off)
		v.Sub = append(v.Sub, sub)
		v.Size = sub.Off - at + sub.Size
		if err != nil {
			return v, fmt.Errorf("%s: %w", l.Name, err)
		}
	}
	return v, nil
}

func (s Set) field(l *Layout, f *Field, so Value, area []byte, at int) (Value, error) {
	v := Value{Name: f.Name, Off: at, Size: f.Size}
	t, err := parseType(f.Type)
	if err != nil {
		return v, err
	}
	v.Type = t.base
	if t.by != "" {
		t.count = int(min(so.Uint(t.by), 1<<20))
	}
	switch {
	case raw[t.base]:
		if t.count >= 0 {
			if t.count > len(area) {
				return v, fmt.Errorf("field %q: %w", f.Name, ErrShort)
			}
			area = area[:t.count]
		}
		v.Size = max(f.Size, len(area))
		return v, s.bytes(&v, l, so, area, at)
	case t.many:
		return v, s.many(&v, t, area, at)
	}
	one, err := s.one(t.base, area, at)
	one.Name = f.Name
	if f.Size > 0 {
		one.Size = f.Size
	}
	return one, err
}

// bytes fills in a field of a raw type.
func (s Set) bytes(v *Value, l *Layout, so Value, area []byte, at int) error {
	if v.Type == "text" {
		text, _, _ := bytes.Cut(area, []byte{0})
		v.V = string(text)
		return nil
	}
	v.V = area
	if v.Type == "case" {
		for _, c := range l.Cases {
			if sub, ok := s.Get(c.Layout); ok && c.Value == so.Uint(l.Switch) {
				inner, err := s.dump(sub, area, at)
				v.V, v.Type, v.Sub = nil, c.Layout, inner.Sub
				return err
			}
		}
	}
	return nil
}

// many fills in a field of several elements; t.count is negative for as many as there is room for.
func (s Set) many(v *Value, t fieldType, area []byte, at int) error {
	off := 0
	for i := 0; i != t.count && (t.count >= 0 || off < len(area)); i++ {
		one, err := s.one(t.base, area[off:], at+off)
		one.Name = fmt.Sprintf("[%d]", i)
		l, nested := s.Get(t.base)
		if nested && l.End != "" && one.Get(l.End).V == uint64(0) {
			break
		}
		v.Sub = append(v.Sub, one)
		if err != nil {
			return fmt.Errorf("field %q: element %d: %w", v.Name, i, err)
		}
		off += one.Size
		if nested && l.Align > 1 {
			off = (off + l.Align - 1) / l.Align * l.Align
		}
		if off > len(area) || one.Size == 0 {
			return fmt.Errorf("field %q: element %d: %w", v.Name, i, ErrShort)
		}
	}
	v.Size = max(v.Size, off)
	return nil
}

// one reads a number or a nested layout at the start of b.
func (s Set) one(base string, b []byte, at int) (Value, error) {
	v := Value{Type: base, Off: at, Size: scalars[base]}
	if v.Size > len(b) {
		return v, fmt.Errorf("%s: %w", base, ErrShort)
	}
	le := binary.LittleEndian
	switch base {
	case "u8":
		v.V = uint64(b[0])
	case "le16":
		v.V = uint64(le.Uint16(b))
	case "le32":
		v.V = uint64(le.Uint32(b))
	case "le64":
		v.V = le.Uint64(b)
	case "s64":
		v.V = int64(le.Uint64(b))
	default:
		l, ok := s.Get(base)
		if !ok {
			return v, fmt.Errorf("unknown type %q", base)
		}
		return s.dump(l, b, at)
	}
	return v, nil
}
