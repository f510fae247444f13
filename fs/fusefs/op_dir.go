package fusefs

import (
	"syscall"

	"github.com/covol/covol/fs"
)

func (c *call) opendir() error {
	ino := c.s.ino(c.req.Node)
	d, err := c.s.cfg.FS.OpenDir(c, ino)
	if err != nil {
		return err
	}
	c.send(appendOpen(c.body[:0], c.s.handles.add(&handle{ino: ino, dir: d}), 0))
	return nil
}

// readdir answers READDIR. The kernel caches none of it, so it need not be sent under the directory's lock.
func (c *call) readdir() error {
	h, err := c.s.handles.dir(c.req.Handle)
	if err != nil {
		return err
	}
	if c.req.Length < 0 || c.req.Length > maxTransfer {
		return syscall.EINVAL
	}
	buf := c.reply.Buffer(int(c.req.Length))
	used, full := 0, false
	err = h.dir.Read(c, uint64(c.req.Offset), func(e fs.DirEntry) bool {
		n := putDirent(buf[used:], e)
		used += n
		full = n == 0
		return !full
	})
	if err != nil {
		return err
	}
	if full && used == 0 {
		return syscall.EINVAL // an empty answer would mean the end of the directory
	}
	c.data(used)
	return nil
}

func (c *call) fsyncdir() error {
	h, err := c.s.handles.dir(c.req.Handle)
	if err != nil {
		return err
	}
	return c.end(h.dir.Sync(c))
}
