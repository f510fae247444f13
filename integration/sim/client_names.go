package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"

	"github.com/covol/covol/fs"
)

// names is what a client knows of its directory entries. They change in the order of its node's journal, so a crash
// leaves one of the states that were, not a mixture.
type names struct {
	hist  []map[string]uint32 // path to file; the first is durable, the last is current if known
	known bool
}

func newNames() names { return names{hist: []map[string]uint32{{}}, known: true} }

func (n *names) cur() map[string]uint32 { return n.hist[len(n.hist)-1] }

// begin notes a change that is about to be made.
func (n *names) begin(change func(map[string]uint32)) {
	s := maps.Clone(n.cur())
	change(s)
	n.hist = append(n.hist, s)
	n.known = false
}

func (n *names) crash() {
	if len(n.hist) > 1 {
		n.known = false
	}
}

func (n *names) settle() {
	if n.known {
		n.hist = n.hist[len(n.hist)-1:]
	}
}

const namesPerClient = 6

// path is where a client keeps a file: one of two directories that it shares with others.
func (c *client) path(i int) string {
	return fmt.Sprintf("%d/c%d-%d", (int(c.id)+i%2)%directories, c.id, i)
}

func (c *client) dirOf(path string) (fs.Ino, string) {
	return c.w.dirs[path[0]-'0'], path[2:]
}

// ids are the files that have a name, in order.
func (c *client) ids() []uint32 {
	return slices.Sorted(maps.Values(c.names.cur()))
}

func (c *client) anyPath() string {
	all := slices.Sorted(maps.Keys(c.names.cur()))
	return all[c.rng.IntN(len(all))]
}

func (c *client) freePath() string {
	at := c.rng.IntN(namesPerClient)
	for i := range namesPerClient {
		p := c.path((at + i) % namesPerClient)
		if _, taken := c.names.cur()[p]; !taken {
			return p
		}
	}
	return ""
}

// change makes one change of names. allowed errors mean that nothing has changed.
func (c *client) change(p *process, what string, change func(map[string]uint32), fn func(v *fs.Volume) error) bool {
	c.gen++
	c.names.begin(change)
	op := p.call(c.name+" "+what, func() error { return fn(p.node.Volume()) })
	c.gen++
	if op.vanished || op.err != nil {
		c.doubt = true
		return false
	}
	c.names.known = true
	return true
}

func (c *client) create(p *process) {
	path := c.freePath()
	if path == "" {
		return
	}
	c.next++
	f := newFile(c, c.next)
	c.files[f.id] = f
	dir, name := c.dirOf(path)
	c.change(p, "create "+path, func(s map[string]uint32) { s[path] = f.id }, func(v *fs.Volume) error {
		var h fs.File
		err := v.Create(background, fs.Caller{}, dir, name, 0o644, syscall.O_EXCL, func(a fs.Attr, o fs.File) { f.ino, f.gen, h = a.Ino, a.Generation, o })
		if err != nil {
			return err
		}
		defer v.Forget(f.ino, 1)
		return h.Release(background)
	})
}

func (c *client) unlink(p *process) {
	path := c.anyPath()
	dir, name := c.dirOf(path)
	c.change(p, "unlink "+path, func(s map[string]uint32) { delete(s, path) }, func(v *fs.Volume) error {
		return v.Unlink(background, fs.Caller{}, dir, name)
	})
}

func (c *client) rename(p *process) {
	from, to := c.anyPath(), c.path(c.rng.IntN(namesPerClient))
	dir, name := c.dirOf(from)
	toDir, toName := c.dirOf(to)
	c.change(p, "rename "+from+" "+to, func(s map[string]uint32) {
		id := s[from]
		delete(s, from)
		s[to] = id
	}, func(v *fs.Volume) error {
		return v.Rename(background, fs.Caller{}, dir, name, toDir, toName, 0)
	})
}

// syncNames makes the names durable.
func (c *client) syncNames(p *process) {
	op := p.call(c.name+" sync names", func() error {
		for i := range 2 {
			dir, _ := c.dirOf(c.path(i))
			d, err := p.node.Volume().OpenDir(background, dir)
			if err != nil {
				return err
			}
			if err := d.Sync(background); err != nil {
				return err
			}
			d.Release()
		}
		return nil
	})
	if c.fine(op) {
		c.gen++
		c.names.settle()
		c.forget()
	}
}

// syncAll makes everything durable.
func (c *client) syncAll(p *process) {
	op := p.call(c.name+" sync all", func() error { return p.node.Volume().SyncAll(background) })
	if c.fine(op) {
		c.settleAll()
	}
}

// fine reports whether op has succeeded; otherwise the client looks again.
func (c *client) fine(op *opCall) bool {
	if op.vanished || op.err != nil {
		c.doubt = true
		return false
	}
	return true
}

// list reads the directories and compares with what may be there.
func (c *client) list(p *process) bool {
	found := map[string]inode{}
	prefix := fmt.Sprintf("c%d-", c.id)
	op := p.call(c.name+" list", func() error {
		for i := range 2 {
			at := (int(c.id) + i) % directories
			d, err := p.node.Volume().OpenDir(background, c.w.dirs[at])
			if err != nil {
				return err
			}
			err = d.Read(background, 0, func(e fs.DirEntry) bool {
				if strings.HasPrefix(e.Name, prefix) {
					found[fmt.Sprintf("%d/%s", at, e.Name)] = inode{ino: e.Ino}
				}
				return true
			})
			d.Release()
			if err != nil {
				return err
			}
		}
		for _, path := range sortedKeys(found) {
			err := p.node.Volume().Getattr(background, found[path].ino, func(a fs.Attr) { found[path] = inode{a.Ino, a.Generation} })
			if err != nil {
				return err
			}
		}
		return nil
	})
	return c.fine(op) && c.listed(p, found)
}

// listed takes what was found for what is there, if it may be.
func (c *client) listed(p *process, found map[string]inode) bool {
	n := &c.names
	lowest := 0
	if n.known {
		lowest = len(n.hist) - 1
	}
	for i := len(n.hist) - 1; i >= lowest; i-- {
		if !c.fits(n.hist[i], found) {
			continue
		}
		for path, id := range n.hist[i] {
			c.files[id].ino, c.files[id].gen = found[path].ino, found[path].gen
		}
		c.gen++
		n.hist, n.known = n.hist[:i+1], true
		return true
	}
	c.w.judges.files.found("%s sees through %v the names %v, known %v, possible:%s", c.name, p, found, n.known, c.possible())
	return false
}

// inode is which inode a name leads to.
type inode struct {
	ino fs.Ino
	gen uint64
}

// fits reports whether found may be the state s. A file whose creation was not answered may have any inode that is not
// one of the others.
func (c *client) fits(s map[string]uint32, found map[string]inode) bool {
	if len(s) != len(found) {
		return false
	}
	for path, id := range s {
		there, ok := found[path]
		f := c.files[id]
		if !ok || f.ino != 0 && there != (inode{f.ino, f.gen}) || f.ino == 0 && c.owns(there) {
			return false
		}
	}
	return true
}

func (c *client) owns(i inode) bool {
	for _, f := range c.files {
		if f.ino == i.ino && f.gen == i.gen {
			return true
		}
	}
	return false
}

func (c *client) possible() string {
	var b strings.Builder
	for _, s := range c.names.hist {
		b.WriteString("\n\t{")
		for _, path := range slices.Sorted(maps.Keys(s)) {
			fmt.Fprintf(&b, " %s:f%d(%d)", path, s[path], c.files[s[path]].ino)
		}
		b.WriteString(" }")
	}
	return b.String()
}
