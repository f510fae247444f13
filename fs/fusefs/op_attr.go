package fusefs

import (
	"time"

	"github.com/covol/covol/fs"
)

func (c *call) getattr() error {
	return c.s.cfg.FS.Getattr(c, c.s.ino(c.req.Node), func(a fs.Attr) {
		c.send(appendAttrOut(c.body[:0], a, c.s.cfg.AttrValid))
	})
}

func (c *call) setattr() error {
	return c.s.cfg.FS.Setattr(c, c.req.Caller, c.s.ino(c.req.Node), c.changes(), func(a fs.Attr) {
		c.send(appendAttrOut(c.body[:0], a, 0)) // trap 3
	})
}

// changes translates the bits of a SETATTR. UTIME_NOW is this host's clock at its finest: the kernel's own stamp is
// of the last tick, and would set a file's time back behind a write just made.
func (c *call) changes() fs.SetAttr {
	r := c.req
	var s fs.SetAttr
	has := func(bit uint32) bool { return r.Valid&bit != 0 }
	if has(SetMode) {
		mode := r.Mode & 0o7777
		s.Mode = &mode
	}
	if has(SetUID) {
		uid := r.UID
		s.UID = &uid
	}
	if has(SetGID) {
		gid := r.GID
		s.GID = &gid
	}
	if has(SetSize) {
		size := r.Size
		s.Size = &size
	}
	now := c.s.cfg.Now()
	s.Atime = pick(has(SetAtime), has(SetAtimeNow), r.Atime, now)
	s.Mtime = pick(has(SetMtime), has(SetMtimeNow), r.Mtime, now)
	s.Ctime = pick(has(SetCtime), false, r.Ctime, now)
	return s
}

func pick(set, setNow bool, t, now time.Time) *time.Time {
	switch {
	case setNow:
		return &now
	case set:
		return &t
	}
	return nil
}

func (c *call) statfs() error {
	st, err := c.s.cfg.FS.Statfs(c)
	if err == nil {
		c.send(appendStatfs(c.body[:0], st))
	}
	return err
}
