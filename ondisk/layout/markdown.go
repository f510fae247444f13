package layout

import (
	"fmt"
	"hash/fnv"
	"strings"
)

const (
	beginMark = "<!-- begin %s -->"
	endMark   = "<!-- end %s -->"
	tableHead = "| offset | size | name | type | meaning |"
	caseHead  = "| %s | content |"
)

// Markdown is the table of the layout as it stands in the document between its marks, marks included.
func (l *Layout) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, beginMark+"\n%s\n\n%s\n|---|---|---|---|---|\n", l.Name, l.title(), tableHead)
	for _, f := range l.Fields {
		size := "varies"
		if f.Size > 0 {
			size = fmt.Sprint(f.Size)
		}
		fmt.Fprintf(&b, "| 0x%03x | %s | %s | %s | %s |\n", f.Off, size, f.Name, f.Type, f.Doc)
	}
	if l.Switch != "" {
		fmt.Fprintf(&b, "\n"+caseHead+"\n|---|---|\n", l.Switch)
		for _, c := range l.Cases {
			fmt.Fprintf(&b, "| %d | %s |\n", c.Value, c.Layout)
		}
	}
	fmt.Fprintf(&b, endMark, l.Name)
	return b.String()
}

// title is the line above the table; Parse reads it back.
func (l *Layout) title() string {
	size := "varies"
	if l.Size > 0 {
		size = fmt.Sprintf("%d bytes", l.Size)
	}
	parts := []string{"Size: " + size}
	if l.Align > 1 {
		parts = append(parts, fmt.Sprintf("aligned to: %d", l.Align))
	}
	if l.End != "" {
		parts = append(parts, "ends with zero: "+l.End)
	}
	return strings.Join(parts, "; ")
}

// Hash identifies what a reader of the bytes depends on: names, places and types, but not the prose.
func (l *Layout) Hash() string {
	h := fnv.New64a()
	fmt.Fprintln(h, l.Name, l.title(), l.Switch, l.Cases)
	for _, f := range l.Fields {
		fmt.Fprintln(h, f.Name, f.Off, f.Size, f.Type)
	}
	return fmt.Sprintf("%016x", h.Sum64())
}

// Replace puts the tables of s between their marks in doc. It is an error if doc lacks the marks of a layout.
func (s Set) Replace(doc string) (string, error) {
	for i := range s {
		l := &s[i]
		begin, end := fmt.Sprintf(beginMark, l.Name), fmt.Sprintf(endMark, l.Name)
		from := strings.Index(doc, begin)
		to := strings.Index(doc, end)
		if from < 0 || to < from || strings.Count(doc, begin) != 1 || strings.Count(doc, end) != 1 {
			return "", fmt.Errorf("layout %q: want %q and %q once each", l.Name, begin, end)
		}
		doc = doc[:from] + l.Markdown() + doc[to+len(end):]
	}
	return doc, nil
}
