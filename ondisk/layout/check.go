package layout

import (
	"errors"
	"fmt"
	"strings"
)

// Check returns every fault of the tables: gaps and overlaps, sizes that do not fit the types, names that mean nothing
// or two things, layouts that contain themselves.
func (s Set) Check() error {
	var errs []error
	seen := map[string]bool{}
	for i := range s {
		l := &s[i]
		if l.Name == "" || seen[l.Name] || raw[l.Name] || scalars[l.Name] != 0 {
			errs = append(errs, fmt.Errorf("layout %q: name is missing or taken", l.Name))
		}
		seen[l.Name] = true
		if err := s.checkLayout(l); err != nil {
			errs = append(errs, fmt.Errorf("layout %q: %w", l.Name, err))
		}
		if s.contains(l, l.Name, map[string]bool{}) {
			errs = append(errs, fmt.Errorf("layout %q contains itself", l.Name))
		}
	}
	return errors.Join(errs...)
}

func (s Set) checkLayout(l *Layout) error {
	at := 0
	names := map[string]bool{}
	for i := range l.Fields {
		f := &l.Fields[i]
		last := i == len(l.Fields)-1
		if err := s.checkField(l, f, names, last); err != nil {
			return fmt.Errorf("field %q: %w", f.Name, err)
		}
		if f.Off != at {
			return fmt.Errorf("field %q: at %d, want %d", f.Name, f.Off, at)
		}
		at += f.Size
		names[f.Name] = true
		if f.Size == 0 && l.Size != 0 {
			return fmt.Errorf("field %q varies, but the size is %d", f.Name, l.Size)
		}
	}
	if len(l.Fields) == 0 || l.Size != 0 && at != l.Size {
		return fmt.Errorf("fields end at %d, want %d", at, l.Size)
	}
	if l.Size == 0 && l.Fields[len(l.Fields)-1].Size != 0 {
		return errors.New("no size, but no field varies")
	}
	if l.End != "" && !names[l.End] {
		return fmt.Errorf("ends with unknown field %q", l.End)
	}
	return s.checkCases(l, names)
}

func (s Set) checkCases(l *Layout, names map[string]bool) error {
	if l.Switch == "" {
		if len(l.Cases) > 0 {
			return errors.New("cases without a switch")
		}
		return nil
	}
	if !names[l.Switch] || !strings.HasPrefix(l.Fields[len(l.Fields)-1].Type, "case[") {
		return fmt.Errorf("switch %q without field or without case", l.Switch)
	}
	for _, c := range l.Cases {
		if _, ok := s.Get(c.Layout); !ok {
			return fmt.Errorf("case %d: unknown layout %q", c.Value, c.Layout)
		}
	}
	return nil
}

func (s Set) checkField(l *Layout, f *Field, names map[string]bool, last bool) error {
	t, err := parseType(f.Type)
	if err != nil {
		return err
	}
	elem, err := s.elemSize(t.base)
	if err != nil {
		return err
	}
	switch {
	case f.Name == "" || f.Name != strings.ToLower(f.Name) || names[f.Name] && f.Name != "zero":
		return errors.New("name is missing, taken or not lower case")
	case (f.Name == "zero") != (t.base == "zero"):
		return errors.New("zero is both name and type of padding")
	case f.Doc == "" || strings.ContainsAny(f.Doc+f.Name+f.Type, "|\n"):
		return errors.New("no meaning, or a bar in it")
	case t.base == "case" && l.Switch == "":
		return errors.New("case without a switch")
	case t.count > 0 && elem > 0 && f.Size != t.count*elem:
		return fmt.Errorf("size %d, want %d", f.Size, t.count*elem)
	case t.count < 0 && !last:
		return errors.New("only the last field may vary")
	case t.count < 0 && t.by != "" && !names[t.by]:
		return fmt.Errorf("counts by unknown field %q", t.by)
	case t.count > 0 && elem == 0 && (t.count != 1 || !last):
		return errors.New("only the last field may be of a layout that varies, and only once")
	}
	return nil
}

// contains reports whether l leads back to name.
func (s Set) contains(l *Layout, name string, seen map[string]bool) bool {
	if seen[l.Name] {
		return false
	}
	seen[l.Name] = true
	next := []string{}
	for _, f := range l.Fields {
		if t, err := parseType(f.Type); err == nil {
			next = append(next, t.base)
		}
	}
	for _, c := range l.Cases {
		next = append(next, c.Layout)
	}
	for _, n := range next {
		if sub, ok := s.Get(n); ok && (n == name || s.contains(sub, name, seen)) {
			return true
		}
	}
	return false
}
