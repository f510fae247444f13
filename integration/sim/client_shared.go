package sim

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"syscall"

	"github.com/covol/covol/fs"
)

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// useShared reads or writes one of the shared files and syncs it.
func (c *client) useShared(p *process) {
	i := c.rng.IntN(len(c.w.shared))
	object := fmt.Sprintf("register %d", i)
	ino := c.w.shared[i]
	in := sharedOp{kind: "read"}
	if c.rng.IntN(2) == 0 {
		c.next++
		in = sharedOp{"write", uint64(c.id)<<32 | uint64(c.next)}
	}
	var out sharedAnswer
	var bad error
	call := c.w.judges.shared.tick()
	op := p.call(fmt.Sprintf("%s %s r%d", c.name, in.kind, i), func() error {
		h, err := p.node.Volume().Open(background, fs.Caller{}, ino, 0)
		if err != nil {
			return err
		}
		b := make([]byte, sectorBytes)
		if in.kind == "write" {
			stamp{client: c.id, file: ^uint32(i), version: uint32(in.value)}.put(b)
			_, err = h.Write(background, b, 0)
		} else {
			err = h.Read(background, b, 0, false, func(int) {})
			out.value, bad = registerValue(b, i)
		}
		if err == nil {
			err = h.Sync(background, c.rng.IntN(2) == 0)
		}
		if e := h.Release(background); err == nil {
			err = e
		}
		return err
	})
	failed := op.vanished || op.err != nil
	if failed && in.kind == "read" {
		return
	}
	if !failed && bad != nil {
		c.w.judges.files.found("%s reads through %v %s: %v", c.name, p, object, bad)
		return
	}
	out.unknown = failed
	c.w.judges.shared.add(object, c.id, in, call, out)
}

func registerValue(b []byte, i int) (uint64, error) {
	s, err := readStamp(b)
	if err != nil || binary.LittleEndian.Uint64(b) == 0 {
		return 0, err
	}
	if s.file != ^uint32(i) || s.cell != 0 {
		return 0, fmt.Errorf("foreign content %+v", s)
	}
	return uint64(s.client)<<32 | uint64(s.version), nil
}

// useName creates, removes or looks up one of the names that all clients share, and syncs the directory.
func (c *client) useName(p *process) {
	i := c.rng.IntN(exclNames)
	name := fmt.Sprintf("x%d", i)
	in := sharedOp{kind: []string{"create", "unlink", "lookup"}[c.rng.IntN(3)]}
	var out sharedAnswer
	call := c.w.judges.shared.tick()
	op := p.call(fmt.Sprintf("%s %s %s", c.name, in.kind, name), func() (err error) {
		v := p.node.Volume()
		if out.done, err = c.doName(v, in.kind, name); err != nil {
			return err
		}
		d, err := v.OpenDir(background, c.w.excl)
		if err != nil {
			return err
		}
		defer d.Release()
		return d.Sync(background)
	})
	if op.vanished || op.err != nil {
		if in.kind == "lookup" {
			return
		}
		out = sharedAnswer{unknown: true}
	}
	c.w.judges.shared.add("name "+name, c.id, in, call, out)
}

// doName does one operation on a shared name; done is whether the name was free to be made, or was there.
func (c *client) doName(v *fs.Volume, kind, name string) (done bool, err error) {
	var ino fs.Ino
	switch kind {
	case "create":
		var h fs.File
		err = v.Create(background, fs.Caller{}, c.w.excl, name, 0o644, syscall.O_EXCL, func(a fs.Attr, o fs.File) { ino, h = a.Ino, o })
		if err == nil {
			err = h.Release(background)
			v.Forget(ino, 1)
		}
	case "unlink":
		err = v.Unlink(background, fs.Caller{}, c.w.excl, name)
	default:
		err = v.Lookup(background, fs.Caller{}, c.w.excl, name, func(a fs.Attr) { ino = a.Ino })
		if err == nil {
			v.Forget(ino, 1)
		}
	}
	if errors.Is(err, fs.ErrExist) || errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
