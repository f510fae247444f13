package target

import (
	"sync"
	"time"

	"github.com/covol/covol/iscsi/pdu"
)

// outgoing is a PDU that waits to be sent.
type outgoing struct {
	pdu.PDU
	sent func() // may be nil; called once it is written, or never will be
}

// sender puts PDUs on the wire in the order in which they were given to it.
type sender struct {
	w    *pdu.Writer
	c    *conn
	mu   sync.Mutex
	wake chan struct{} // holds one token while there is work
	// GUARDED_BY(mu)
	queue []*outgoing
	// GUARDED_BY(mu)
	statSN uint32
	// GUARDED_BY(mu)
	stopped bool
	// GUARDED_BY(mu)
	last bool // stop once the queue is empty
	// GUARDED_BY(mu)
	busy time.Duration // since when one write goes on, 0 if none does
}

// countsStatus are the opcodes that take a StatSN of their own; a Data-In does with its S bit, a NOP-In if it is an answer
// (RFC 7143 4.2.2.2).
var countsStatus = map[pdu.Opcode]bool{
	pdu.OpResponse: true, pdu.OpTaskReply: true, pdu.OpTextReply: true, pdu.OpLogoutReply: true, pdu.OpLoginReply: true,
	pdu.OpReject: true, pdu.OpAsync: true,
}

func counts(h *pdu.Header) bool {
	return countsStatus[h.Op()] || h.Op() == pdu.OpDataIn && h.Has(pdu.HasStatus) || h.Op() == pdu.OpNopIn && h.U32(pdu.ITT) != pdu.NoTag
}

// send queues PDUs.
func (s *sender) send(all ...*outgoing) {
	s.mu.Lock()
	stopped := s.stopped
	if !stopped {
		s.queue = append(s.queue, all...)
	}
	s.mu.Unlock()
	if stopped {
		drop(all)
		return
	}
	s.signal()
}

func (s *sender) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func drop(all []*outgoing) {
	for _, o := range all {
		if o.sent != nil {
			o.sent()
		}
	}
}

// finish makes run end once all that is queued is sent.
func (s *sender) finish() {
	s.mu.Lock()
	s.last = true
	s.mu.Unlock()
	s.signal()
}

// run sends until the connection ends.
func (s *sender) run() {
	defer s.stop()
	for {
		select {
		case <-s.c.ctx.Done():
			return
		case <-s.wake:
		}
		for {
			batch, last := s.take()
			if len(batch) == 0 {
				if err := s.flush(); err != nil || last {
					s.c.close(err)
					return
				}
				break
			}
			if err := s.write(batch); err != nil {
				s.c.close(err)
				return
			}
		}
	}
}

func (s *sender) take() (batch []*outgoing, last bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	batch, s.queue = s.queue, nil
	s.busy = s.c.t.o.Clock.Now()
	return batch, s.last
}

func (s *sender) flush() error {
	err := s.w.Flush()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy = 0
	return err
}

func (s *sender) write(batch []*outgoing) error {
	for i, o := range batch {
		s.stamp(&o.Header)
		err := s.w.Write(&o.PDU)
		if o.sent != nil {
			o.sent()
		}
		if err != nil {
			drop(batch[i+1:])
			return err
		}
	}
	return nil
}

// stamp fills in the numbers that all PDUs of a target carry.
func (s *sender) stamp(h *pdu.Header) {
	s.mu.Lock()
	h.Set32(pdu.StatSN, s.statSN)
	if counts(h) {
		s.statSN++
	} else if h.Op() == pdu.OpDataIn {
		h.Set32(pdu.StatSN, 0) // reserved without S (RFC 7143 11.7)
	}
	s.mu.Unlock()
	exp, most := s.c.window()
	h.Set32(pdu.ExpCmdSN, exp)
	h.Set32(pdu.MaxCmdSN, most)
}

// stalled is for how long the peer has taken nothing of what is being sent.
func (s *sender) stalled(now time.Duration) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy == 0 {
		return 0
	}
	return now - s.busy
}

func (s *sender) stop() {
	s.mu.Lock()
	left := s.queue
	s.queue, s.stopped = nil, true
	s.mu.Unlock()
	drop(left)
}
