package layout

import (
	"fmt"
	"strconv"
	"strings"
)

// Parse reads the tables between marks out of a document: what Markdown wrote, so that a reader can be built from
// the document alone. Text outside of marks is skipped.
func Parse(doc string) (Set, error) {
	var s Set
	for n, line := range strings.Split(doc, "\n") {
		if name, ok := mark(line, beginMark); ok {
			l, err := parseTable(name, doc)
			if err != nil {
				return nil, fmt.Errorf("line %d: layout %q: %w", n+1, name, err)
			}
			s = append(s, l)
		}
	}
	return s, s.Check()
}

func mark(line, format string) (string, bool) {
	pre, post, _ := strings.Cut(format, "%s")
	if !strings.HasPrefix(line, pre) || !strings.HasSuffix(line, post) || len(line) < len(pre)+len(post) {
		return "", false
	}
	return line[len(pre) : len(line)-len(post)], true
}

func parseTable(name, doc string) (Layout, error) {
	_, body, _ := strings.Cut(doc, fmt.Sprintf(beginMark, name)+"\n")
	body, _, ok := strings.Cut(body, fmt.Sprintf(endMark, name))
	if !ok {
		return Layout{}, fmt.Errorf("no end")
	}
	l := Layout{Name: name}
	for _, line := range strings.Split(body, "\n") {
		if err := l.parseLine(line); err != nil {
			return Layout{}, fmt.Errorf("%q: %w", line, err)
		}
	}
	return l, nil
}

func (l *Layout) parseLine(line string) error {
	switch {
	case line == "" || line == tableHead || strings.HasPrefix(line, "|---"):
		return nil
	case strings.HasPrefix(line, "Size: "):
		return l.parseTitle(line)
	case !strings.HasPrefix(line, "| ") || !strings.HasSuffix(line, " |"):
		return fmt.Errorf("neither title nor row")
	}
	cells := strings.Split(line[2:len(line)-2], " | ")
	switch len(cells) {
	case 5:
		off, err := strconv.ParseUint(cells[0], 0, 31)
		if err != nil {
			return err
		}
		size := uint64(0)
		if cells[1] != "varies" {
			if size, err = strconv.ParseUint(cells[1], 10, 31); err != nil {
				return err
			}
		}
		l.Fields = append(l.Fields, Field{cells[2], int(off), int(size), cells[3], cells[4]})
		return nil
	case 2:
		if l.Switch == "" {
			l.Switch = cells[0]
			return nil
		}
		v, err := strconv.ParseUint(cells[0], 10, 64)
		l.Cases = append(l.Cases, Case{v, cells[1]})
		return err
	}
	return fmt.Errorf("row of %d cells", len(cells))
}

func (l *Layout) parseTitle(line string) error {
	for _, part := range strings.Split(line, "; ") {
		key, value, _ := strings.Cut(part, ": ")
		var err error
		switch {
		case key == "Size" && value == "varies":
		case key == "Size":
			l.Size, err = strconv.Atoi(strings.TrimSuffix(value, " bytes"))
		case key == "aligned to":
			l.Align, err = strconv.Atoi(value)
		case key == "ends with zero":
			l.End = value
		default:
			err = fmt.Errorf("unknown part %q", part)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
