package dump

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// item is one line of text, or one member of a JSON object, with what belongs below it. With both value and sub, people
// get the value and the findings below it, scripts get sub.
type item struct {
	name  string
	value any
	text  string // how people want the value, if not as fmt prints it
	list  bool   // sub are elements: their names are not keys
	sub   []item
}

func (it *item) add(sub ...item) { it.sub = append(it.sub, sub...) }

func kv(name string, value any) item { return item{name: name, value: value} }

// finding is what is wrong with the structure that it stands in.
func finding(err error) item { return item{name: "finding", value: err.Error()} }

// writeText prints items as an indented list with aligned values.
func writeText(w io.Writer, items []item, depth int) error {
	width := 0
	for _, it := range items {
		if it.value != nil {
			width = max(width, len(it.name))
		}
	}
	pad := strings.Repeat("  ", depth)
	for _, it := range items {
		line := pad + it.name
		if it.value != nil {
			text := it.text
			if text == "" {
				text = plain(it.value)
			}
			line = fmt.Sprintf("%s%-*s  %s", pad, width, it.name, text)
		}
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " ")); err != nil {
			return err
		}
		below := it.sub
		if it.value != nil {
			below = slices.DeleteFunc(slices.Clone(below), func(s item) bool { return s.name != "finding" })
		}
		if err := writeText(w, below, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// plain prints texts that came from the volume so that they cannot touch a terminal.
func plain(v any) string {
	if s, ok := v.(string); ok && strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == '�' }) {
		return fmt.Sprintf("%q", s)
	}
	return fmt.Sprint(v)
}

// object is items as a JSON object that keeps their order. Names that come twice get a number.
type object []item

// MarshalJSON writes the members in order.
func (o object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	seen := map[string]int{}
	for i, it := range o {
		name := strings.ReplaceAll(it.name, " ", "_")
		if seen[name]++; seen[name] > 1 {
			name = fmt.Sprintf("%s_%d", name, seen[name])
		}
		k, err := json.Marshal(name)
		if err != nil {
			return nil, err
		}
		v, err := json.Marshal(it.json())
		if err != nil {
			return nil, err
		}
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(k)
		b.WriteByte(':')
		b.Write(v)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

func (it item) json() any {
	switch {
	case it.list:
		all := make([]any, len(it.sub))
		for i, s := range it.sub {
			all[i] = s.json()
		}
		return all
	case it.sub != nil:
		return object(it.sub)
	}
	return it.value
}
