package sim

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// client is a program on one host. It has files of its own, of which it knows what must be there, and uses the shared
// ones too. One operation at a time.
type client struct {
	w    *World
	h    *Host
	id   uint32
	name string
	rng  *rand.Rand
	last *process // that served the latest operation

	files map[uint32]*file
	names names
	next  uint32 // id of the next file
	doubt bool   // look at everything before going on
	gen   int    // counts changes, for those who look at the files from elsewhere
}

func newClient(w *World, h *Host) *client {
	id := uint32(len(w.clients) + 1)
	c := &client{w: w, h: h, id: id, name: fmt.Sprintf("client%d@%s", id, h.name), rng: rand.New(rand.NewPCG(w.seed, 0xc11e<<16|uint64(id))),
		files: map[uint32]*file{}, names: newNames()}
	w.clients = append(w.clients, c)
	return c
}

// run works until the world is idle.
func (c *client) run() {
	w := c.w
	w.working++
	defer func() { w.working-- }()
	for !w.idle {
		_ = w.s.Sleep(background, time.Duration(c.rng.ExpFloat64()*float64(w.opt.Pace)))
		p := c.h.proc
		if p == nil || !p.usable() {
			continue
		}
		c.meet(p)
		if c.doubt {
			c.look(p)
			continue
		}
		c.step(p)
	}
}

// meet notices that the process is another one: what was not durable may be gone.
func (c *client) meet(p *process) {
	if c.last == p {
		return
	}
	if c.last != nil {
		if c.last.left {
			c.settleAll()
		} else {
			c.crashed()
		}
	}
	c.last = p
}

func (c *client) crashed() {
	c.gen++
	c.doubt = true
	c.names.crash()
	for _, f := range c.files {
		f.crash()
	}
}

// settleAll makes everything durable.
func (c *client) settleAll() {
	c.gen++
	c.names.settle()
	for _, f := range c.files {
		f.settle()
	}
	c.forget()
}

// forget drops the models of files that no name can lead to any more.
func (c *client) forget() {
	used := map[uint32]bool{}
	for _, s := range c.names.hist {
		for _, id := range s {
			used[id] = true
		}
	}
	for id := range c.files {
		if !used[id] {
			delete(c.files, id)
		}
	}
}

// step does one operation.
func (c *client) step(p *process) {
	has := len(c.names.cur()) > 0
	switch n := c.rng.IntN(100); {
	case n < 10 || !has:
		c.create(p)
	case n < 35:
		c.write(p)
	case n < 45:
		c.readFile(p, c.anyFile())
	case n < 52:
		c.syncFile(p)
	case n < 55:
		c.truncate(p)
	case n < 60:
		c.rename(p)
	case n < 64:
		c.unlink(p)
	case n < 68:
		c.syncNames(p)
	case n < 70:
		c.syncAll(p)
	case n < 73:
		c.list(p)
	case n < 79:
		c.audit(p)
	case n < 92:
		c.useShared(p)
	default:
		c.useName(p)
	}
}

// look finds out what is there after a crash or an error.
func (c *client) look(p *process) bool {
	if !c.list(p) {
		return false
	}
	for _, id := range c.ids() {
		if !c.readFile(p, c.files[id]) {
			return false
		}
	}
	c.doubt = false
	return true
}
