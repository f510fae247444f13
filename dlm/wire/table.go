package wire

import (
	"fmt"
	"strings"
)

// Table is the description of one message, as its codec walks it.
type Table struct {
	Kind   Kind
	Name   string
	Way    string // who sends it to whom
	Doc    string
	Fields []Field
}

// Tables describes all messages in ascending kinds. The kind itself, one byte before the fields, is not listed.
func Tables() []Table {
	var all []Table
	for k := KindLookup; k < kinds; k++ {
		mk := makers[k]
		c := coder{op: describing}
		mk.make().walk(&c)
		all = append(all, Table{Kind: k, Name: mk.name, Way: mk.way, Doc: mk.doc, Fields: c.fields})
	}
	return all
}

// FrameTable describes the header of a datagram.
func FrameTable() Table {
	c := coder{op: describing}
	(&Frame{}).walk(&c)
	return Table{Name: "Frame", Fields: c.fields}
}

// Markdown is the table as PROTOCOL.md shows it.
func (t *Table) Markdown() string {
	var b strings.Builder
	if t.Kind != 0 {
		fmt.Fprintf(&b, "**%d %s** (%s): %s\n\n", t.Kind, t.Name, t.Way, t.Doc)
	}
	b.WriteString("| field | type | meaning |\n|---|---|---|\n")
	for _, f := range t.Fields {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", f.Name, f.Type, f.Doc)
	}
	return b.String()
}
