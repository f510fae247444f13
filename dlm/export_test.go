package dlm

import "github.com/covol/covol/cluster/view"

// Sizes are how many locks, masterships and directory entries a core keeps.
func (c *Core) Sizes() (locks, masters, entries int) { return len(c.locks), len(c.masters), len(c.dir) }

// Masters reports whether the core masters r.
func (c *Core) Masters(r Resource) bool { return c.masters[r] != nil }

// Record is the mode that the core, as the master of r, has recorded for n.
func (c *Core) Record(r Resource, n view.NodeID) (Mode, bool) {
	if m := c.masters[r]; m != nil {
		if h := m.holder(n); h != nil {
			return h.mode, true
		}
	}
	return NL, false
}

// Keeper is the node that keeps the directory entry of r in the core's view.
func (c *Core) Keeper(r Resource) view.NodeID { return c.keeper(r) }

// CurrentView is the view the core is in.
func (c *Core) CurrentView() view.View { return c.view }
