package target

import (
	"context"
	"fmt"
	"time"

	"github.com/covol/covol/iscsi/pdu"
	"github.com/covol/covol/iscsi/scsi"
)

// task is a SCSI command on its way.
type task struct {
	c         *conn
	h         *pdu.Header
	cdb       []byte
	lun       int
	edtl      int    // bytes that the initiator expects to move
	want      int    // bytes of data from the initiator that the command takes and the initiator has
	full      int    // bytes that the command would take
	buf       []byte // data from the initiator
	ctx       context.Context
	cancel    context.CancelFunc
	ended     chan struct{} // closed when it does not run and will not
	collected chan struct{} // closed when all data is there
	// Of the data that was asked for; the reader's, but for since.
	tag, r2tSN, dataSN uint32
	burst, got         int           // the end of what was asked for, and of what came
	since              time.Duration // GUARDED_BY(c.mu), of the last progress
	aborted            bool          // GUARDED_BY(c.mu)
}

// command begins a SCSI command (RFC 7143 11.3).
func (c *conn) command(h *pdu.Header, ahs []byte) error {
	n := c.r.DataLen()
	k := &task{c: c, h: h, lun: pdu.DecodeLUN(h.Get(pdu.LUN)), edtl: int(h.U32(pdu.EDTL)), ended: make(chan struct{}), collected: make(chan struct{})}
	switch {
	case c.discovery:
		return c.reject(h, pdu.RejectProtocol)
	case n > 0 && !h.Has(pdu.CommandWrite), n > c.values.Number("FirstBurstLength"), n > k.edtl, n > 0 && !c.values.Yes("ImmediateData"):
		return fmt.Errorf("%w: %d bytes of immediate data, flags %#x, %d expected", pdu.ErrMalformed, n, h[1], k.edtl)
	case !h.Has(pdu.Final):
		return fmt.Errorf("%w: data that was not asked for will follow", pdu.ErrMalformed)
	}
	var err error
	if k.cdb, err = pdu.FullCDB(h, ahs); err != nil {
		return err
	}
	if k.full = c.t.o.Server.DataOut(k.lun, k.cdb); h.Has(pdu.CommandWrite) {
		k.want = min(k.full, k.edtl)
	}
	k.buf = c.t.alloc(n)
	if err := c.r.Data(k.buf); err != nil {
		return err
	}
	k.got = min(n, k.want)
	return c.start(k)
}

// start gives the task a goroutine of its own. Immediate commands are not held back by the window, so they are bounded here.
func (c *conn) start(k *task) error {
	k.ctx, k.cancel = context.WithCancel(c.ctx)
	itt := k.h.U32(pdu.ITT)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tasks[itt] != nil {
		return fmt.Errorf("%w: task tag %#x is in use", pdu.ErrMalformed, itt)
	}
	if len(c.tasks) >= 2*c.t.o.QueueDepth {
		return fmt.Errorf("%w: more than %d commands at once", pdu.ErrTooLong, len(c.tasks))
	}
	c.tasks[itt] = k
	c.commands.Add(1)
	c.running.Go(k.run)
	return nil
}

// run takes the task from memory over data and execution to its answer.
func (k *task) run() {
	c := k.c
	defer close(k.ended)
	defer k.cancel()
	need := int64(max(k.want, min(k.edtl, maxReply)))
	need = min(need, c.t.o.Memory)
	if c.t.memory.Acquire(k.ctx, need) != nil {
		c.done(k)
		return
	}
	release := func() { c.t.memory.Release(need) }
	if !k.collect() || k.ctx.Err() != nil {
		release()
		c.done(k)
		return
	}
	c.written.Add(uint64(k.want))
	res := c.t.o.Server.Execute(k.ctx, k.lun, &scsi.Command{Nexus: c.nexus, CDB: k.cdb, Out: k.buf[:k.want], Expected: k.expected(), Alloc: c.t.alloc})
	c.t.free(k.buf)
	if c.done(k) {
		c.read.Add(uint64(len(res.In)))
		c.respond(k, res, release)
	} else {
		release()
	}
}

// maxReply bounds what is set aside for data to the initiator, in bytes: no unit has longer transfers.
const maxReply = 4 << 20

// expected is how many bytes the initiator would send.
func (k *task) expected() int {
	if k.h.Has(pdu.CommandWrite) {
		return k.edtl
	}
	return 0
}

// done takes the task off the books and reports whether it is to be answered.
func (c *conn) done(k *task) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.tasks, k.h.U32(pdu.ITT))
	delete(c.waiting, k.tag)
	if !k.h.Immediate() {
		c.active--
	}
	return !k.aborted
}

// collect asks for data that did not come with the command, and reports whether all is there.
func (k *task) collect() bool {
	if k.got >= k.want {
		return true
	}
	whole := k.c.t.alloc(k.want)
	copy(whole, k.buf[:k.got])
	k.buf = whole
	k.ask()
	select {
	case <-k.collected:
		return true
	case <-k.ctx.Done():
		return false
	}
}

// ask sends a Ready To Transfer for the next burst (RFC 7143 11.8).
func (k *task) ask() {
	c := k.c
	n := min(k.want-k.got, c.values.Number("MaxBurstLength"))
	k.burst, k.dataSN = k.got+n, 0
	o := &outgoing{PDU: pdu.PDU{Header: pdu.New(pdu.OpR2T, pdu.Final)}}
	o.Set(pdu.LUN, k.h.Get(pdu.LUN))
	o.Set(pdu.ITT, k.h.Get(pdu.ITT))
	o.Set32(pdu.R2TSN, k.r2tSN)
	o.Set32(pdu.BufferOffset, uint32(k.got))
	o.Set32(pdu.DesiredLength, uint32(n))
	k.r2tSN++
	c.mu.Lock()
	delete(c.waiting, k.tag)
	for c.lastTag++; c.lastTag == pdu.NoTag || c.waiting[c.lastTag] != nil; c.lastTag++ {
	}
	k.tag, k.since = c.lastTag, c.t.o.Clock.Now()
	if !k.aborted {
		c.waiting[k.tag] = k
	}
	o.Set32(pdu.TTT, k.tag)
	c.mu.Unlock()
	c.out.send(o)
}

// dataOut takes data that was asked for (RFC 7143 11.7). Data of a task that was aborted is thrown away.
func (c *conn) dataOut(h *pdu.Header) error {
	n := c.r.DataLen()
	c.mu.Lock()
	k := c.waiting[h.U32(pdu.TTT)]
	if k != nil {
		k.since = c.t.o.Clock.Now()
	}
	c.mu.Unlock()
	if k == nil {
		if h.U32(pdu.TTT) == pdu.NoTag {
			return fmt.Errorf("%w: data that was not asked for", pdu.ErrMalformed)
		}
		_, err := c.r.All()
		return err
	}
	off := int(h.U32(pdu.BufferOffset))
	last := k.got+n == k.burst
	if h.U32(pdu.ITT) != k.h.U32(pdu.ITT) || off != k.got || n > k.burst-k.got || h.U32(pdu.DataSN) != k.dataSN || h.Has(pdu.Final) != last {
		return fmt.Errorf("%w: %d bytes at %d, number %d, final %v; want them at %d up to %d, number %d", pdu.ErrMalformed, n, off,
			h.U32(pdu.DataSN), h.Has(pdu.Final), k.got, k.burst, k.dataSN)
	}
	if err := c.r.Data(k.buf[off : off+n]); err != nil {
		return err
	}
	k.got += n
	k.dataSN++
	switch {
	case !last:
	case k.got == k.want:
		c.mu.Lock()
		delete(c.waiting, k.tag)
		c.mu.Unlock()
		close(k.collected)
	default:
		k.ask()
	}
	return nil
}

// dataStalled reports whether data that was asked for does not come.
func (c *conn) dataStalled(now time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range c.waiting {
		if now-k.since > c.t.o.StallTime {
			return true
		}
	}
	return false
}
