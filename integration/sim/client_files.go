package sim

import (
	"fmt"

	"github.com/covol/covol/fs"
)

// file is what a client knows of one of its files: size, and the version of each of its sectors, 0 for zeros.
type file struct {
	c       *client
	id      uint32
	ino     fs.Ino // 0: not told
	gen     uint64 // of the inode
	sparse  bool
	size    register // bytes
	cells   []register
	version uint32
}

const (
	cellsPerFile = 40
	sparseRun    = 4       // cells side by side
	sparseStride = 3 << 16 // from run to run, bytes
)

func newFile(c *client, id uint32) *file {
	f := &file{c: c, id: id, sparse: c.rng.IntN(3) == 0, cells: make([]register, cellsPerFile)}
	f.size.known = true
	for i := range f.cells {
		f.cells[i].known = true
	}
	return f
}

func (f *file) off(cell int) int64 {
	if !f.sparse {
		return int64(cell) * sectorBytes
	}
	return int64(cell/sparseRun)*sparseStride + int64(cell%sparseRun)*sectorBytes
}

func (f *file) limit() int { return int(f.off(cellsPerFile-1)) + sectorBytes }

func (f *file) regs(fn func(*register)) {
	fn(&f.size)
	for i := range f.cells {
		fn(&f.cells[i])
	}
}

func (f *file) crash()  { f.regs((*register).crash) }
func (f *file) settle() { f.regs((*register).settle) }

// acked makes what was written last what is there.
func (f *file) acked() { f.regs(func(r *register) { r.known = true }) }

func (c *client) anyFile() *file {
	ids := c.ids()
	return c.files[ids[c.rng.IntN(len(ids))]]
}

// onFile runs fn on the open file.
func (c *client) onFile(p *process, what string, f *file, fn func(h fs.File) error, allow ...error) *opCall {
	return p.call(fmt.Sprintf("%s %s f%d", c.name, what, f.id), func() error {
		h, err := p.node.Volume().Open(background, fs.Caller{}, f.ino, 0)
		if err != nil {
			return err
		}
		err = fn(h)
		if e := h.Release(background); err == nil {
			err = e
		}
		return err
	}, allow...)
}

// write writes a few sectors side by side, and perhaps makes the file durable.
func (c *client) write(p *process) {
	f := c.anyFile()
	at := c.rng.IntN(cellsPerFile)
	limit := cellsPerFile
	if f.sparse {
		limit = (at/sparseRun + 1) * sparseRun
	}
	n := 1 + c.rng.IntN(min(limit-at, 12))
	sync := c.rng.IntN(3) == 0
	f.version++
	b := make([]byte, n*sectorBytes)
	c.gen++
	for i := range n {
		stamp{c.id, f.id, uint32(at + i), f.version}.put(b[i*sectorBytes:])
		f.cells[at+i].begin(f.version)
	}
	if end := uint32(f.off(at+n-1) + sectorBytes); end > f.size.cur() {
		f.size.begin(end)
	}
	wrote := false
	op := c.onFile(p, fmt.Sprintf("write v%d cells %d+%d sync %v", f.version, at, n, sync), f, func(h fs.File) error {
		if _, err := h.Write(background, b, f.off(at)); err != nil {
			return err
		}
		wrote = true
		if sync {
			return h.Sync(background, c.rng.IntN(2) == 0)
		}
		return nil
	})
	c.gen++
	if wrote {
		f.acked()
	}
	if !c.fine(op) {
		f.crash()
		return
	}
	if sync {
		c.synced(f)
	}
}

// synced notes that a file is durable, and so is its name: its creation came before, in the same journal.
func (c *client) synced(f *file) {
	f.settle()
	n := &c.names
	if !n.known {
		return
	}
	for i := range n.hist {
		for _, id := range n.hist[i] {
			if id == f.id {
				n.hist = n.hist[i:]
				return
			}
		}
	}
}

func (c *client) syncFile(p *process) {
	f := c.anyFile()
	op := c.onFile(p, "sync", f, func(h fs.File) error { return h.Sync(background, false) })
	if c.fine(op) {
		c.gen++
		c.synced(f)
	}
}

// truncate cuts a file short, or makes it longer with nothing.
func (c *client) truncate(p *process) {
	f := c.anyFile()
	size := uint64(f.off(c.rng.IntN(cellsPerFile)))
	c.gen++
	f.size.begin(uint32(size))
	for i := range f.cells {
		if f.off(i) >= int64(size) && (f.cells[i].cur() != 0 || !f.cells[i].known) {
			f.cells[i].begin(0)
		}
	}
	op := p.call(fmt.Sprintf("%s truncate f%d to %d", c.name, f.id, size), func() error {
		return p.node.Volume().Setattr(background, fs.Caller{}, f.ino, fs.SetAttr{Size: &size}, func(fs.Attr) {})
	})
	c.gen++
	if c.fine(op) {
		f.acked()
	}
}

// readFile reads all of a file of one's own and compares with what may be there.
func (c *client) readFile(p *process, f *file) bool {
	b, n := make([]byte, f.limit()+sectorBytes), 0
	op := c.onFile(p, "read", f, func(h fs.File) error {
		return h.Read(background, b, 0, false, func(got int) { n = got })
	})
	if !c.fine(op) {
		return false
	}
	c.gen++
	c.w.stats.Verified++
	switch {
	case f.size.allows(uint32(n)):
		f.size.observe(uint32(n))
	case f.size.grownTo(uint32(n), c.w.opt.Cluster):
		f.size.observeGrown(uint32(n))
	default:
		c.w.judges.files.found("%s reads through %v f%d of %d bytes, must be %+v", c.name, p, f.id, n, f.size)
		return false
	}
	if err := f.eachCell(b[:n], func(i int, v uint32) error {
		if !f.cells[i].allows(v) {
			return fmt.Errorf("sector %d has version %d, must be %+v", i, v, f.cells[i])
		}
		f.cells[i].observe(v)
		return nil
	}); err != nil {
		c.w.judges.files.found("%s reads through %v f%d (inode %d, %d bytes): %v", c.name, p, f.id, f.ino, n, err)
		return false
	}
	return true
}

// eachCell calls fn with the version that b has in each sector of the file; what lies behind the end is 0. Sectors that
// the client never wrote must be zeros.
func (f *file) eachCell(b []byte, fn func(cell int, version uint32) error) error {
	cells := map[int64]int{}
	for i := range f.cells {
		cells[f.off(i)] = i
		if f.off(i) >= int64(len(b)) {
			if err := fn(i, 0); err != nil {
				return err
			}
		}
	}
	for at := 0; at+sectorBytes <= len(b); at += sectorBytes {
		s, err := readStamp(b[at:])
		if err != nil {
			return fmt.Errorf("at byte %d: %w", at, err)
		}
		i, ours := cells[int64(at)]
		if s != (stamp{}) && (!ours || s.client != f.c.id || s.file != f.id || int(s.cell) != i) {
			return fmt.Errorf("at byte %d: foreign content %+v", at, s)
		}
		if ours {
			if err := fn(i, s.version); err != nil {
				return err
			}
		}
	}
	return nil
}

// alive reports whether p still serves the client and is a member: nothing that it had can be gone.
func (c *client) alive(p *process) bool {
	return p == c.h.proc && p.usable() && p.lost == nil && c.w.members()[p.id.Slot] == p.id.Incarnation
}

// audit reads a file of another client, through this node. While its owner changes nothing, it must be what the owner
// knows; whoever reads it, no foreign or mixed content is there.
func (c *client) audit(p *process) {
	o := c.w.clients[c.rng.IntN(len(c.w.clients))]
	if o == c || o.doubt || !o.names.known || len(o.names.cur()) == 0 {
		return
	}
	ids := o.ids()
	f := o.files[ids[c.rng.IntN(len(ids))]]
	gen, owner := o.gen, o.last
	if f.ino == 0 {
		return
	}
	b, n := make([]byte, f.limit()+sectorBytes), 0
	op := c.onFile(p, fmt.Sprintf("audit %s", o.name), f, func(h fs.File) error {
		return h.Read(background, b, 0, false, func(got int) { n = got })
	}, fs.ErrStale, fs.ErrNotExist)
	if op.vanished || o.gen != gen {
		return
	}
	if op.err != nil {
		if op.expected(op.err) && o.alive(owner) {
			c.w.judges.files.found("%s finds through %v f%d of %s (inode %d) gone", c.name, p, f.id, o.name, f.ino)
		}
		return
	}
	c.w.stats.Verified++
	// A process that has died or was buried may have taken with it what was not durable.
	alive := o.alive(owner)
	right := func(r *register, v uint32) bool { return r.ever(v) && (!alive || r.allows(v)) }
	if !right(&f.size, uint32(n)) && !f.size.grownTo(uint32(n), c.w.opt.Cluster) {
		c.w.judges.files.found("%s reads through %v f%d of %s: %d bytes, must be %+v", c.name, p, f.id, o.name, n, f.size)
		return
	}
	if err := f.eachCell(b[:n], func(i int, v uint32) error {
		if !right(&f.cells[i], v) {
			return fmt.Errorf("sector %d has version %d, must be %+v", i, v, f.cells[i])
		}
		return nil
	}); err != nil {
		c.w.judges.files.found("%s reads through %v f%d of %s (inode %d, %d bytes): %v", c.name, p, f.id, o.name, f.ino, n, err)
	}
}
