package initiator

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/covol/covol/iscsi/pdu"
	"github.com/covol/covol/iscsi/scsi"
)

// link is a connection with a session.
type link struct {
	d      *Device
	portal string
	nc     net.Conn
	r      *pdu.Reader
	w      *pdu.Writer
	values pdu.Values // agreed
	peer   pdu.Values // declared by the target
	ctx    context.Context
	end    context.CancelCauseFunc
	woken  chan struct{} // holds one token while there may be work

	// GUARDED_BY(d.mu)
	probing bool // only operations that go first may be sent
	// GUARDED_BY(d.mu)
	sent map[uint32]*op
	// GUARDED_BY(d.mu)
	control []*outgoing
	// GUARDED_BY(d.mu)
	cmdSN, maxCmdSN, expStatSN, nextTag uint32
	// GUARDED_BY(d.mu)
	count uint64 // commands that were sent
	// GUARDED_BY(d.mu)
	heard time.Duration
	// GUARDED_BY(d.mu)
	pinged bool
	left   chan struct{} // closed when the logout is answered
	leave  sync.Once
}

// outgoing is a PDU to send; p is the operation whose data it carries.
type outgoing struct {
	pdu.PDU
	p *op
}

// Tags that are not those of commands.
const (
	pingTag   = 0xfffffff0
	logoutTag = 0xfffffff1
	maxTag    = 0x7fffffff
)

func (l *link) wake() {
	select {
	case l.woken <- struct{}{}:
	default:
	}
}

// fail ends the link; the first reason counts.
func (l *link) fail(why error) {
	l.end(why)
	_ = l.nc.Close()
}

func (l *link) why() error { return context.Cause(l.ctx) }

// run returns when the link has ended and nothing uses the buffers of its operations any more.
func (l *link) run() {
	stopWatch := l.watch()
	stop := context.AfterFunc(l.d.ctx, func() { l.fail(ErrClosed) })
	defer stop()
	var sending sync.WaitGroup
	sending.Go(l.send)
	if l.probing {
		l.d.o.Clock.Go("iscsi probe", l.prove)
	}
	l.fail(l.receive())
	sending.Wait()
	stopWatch()
}

// hasLocked reports whether p is on its way here.
func (l *link) hasLocked(p *op) bool {
	for _, q := range l.sent {
		if p == q {
			return true
		}
	}
	return false
}

// takeBackLocked returns the operations that were not answered, in the order in which they were sent.
func (l *link) takeBackLocked() []*op {
	tags := slices.Collect(maps.Keys(l.sent))
	slices.SortFunc(tags, func(a, b uint32) int { return cmp.Compare(l.sent[a].order, l.sent[b].order) })
	var all []*op
	for _, tag := range tags {
		p := l.sent[tag]
		p.using = 0
		all = append(all, p)
	}
	clear(l.sent)
	return all
}

// send puts control PDUs and operations on the wire.
func (l *link) send() {
	for {
		o, refused := l.next()
		for _, p := range refused {
			p.finish()
		}
		if o == nil {
			if err := l.w.Flush(); err != nil {
				l.fail(err)
				return
			}
			select {
			case <-l.ctx.Done():
				return
			case <-l.woken:
			}
			continue
		}
		err := l.w.Write(&o.PDU)
		if o.p != nil {
			l.written(o.p)
		}
		if err != nil {
			l.fail(err)
			return
		}
	}
}

// next returns what to send now, nil if there is nothing, and operations that must not be sent again.
func (l *link) next() (o *outgoing, refused []*op) {
	d := l.d
	d.mu.Lock()
	defer d.mu.Unlock()
	if l.ctx.Err() != nil {
		return nil, nil
	}
	if len(l.control) > 0 {
		o = l.control[0]
		l.control = l.control[1:]
		o.Set32(pdu.ExpStatSN, l.expStatSN)
		if o.Op() != pdu.OpDataOut {
			o.Set32(pdu.CmdSN, l.cmdSN)
		}
		return o, nil
	}
	for len(d.queue) > 0 && len(l.sent) < d.o.QueueDepth && !pdu.Less(l.maxCmdSN, l.cmdSN) && (!l.probing || d.queue[0].first) {
		p := d.queue[0]
		d.queue[0] = nil
		d.queue = d.queue[1:]
		d.mu.Unlock()
		p.err = d.admit(p)
		d.mu.Lock()
		if p.err != nil {
			refused = append(refused, p)
			continue
		}
		if l.ctx.Err() != nil {
			d.queue = append([]*op{p}, d.queue...)
			return nil, refused
		}
		return l.commandLocked(p), refused
	}
	return nil, refused
}

// commandLocked makes the SCSI Command of p (RFC 7143 11.3) with as much immediate data as was agreed.
func (l *link) commandLocked(p *op) *outgoing {
	flags := byte(pdu.Final | 1) // SIMPLE
	edtl := len(p.read)
	if len(p.write) > 0 {
		flags |= pdu.CommandWrite
		edtl = len(p.write)
	} else if edtl > 0 {
		flags |= pdu.CommandRead
	}
	for l.nextTag = (l.nextTag + 1) & maxTag; l.sent[l.nextTag] != nil; l.nextTag = (l.nextTag + 1) & maxTag {
	}
	o := &outgoing{PDU: pdu.PDU{Header: pdu.New(pdu.OpCommand, flags)}, p: p}
	o.Set(pdu.LUN, pdu.EncodeLUN(l.d.url.LUN))
	o.Set32(pdu.ITT, l.nextTag)
	o.Set32(pdu.EDTL, uint32(edtl))
	o.Set32(pdu.CmdSN, l.cmdSN)
	o.Set32(pdu.ExpStatSN, l.expStatSN)
	copy(o.CDB(), p.cdb)
	if l.values.Yes("ImmediateData") {
		o.Data = p.write[:min(len(p.write), l.values.Number("FirstBurstLength"), l.maxSend())]
	}
	l.cmdSN++
	l.count++
	p.sent, p.using, p.order, p.tag = true, 1, l.count, l.nextTag
	l.sent[l.nextTag] = p
	return o
}

// maxSend is the longest data segment that the target takes, in bytes.
func (l *link) maxSend() int {
	if n := l.peer.Number("MaxRecvDataSegmentLength"); n > 0 {
		return n
	}
	return 8192
}

// written says that a PDU with data of p is out.
func (l *link) written(p *op) {
	d := l.d
	d.mu.Lock()
	p.using--
	ready := p.answered && p.using == 0
	if ready {
		delete(l.sent, p.tag)
	}
	d.mu.Unlock()
	if ready && d.answer(p) {
		p.finish()
	}
}

// receive takes PDUs until the link breaks.
func (l *link) receive() error {
	for {
		h, _, err := l.r.Header()
		if errors.Is(err, io.EOF) {
			return errors.New("the target hung up")
		} else if err != nil {
			return fmt.Errorf("read header: %w", err)
		}
		l.note(h)
		if h.Op() == pdu.OpDataIn {
			err = l.dataIn(h)
		} else {
			err = l.other(h)
		}
		if err != nil {
			return err
		}
	}
}

// note takes the numbers that every PDU carries (RFC 7143 4.2.2).
func (l *link) note(h *pdu.Header) {
	d := l.d
	d.mu.Lock()
	defer d.mu.Unlock()
	l.heard, l.pinged = d.o.Clock.Now(), false
	if exp, most := h.U32(pdu.ExpCmdSN), h.U32(pdu.MaxCmdSN); !pdu.Less(most, exp-1) && pdu.Less(l.maxCmdSN, most) {
		l.maxCmdSN = most
		l.wake()
	}
	if h.Op() == pdu.OpDataIn && !h.Has(pdu.HasStatus) || h.Op() == pdu.OpR2T || h.Op() == pdu.OpNopIn && h.U32(pdu.ITT) == pdu.NoTag {
		return
	}
	l.expStatSN = h.U32(pdu.StatSN) + 1
}

func (l *link) find(h *pdu.Header) (*op, error) {
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	p := l.sent[h.U32(pdu.ITT)]
	if p == nil {
		return nil, fmt.Errorf("%w: %v for an unknown command", pdu.ErrMalformed, h.Op())
	}
	return p, nil
}

// dataIn takes data to where it belongs (RFC 7143 11.7).
func (l *link) dataIn(h *pdu.Header) error {
	p, err := l.find(h)
	if err != nil {
		return err
	}
	off, n := int(h.U32(pdu.BufferOffset)), l.r.DataLen()
	if off != p.got || n > len(p.read)-off {
		return fmt.Errorf("%w: %d bytes at %d of %d, %d are there", pdu.ErrMalformed, n, off, len(p.read), p.got)
	}
	if err := l.r.Data(p.read[off : off+n]); err != nil {
		return err
	}
	p.got += n
	if h.Has(pdu.HasStatus) {
		l.answered(h, p, nil)
	}
	return nil
}

// answered takes the status of p.
func (l *link) answered(h *pdu.Header, p *op, sense []byte) {
	d := l.d
	d.mu.Lock()
	p.status = scsi.Status(h.Get(pdu.Status))
	p.sense, p.hasSense = scsi.ParseSense(sense)
	p.answered = true
	ready := p.using == 0
	if ready {
		delete(l.sent, p.tag)
	}
	l.wake()
	d.mu.Unlock()
	if ready && d.answer(p) {
		p.finish()
	}
}

func (l *link) other(h *pdu.Header) error {
	data, err := l.r.All()
	if err != nil {
		return err
	}
	switch h.Op() {
	case pdu.OpResponse:
		return l.response(h, data)
	case pdu.OpR2T:
		return l.readyToTransfer(h)
	case pdu.OpNopIn:
		if h.U32(pdu.TTT) != pdu.NoTag {
			o := &outgoing{PDU: pdu.PDU{Header: pdu.New(pdu.OpNopOut, pdu.Final)}}
			o.SetImmediate()
			o.Set(pdu.LUN, h.Get(pdu.LUN))
			o.Set32(pdu.ITT, pdu.NoTag)
			o.Set(pdu.TTT, h.Get(pdu.TTT))
			l.queueControl(o)
		}
		return nil
	case pdu.OpLogoutReply:
		l.leave.Do(func() { close(l.left) })
		return nil
	case pdu.OpAsync:
		return fmt.Errorf("the target asks to leave, event %d", h.Get(pdu.AsyncEvent))
	case pdu.OpReject:
		return fmt.Errorf("the target rejects a PDU, reason %#x", h.Get(pdu.Reason))
	}
	return fmt.Errorf("%w: unexpected %v", pdu.ErrMalformed, h.Op())
}

func (l *link) response(h *pdu.Header, data []byte) error {
	p, err := l.find(h)
	if err != nil {
		return err
	}
	if r := h.Get(pdu.Response); r != pdu.ResponseComplete {
		return fmt.Errorf("the target failed a command, response %#x", r)
	}
	var sense []byte
	if len(data) >= 2 {
		n := int(binary.BigEndian.Uint16(data))
		sense = data[2:min(len(data), 2+n)]
	}
	l.answered(h, p, sense)
	return nil
}

// readyToTransfer sends the data that the target asks for (RFC 7143 11.8).
func (l *link) readyToTransfer(h *pdu.Header) error {
	p, err := l.find(h)
	if err != nil {
		return err
	}
	off, n := int(h.U32(pdu.BufferOffset)), int(h.U32(pdu.DesiredLength))
	if off > len(p.write) || n > len(p.write)-off || n == 0 {
		return fmt.Errorf("%w: asked for %d bytes at %d of %d", pdu.ErrMalformed, n, off, len(p.write))
	}
	var all []*outgoing
	for end := off + n; off < end; {
		m := min(end-off, l.maxSend())
		o := &outgoing{PDU: pdu.PDU{Header: pdu.New(pdu.OpDataOut, 0), Data: p.write[off : off+m]}, p: p}
		o.Set(pdu.LUN, h.Get(pdu.LUN))
		o.Set(pdu.ITT, h.Get(pdu.ITT))
		o.Set(pdu.TTT, h.Get(pdu.TTT))
		o.Set32(pdu.DataSN, uint32(len(all)))
		o.Set32(pdu.BufferOffset, uint32(off))
		off += m
		all = append(all, o)
	}
	all[len(all)-1].Header[1] |= pdu.Final
	l.d.mu.Lock()
	p.using += len(all)
	l.d.mu.Unlock()
	l.queueControl(all...)
	return nil
}

func (l *link) queueControl(all ...*outgoing) {
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	l.control = append(l.control, all...)
	l.wake()
}

// watch pings a silent target, and gives it up when that does not help.
func (l *link) watch() (stop func()) {
	d := l.d
	var mu sync.Mutex
	var cancel func() bool
	stopped := false
	every := max(d.o.PingTime/4, time.Millisecond)
	var look func()
	look = func() {
		if err := l.silent(); err != nil {
			l.fail(err)
		}
		mu.Lock()
		defer mu.Unlock()
		if !stopped {
			cancel = d.o.Clock.AfterFunc(every, look)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	cancel = d.o.Clock.AfterFunc(every, look)
	return func() {
		mu.Lock()
		defer mu.Unlock()
		stopped = true
		cancel()
	}
}

func (l *link) silent() error {
	d := l.d
	d.mu.Lock()
	silent := d.o.Clock.Now() - l.heard
	ping := silent > d.o.PingTime && !l.pinged
	l.pinged = l.pinged || ping
	d.mu.Unlock()
	if silent > 2*d.o.PingTime {
		return fmt.Errorf("the target has been silent for %s", silent)
	}
	if ping {
		o := &outgoing{PDU: pdu.PDU{Header: pdu.New(pdu.OpNopOut, pdu.Final)}}
		o.SetImmediate()
		o.Set32(pdu.ITT, pingTag)
		o.Set32(pdu.TTT, pdu.NoTag)
		l.queueControl(o)
	}
	return nil
}

// logout leaves and waits for the answer, but not for long.
func (l *link) logout() {
	o := &outgoing{PDU: pdu.PDU{Header: pdu.New(pdu.OpLogout, pdu.Final)}} // reason 0: close the session
	o.SetImmediate()
	o.Set32(pdu.ITT, logoutTag)
	l.queueControl(o)
	late := make(chan struct{})
	stop := l.d.o.Clock.AfterFunc(logoutTime, func() { close(late) })
	defer stop()
	select {
	case <-l.left:
	case <-l.ctx.Done():
	case <-late:
	}
}

const logoutTime = time.Second
