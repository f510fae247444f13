package fusefs

import (
	"syscall"

	"github.com/covol/covol/fs"
)

// maxTransfer bounds what a request may ask for, bytes; the kernel itself stays far below.
const maxTransfer = 16 << 20

// newHandle enters an open file and says how the kernel shall read and write through it.
func (s *Server) newHandle(ino fs.Ino, f fs.File, flags uint32) (id uint64, openFlags uint32) {
	h := &handle{ino: ino, file: f, append: flags&syscall.O_APPEND != 0}
	h.cached = flags&syscall.O_ACCMODE == syscall.O_RDONLY && flags&syscall.O_DIRECT == 0
	if !h.cached {
		return s.handles.add(h), openDirect | openParallelWrites
	}
	s.nodes.addReader(ino, 1)
	return s.handles.add(h), openKeepCache
}

func (c *call) open() error {
	ino := c.s.ino(c.req.Node)
	f, err := c.s.cfg.FS.Open(c, c.req.Caller, ino, c.req.Flags)
	if err != nil {
		return err
	}
	id, flags := c.s.newHandle(ino, f, c.req.Flags)
	c.send(appendOpen(c.body[:0], id, flags))
	return nil
}

func (c *call) create() error {
	r := c.req
	return c.s.cfg.FS.Create(c, r.Caller, c.s.ino(r.Node), r.Name, r.Mode, r.Flags, func(a fs.Attr, f fs.File) {
		if c.answered.Load() {
			c.first()
			return
		}
		c.s.nodes.ref(a.Ino)
		id, flags := c.s.newHandle(a.Ino, f, r.Flags)
		b := appendEntry(c.body[:0], c.s.node(a.Ino), a, 0) // trap 3
		c.send(appendOpen(b, id, flags))
	})
}

func (c *call) read() error {
	r := c.req
	h, err := c.s.handles.file(r.Handle)
	if err != nil {
		return err
	}
	if r.Offset < 0 || r.Length < 0 || r.Length > maxTransfer {
		return syscall.EINVAL
	}
	if r.Page {
		c.s.nodes.markPages(h.ino)
	}
	return h.file.Read(c, c.reply.Buffer(int(r.Length)), r.Offset, r.Page, c.data)
}

func (c *call) write() error {
	r := c.req
	h, err := c.s.handles.file(r.Handle)
	if err != nil {
		return err
	}
	if r.Offset < 0 {
		return syscall.EINVAL
	}
	n, err := h.file.Write(c, r.Data, r.Offset)
	if n > 0 {
		c.s.wroteDirect(h, r.Offset, n)
	}
	if err != nil && n <= 0 {
		return err
	}
	c.send(appendWrite(c.body[:0], n)) // a short count: the error comes back with the rest
	if h.append {
		// The kernel believes that the write went to its own idea of the end.
		return c.s.InvalidateAttr(h.ino)
	}
	return nil
}

func (c *call) fsync() error {
	h, err := c.s.handles.file(c.req.Handle)
	if err != nil {
		return err
	}
	return c.end(h.file.Sync(c, c.req.Flags&1 != 0))
}

func (c *call) fallocate() error {
	r := c.req
	h, err := c.s.handles.file(r.Handle)
	if err != nil {
		return err
	}
	if r.Offset < 0 || r.Length <= 0 {
		return syscall.EINVAL
	}
	if err := h.file.Allocate(c, r.Flags, r.Offset, r.Length); err != nil {
		return err
	}
	c.s.wroteDirect(h, r.Offset, int(r.Length))
	c.ok()
	return nil
}

// release answers RELEASE and RELEASEDIR. The kernel does not wait for it.
func (c *call) release() error {
	h := c.s.handles.remove(c.req.Handle)
	if h == nil {
		return syscall.EBADF
	}
	c.s.release(c, h)
	c.ok()
	return nil
}
