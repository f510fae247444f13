package fusefs

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/covol/covol/fs"
)

// call is a request being served. It is the context of its operation: cancelled by INTERRUPT or by the end of the
// connection, and free of charge as long as nobody asks for Done.
type call struct {
	s        *Server
	req      *Request
	reply    Reply
	answered atomic.Bool
	body     [entrySize + openSize]byte // room for the small replies

	mu sync.Mutex
	// GUARDED_BY(mu)
	done chan struct{}
	// GUARDED_BY(mu)
	err error
}

var _ context.Context = (*call)(nil)

func (c *call) Deadline() (time.Time, bool) { return time.Time{}, false }

func (c *call) Value(any) any { return nil }

func (c *call) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		c.done = make(chan struct{})
		if c.err != nil {
			close(c.done)
		}
	}
	return c.done
}

func (c *call) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func (c *call) cancel() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = context.Canceled
	if c.done != nil {
		close(c.done)
	}
}

// first reports whether this is the first answer; a second one would confuse the kernel and is dropped.
func (c *call) first() bool {
	if c.answered.Swap(true) {
		c.s.cfg.Log.Error("fuse: request answered twice", "op", c.req.Op, "node", c.req.Node)
		return false
	}
	return true
}

func (c *call) ok() {
	if c.first() {
		c.reply.Error(0)
	}
}

func (c *call) send(body []byte) {
	if c.first() {
		c.reply.Body(body)
	}
}

func (c *call) data(n int) {
	if c.first() {
		c.reply.Data(n)
	}
}

// entry answers with a name's node. The reference is counted before the kernel can know of it, so that there is no
// moment at which the kernel holds an inode that the table does not (trap 4).
func (c *call) entry(a fs.Attr, valid time.Duration) {
	if c.answered.Load() {
		c.first()
		return
	}
	c.s.nodes.ref(a.Ino)
	c.send(appendEntry(c.body[:0], c.s.node(a.Ino), a, valid))
}

// calls are the requests in flight, by ID. IDs of the kernel are even and grow.
type calls struct {
	shard [16]struct {
		mu sync.Mutex
		// GUARDED_BY(mu)
		m map[uint64]*call
	}
}

func (cs *calls) init() {
	for i := range cs.shard {
		cs.shard[i].m = make(map[uint64]*call)
	}
}

func (cs *calls) add(c *call) {
	sh := &cs.shard[c.req.ID/2%uint64(len(cs.shard))]
	sh.mu.Lock()
	sh.m[c.req.ID] = c
	sh.mu.Unlock()
}

func (cs *calls) remove(id uint64) {
	sh := &cs.shard[id/2%uint64(len(cs.shard))]
	sh.mu.Lock()
	delete(sh.m, id)
	sh.mu.Unlock()
}

// get is the request in flight with that ID, nil if there is none.
func (cs *calls) get(id uint64) *call {
	sh := &cs.shard[id/2%uint64(len(cs.shard))]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.m[id]
}

// all are the requests in flight.
func (cs *calls) all() []*call {
	var list []*call
	for i := range cs.shard {
		sh := &cs.shard[i]
		sh.mu.Lock()
		for _, c := range sh.m {
			list = append(list, c)
		}
		sh.mu.Unlock()
	}
	return list
}

func (cs *calls) cancelAll() {
	for i := range cs.shard {
		sh := &cs.shard[i]
		sh.mu.Lock()
		for _, c := range sh.m {
			c.cancel()
		}
		sh.mu.Unlock()
	}
}
