package ondisk

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// poke ties a struct to the layout of its block. Fields of the struct belong to the field of the layout with the same
// letters ("Profile.IOBound" to "profile io bound"), but those in names; "header.x" is a field of the header, "-" is
// not in the block.
type poke struct {
	layout string
	zero   any // pointer to the struct
	names  map[string]string
	encode func(v any) []byte
	decode func(b []byte) (any, error)
}

func pokes() []poke {
	sb := sampleSuper()
	byName := map[string]decoder{}
	for _, d := range blockDecoders() {
		if _, ok := byName[d.name]; !ok {
			byName[d.name] = d
		}
	}
	all := []poke{
		{layout: "super", zero: &Super{}, names: map[string]string{"UUID": "header.uuid"},
			encode: func(v any) []byte { return EncodeSuper(v.(*Super), 8) }},
		{layout: "view", zero: &View{}, names: map[string]string{"Recovering": "members"},
			encode: func(v any) []byte { return EncodeView(sb, v.(*View)) }},
		{layout: "ballot", zero: &Ballot{}, names: map[string]string{"Recovering": "members"},
			encode: func(v any) []byte { return EncodeBallot(sb, v.(*Ballot)) }},
		{layout: "slot", zero: &Slot{}, encode: func(v any) []byte { return EncodeSlot(sb, v.(*Slot)) }},
		{layout: "space", zero: &Space{}, names: map[string]string{"Slot": "header.owner"},
			encode: func(v any) []byte { return EncodeSpace(sb, v.(*Space)) }},
		{layout: "group", zero: &Group{}, encode: func(v any) []byte { return EncodeGroup(sb, v.(*Group)) }},
		{layout: "inode", zero: &Inode{}, encode: func(v any) []byte { return EncodeInode(sb.UUID, v.(*Inode)) }, names: map[string]string{
			"Ino": "header.block", "Generation": "header.generation", "Names": "attributes", "Xattrs": "attributes",
			"Body": "-", "Resident": "-", "Root": "-"}}, // attributes have tests of their own
		{layout: "journal head", zero: &JournalHead{}, encode: func(v any) []byte { return EncodeJournalHead(sb, v.(*JournalHead), 1) },
			names: map[string]string{"Slot": "header.slot", "Incarnation": "header.incarnation", "LSN": "header.lsn"}},
		{layout: "journal descriptor", zero: &JournalDesc{}, names: map[string]string{"Entries": "blocks"},
			encode: func(v any) []byte { return EncodeJournalDesc(sb, v.(*JournalDesc), 1900, 4, 2, 9) }},
		{layout: "journal commit", zero: &JournalCommit{},
			encode: func(v any) []byte { return EncodeJournalCommit(sb, v.(*JournalCommit), 1903, 4, 2, 9) }},
		{layout: "header", zero: &Header{}, encode: func(v any) []byte {
			b := make([]byte, BlockSize)
			PutHeader(b, v.(*Header))
			return b
		}, decode: func(b []byte) (any, error) { h := GetHeader(b); return &h, nil }},
		{layout: "extent", zero: &Extent{}, names: map[string]string{"Logical": "-"}, encode: func(v any) []byte { return EncodeExtent(*v.(*Extent)) }},
		{layout: "deferred free", zero: &Free{}, names: map[string]string{"Block": "-"}, encode: func(v any) []byte { return EncodeFree(*v.(*Free)) }},
		{layout: "orphan", zero: &Orphan{}, names: map[string]string{"Ino": "-"}, encode: func(v any) []byte { return EncodeOrphan(*v.(*Orphan)) }},
	}
	for i := range all {
		if d, ok := byName[all[i].layout]; ok {
			all[i].decode = func(b []byte) (any, error) { v, _, err := d.decode(b); return v, err }
		}
	}
	return all
}

// leaf is a field of a struct that is encoded as a whole.
type leaf struct {
	path  string
	value reflect.Value
}

func leaves(v reflect.Value, prefix string) []leaf {
	var all []leaf
	for i := range v.NumField() {
		f, path := v.Field(i), prefix+v.Type().Field(i).Name
		if f.Type() == reflect.TypeFor[Profile]() {
			all = append(all, leaves(f, path+".")...)
			continue
		}
		all = append(all, leaf{path, f})
	}
	return all
}

// fieldOf is the name in the layout.
func (p poke) fieldOf(path string) string {
	if n, ok := p.names[path]; ok {
		return n
	}
	l, _ := Layouts.Get(p.layout)
	for _, f := range l.Fields {
		if strings.ReplaceAll(f.Name, " ", "") == strings.ToLower(strings.ReplaceAll(path, ".", "")) {
			return f.Name
		}
	}
	return "?" + path
}

// fill sets v to something that differs from zero in every byte that it has on disk.
func fill(v reflect.Value) {
	const ones = 0x0101010101010101
	switch x := v.Addr().Interface().(type) {
	case *string:
		*x = strings.Repeat("x", 300)
	case *time.Duration:
		*x = 0x01010101 * time.Millisecond
	case *[]KeptName:
		*x = []KeptName{{1, "x"}}
	case *[]Xattr:
		*x = []Xattr{{"x", nil}}
	case *[]DescEntry:
		*x = slices.Repeat([]DescEntry{{Block: ones, Revoke: true}}, DescEntries)
	case *[]uint32:
		*x = slices.Repeat([]uint32{ones & 0xffffffff}, MaxSlots)
	case *[]Holder:
		*x = slices.Repeat([]Holder{{ones & 0xffffffff, ones & 0xffff}}, MaxSlots)
	case *Time:
		*x = Time{ones, ones & 0xffffffff}
	case *bool:
		*x = true
	default:
		switch v.Kind() {
		case reflect.Array:
			for i := range v.Len() {
				fill(v.Index(i))
			}
		case reflect.Int64:
			v.SetInt(ones)
		default:
			v.SetUint(ones & (1<<v.Type().Bits() - 1))
		}
	}
}

// Each field of each struct changes exactly the bytes that the layout gives it, and each field of the layout is some
// field's.
func TestPokeEveryField(t *testing.T) {
	for _, p := range pokes() {
		l, ok := Layouts.Get(p.layout)
		require.True(t, ok)
		base := p.encode(p.zero)
		seen := map[string]bool{"header": true, "zero": true}
		for i := range leaves(reflect.ValueOf(p.zero).Elem(), "") {
			v := reflect.New(reflect.TypeOf(p.zero).Elem())
			lf := leaves(v.Elem(), "")[i]
			name := p.fieldOf(lf.path)
			if name == "-" {
				continue
			}
			fill(lf.value)
			from, size := 0, 0
			if h, ok := strings.CutPrefix(name, "header."); ok {
				f, _ := layoutHeader.Field(h)
				from, size = f.Off, f.Size
			} else {
				f, ok := l.Field(name)
				require.True(t, ok, "%s: %s has no field in the layout", p.layout, lf.path)
				from, size = f.Off, f.Size
			}
			seen[name] = true
			changed := 0
			for at, c := range p.encode(v.Interface()) {
				inside := at >= from && at < from+size
				exempt := l.Fields[0].Name == "header" && at < HeaderSize      // own number, CRC
				exempt = exempt || lf.path == "Entries" && at >= 88 && at < 92 // their count
				if c != base[at] && !inside && !exempt {
					t.Errorf("%s.%s (%s): byte %d changes", p.layout, lf.path, name, at)
				}
				if c != base[at] && inside {
					changed++
				}
			}
			switch lf.path {
			case "Clean", "Names", "Xattrs", "Slot": // a bit, parts of the space of attributes, le16 in an le64 or not
				require.NotZero(t, changed)
			case "Members", "Recovering": // every other number
				require.Equal(t, size/2, changed)
			case "Atime", "Mtime", "Ctime", "Btime":
				require.Equal(t, 12, changed)
			default:
				require.Equal(t, size, changed, "%s.%s (%s)", p.layout, lf.path, name)
			}
		}
		for _, f := range l.Fields {
			implied := p.layout == "journal descriptor" && f.Name == "entries" || p.layout == "header" && f.Name == "magic"
			require.True(t, seen[f.Name] || implied, "%s: no field of the struct is %q", p.layout, f.Name)
		}
	}
}

// The other way: a byte changed in a field of the layout shows in that field of the struct only, or is refused.
func TestFlipEveryByte(t *testing.T) {
	for _, p := range pokes() {
		if p.decode == nil || p.layout == "header" {
			continue
		}
		l, _ := Layouts.Get(p.layout)
		var sample []byte
		for _, d := range blockDecoders() {
			if d.name == p.layout {
				sample = d.sample()
				break
			}
		}
		want, err := p.decode(sample)
		require.NoError(t, err)
		for _, f := range l.Fields[1:] {
			for at := f.Off; at < f.Off+f.Size; at++ {
				b := slices.Clone(sample)
				b[at] ^= 0x41
				Seal(b)
				got, err := p.decode(b)
				if err != nil {
					require.True(t, errors.Is(err, ErrCorrupt) || errors.Is(err, ErrVersion), "%v", err)
					require.NotEqual(t, "zero", f.Name, "%s: padding at %d is checked", p.layout, at)
					continue
				}
				w, g := leaves(reflect.ValueOf(want).Elem(), ""), leaves(reflect.ValueOf(got).Elem(), "")
				for i := range w {
					if reflect.DeepEqual(w[i].value.Interface(), g[i].value.Interface()) {
						continue
					}
					name := p.fieldOf(w[i].path)
					same := name == f.Name || p.layout == "journal descriptor" && f.Name == "entries" || p.layout == "inode" && f.Name == "attributes" && name == "-"
					require.True(t, same, "%s: byte %d of %q changes %s", p.layout, at, f.Name, w[i].path)
				}
			}
		}
	}
}
