package layout_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/ondisk/layout"
)

func f(name string, off, size int, typ string) layout.Field {
	return layout.Field{Name: name, Off: off, Size: size, Type: typ, Doc: "what it means"}
}

func good() layout.Set {
	return layout.Set{
		{Name: "head", Size: 8, Fields: []layout.Field{f("kind", 0, 2, "le16"), f("zero", 2, 2, "zero[2]"), f("count", 4, 4, "le32")}},
		{Name: "pair", Size: 4, Fields: []layout.Field{f("a", 0, 1, "u8"), f("b", 1, 1, "u8"), f("c", 2, 2, "le16")}},
		{Name: "block", Size: 64, Fields: []layout.Field{f("head", 0, 8, "head"), f("label", 8, 8, "text[8]"), f("id", 16, 4, "bytes[4]"),
			f("pairs", 20, 8, "pair[2]"), f("when", 28, 8, "s64"), f("items", 36, 28, "item[]")}},
		{Name: "item", Align: 4, End: "type", Switch: "type", Cases: []layout.Case{{Value: 1, Layout: "pair"}, {Value: 2, Layout: "list"}},
			Fields: []layout.Field{f("type", 0, 1, "u8"), f("length", 1, 1, "u8"), f("body", 2, 0, "case[length]")}},
		{Name: "list", Fields: []layout.Field{f("n", 0, 1, "u8"), f("numbers", 1, 0, "le16[n]")}},
	}
}

func TestCheckSeesEveryFault(t *testing.T) {
	require.NoError(t, good().Check())
	for why, spoil := range map[string]func(s layout.Set){
		"gap":                    func(s layout.Set) { s[0].Fields[2].Off = 6 },
		"overlap":                func(s layout.Set) { s[0].Fields[2].Off = 3 },
		"too short":              func(s layout.Set) { s[0].Size = 12 },
		"too long":               func(s layout.Set) { s[0].Size = 4 },
		"size against type":      func(s layout.Set) { s[1].Fields[2].Size = 4 },
		"unknown type":           func(s layout.Set) { s[1].Fields[0].Type = "be16" },
		"unknown element":        func(s layout.Set) { s[2].Fields[3].Type = "pear[2]" },
		"bracket":                func(s layout.Set) { s[2].Fields[1].Type = "text[8" },
		"zero elements":          func(s layout.Set) { s[2].Fields[1].Type = "text[0]" },
		"name twice":             func(s layout.Set) { s[1].Fields[1].Name = "a" },
		"upper case":             func(s layout.Set) { s[1].Fields[1].Name = "B" },
		"no meaning":             func(s layout.Set) { s[1].Fields[1].Doc = "" },
		"bar in meaning":         func(s layout.Set) { s[1].Fields[1].Doc = "a | b" },
		"padding with a name":    func(s layout.Set) { s[0].Fields[1].Name = "spare" },
		"zero that is no zero":   func(s layout.Set) { s[0].Fields[1].Type = "bytes[2]" },
		"varies in the middle":   func(s layout.Set) { s[2].Fields[3].Type = "pair[id]" },
		"unknown count":          func(s layout.Set) { s[4].Fields[1].Type = "le16[m]" },
		"varies in a fixed size": func(s layout.Set) { s[4].Size = 1 },
		"no size, nothing varies": func(s layout.Set) {
			s[1].Size = 0
		},
		"two of a name":         func(s layout.Set) { s[1].Name = "head" },
		"name of a type":        func(s layout.Set) { s[1].Name = "le16" },
		"unknown case":          func(s layout.Set) { s[3].Cases[0].Layout = "pear" },
		"unknown switch":        func(s layout.Set) { s[3].Switch = "kind" },
		"unknown end":           func(s layout.Set) { s[3].End = "kind" },
		"cases without switch":  func(s layout.Set) { s[3].Switch = "" },
		"contains itself":       func(s layout.Set) { s[4].Fields[1].Type = "list[n]" },
		"contains itself, deep": func(s layout.Set) { s[4].Fields[1].Type = "item[n]" },
		"no fields":             func(s layout.Set) { s[1].Fields = nil },
	} {
		s := good()
		spoil(s)
		assert.Error(t, s.Check(), why)
	}
}

func TestMarkdownAndParseAreInverse(t *testing.T) {
	doc := "# Doc\n"
	for _, l := range good() {
		doc += "text\n<!-- begin " + l.Name + " -->\nold\n<!-- end " + l.Name + " -->\n"
	}
	doc, err := good().Replace(doc)
	require.NoError(t, err)
	again, err := good().Replace(doc)
	require.NoError(t, err)
	require.Equal(t, doc, again)
	got, err := layout.Parse(doc)
	require.NoError(t, err)
	require.Equal(t, good(), got)
	_, err = good().Replace("nothing")
	require.Error(t, err)
	_, err = good().Replace(doc + doc)
	require.Error(t, err)
	for _, bad := range []string{"\n| 0x00 | x | a | u8 | b |", "\n| q | 1 | a | u8 | b |", "\n| a | b | c |", "\nprose", "\nSize: many"} {
		_, err = layout.Parse("<!-- begin a -->" + bad + "\n<!-- end a -->")
		require.Error(t, err, bad)
	}
	_, err = layout.Parse("<!-- begin a -->\n")
	require.Error(t, err)
}

func sample() []byte {
	b := make([]byte, 64)
	copy(b, []byte{7, 0, 0, 0, 2, 0, 0, 0, 'l', 'b', 0, 'x', 0, 0, 0, 0, 1, 2, 3, 4, 1, 2, 3, 0, 4, 5, 6, 0})
	copy(b[28:], []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	copy(b[36:], []byte{1, 4, 9, 8, 7, 0, 0, 0 /* pair, aligned */, 2, 5, 2, 1, 0, 2, 0, 0 /* list */, 3, 1, 5, 0 /* unknown */, 0})
	return b
}

func TestDump(t *testing.T) {
	v, err := good().Dump("block", sample())
	require.NoError(t, err)
	assert.Equal(t, 64, v.Size)
	assert.Equal(t, uint64(7), v.Get("head").Uint("kind"))
	assert.Equal(t, "lb", v.Get("label").V)
	assert.Equal(t, []byte{1, 2, 3, 4}, v.Get("id").V)
	assert.Equal(t, int64(-1), v.Get("when").V)
	assert.Equal(t, uint64(6), v.Get("pairs").Get("[1]").Uint("c"))
	items := v.Get("items").Sub
	require.Len(t, items, 3)
	assert.Equal(t, []int{36, 44, 52}, []int{items[0].Off, items[1].Off, items[2].Off})
	assert.Equal(t, uint64(9), items[0].Get("body").Uint("a"))
	assert.Equal(t, uint64(2), items[1].Get("body").Get("numbers").Get("[1]").V)
	assert.Equal(t, []byte{5}, items[2].Get("body").V)
}

func TestDumpTellsWhatItCouldRead(t *testing.T) {
	for n := range 64 {
		v, err := good().Dump("block", sample()[:n])
		require.ErrorIs(t, err, layout.ErrShort, "%d bytes", n)
		require.LessOrEqual(t, v.Size, 64)
	}
	_, err := good().Dump("pear", nil)
	require.Error(t, err)
	require.False(t, errors.Is(err, layout.ErrShort))
	b := sample()
	b[37] = 200 // length of the first item
	v, err := good().Dump("block", b)
	require.ErrorIs(t, err, layout.ErrShort)
	require.Equal(t, "lb", v.Get("label").V)
}

func TestHashIgnoresProseOnly(t *testing.T) {
	a, b := good(), good()
	b[0].Fields[0].Doc = "other words"
	assert.Equal(t, a[0].Hash(), b[0].Hash())
	b[0].Fields[0].Name = "sort"
	assert.NotEqual(t, a[0].Hash(), b[0].Hash())
	b[3].Cases[0].Value = 9
	assert.NotEqual(t, a[3].Hash(), b[3].Hash())
}
