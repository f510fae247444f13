package fusefs

import "github.com/covol/covol/fs"

func (c *call) lookup() error {
	return c.s.cfg.FS.Lookup(c, c.req.Caller, c.s.ino(c.req.Node), c.req.Name,
		func(a fs.Attr) { c.entry(a, c.s.cfg.AttrValid) })
}

// newEntry answers operations that make a name. The kernel applies what they tell without asking whether a
// notification has overtaken it, so the attributes are not valid beyond the reply (trap 3).
func (c *call) newEntry(a fs.Attr) { c.entry(a, 0) }

func (c *call) mknod() error {
	r := c.req
	return c.s.cfg.FS.Mknod(c, r.Caller, c.s.ino(r.Node), r.Name, r.Mode, r.Rdev, c.newEntry)
}

func (c *call) mkdir() error {
	r := c.req
	return c.s.cfg.FS.Mkdir(c, r.Caller, c.s.ino(r.Node), r.Name, r.Mode, c.newEntry)
}

func (c *call) symlink() error {
	r := c.req
	return c.s.cfg.FS.Symlink(c, r.Caller, c.s.ino(r.Node), r.Name, r.Target, c.newEntry)
}

func (c *call) link() error {
	r := c.req
	return c.s.cfg.FS.Link(c, r.Caller, c.s.ino(r.NewNode), c.s.ino(r.Node), r.Name, c.newEntry)
}

// end answers an operation that has nothing to tell but its success.
func (c *call) end(err error) error {
	if err == nil {
		c.ok()
	}
	return err
}

func (c *call) unlink() error {
	return c.end(c.s.cfg.FS.Unlink(c, c.req.Caller, c.s.ino(c.req.Node), c.req.Name))
}

func (c *call) rmdir() error {
	return c.end(c.s.cfg.FS.Rmdir(c, c.req.Caller, c.s.ino(c.req.Node), c.req.Name))
}

func (c *call) rename() error {
	r := c.req
	return c.end(c.s.cfg.FS.Rename(c, r.Caller, c.s.ino(r.Node), r.Name, c.s.ino(r.NewNode), r.NewName, r.Flags))
}

func (c *call) readlink() error {
	target, err := c.s.cfg.FS.Readlink(c, c.s.ino(c.req.Node))
	if err == nil {
		c.send([]byte(target))
	}
	return err
}
