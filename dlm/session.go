package dlm

import (
	"slices"
	"time"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/dlm/wire"
)

// Limits and times of a session. A lock message is late after retransmitMin; acknowledgements ride on the answer
// where there is one within ackDelay.
const (
	sessionWindow = 256 // messages sent and not acknowledged, and messages kept out of order
	retransmitMin = 250 * time.Millisecond
	retransmitMax = time.Second
	ackDelay      = 20 * time.Millisecond
	ackEvery      = 64
	earlyPerPeer  = 2 * sessionWindow
)

// session makes the transport between two lives of two nodes into a sequence without loss or repetition. It starts
// empty at both ends: an incarnation is never used twice, so no handshake is needed. It outlives view changes, and
// a message that was not acknowledged before is sent again with the new epoch (PROTOCOL.md, S1-S3).
type session struct {
	peer view.NodeID

	next   uint64   // number of the next message given to send
	out    [][]byte // messages not acknowledged; the last has number next-1
	sent   int      // how many of out went out at least once
	resend time.Duration
	rto    time.Duration

	in      uint64            // every message up to this number was delivered
	ahead   map[uint64][]byte // later ones, at most sessionWindow
	ackAt   time.Duration     // when an acknowledgement is due; 0: none
	unacked int
}

func newSession(peer view.NodeID) *session {
	return &session{peer: peer, next: 1, rto: retransmitMin, ahead: map[uint64][]byte{}}
}

func (s *session) first() uint64 { return s.next - uint64(len(s.out)) }

// sendOn queues message m for s and transmits it if the window has room.
func (c *Core) sendOn(s *session, m []byte) {
	s.out = append(s.out, m)
	s.next++
	c.pump(s)
}

// pump transmits what the window allows and was not transmitted yet.
func (c *Core) pump(s *session) {
	for s.sent < len(s.out) && s.sent < sessionWindow {
		if s.sent == 0 {
			s.resend = c.now + s.rto
		}
		c.frame(s, s.first()+uint64(s.sent), s.out[s.sent])
		s.sent++
	}
}

// frame emits one datagram, which acknowledges as well.
func (c *Core) frame(s *session, seq uint64, message []byte) {
	b := make([]byte, 0, wire.FrameSize+len(message))
	b = wire.AppendFrame(b, &wire.Frame{From: c.id, To: s.peer.Incarnation, Epoch: c.view.Epoch, Seq: seq, Ack: s.in})
	c.effect(EffSend{To: s.peer.Slot, Data: append(b, message...)})
	s.ackAt, s.unacked = 0, 0
}

// receive takes a datagram in. Frames of an older epoch, of another life or from a stranger are refused; those of
// a newer epoch wait for its view (C3).
func (c *Core) receive(from view.Slot, data []byte) {
	f, message, err := wire.DecodeFrame(data)
	if err != nil {
		c.stats.Malformed++
		return
	}
	if f.From.Slot != from || f.To != c.id.Incarnation || f.Epoch < c.view.Epoch {
		c.stats.Refused++
		return
	}
	if f.Epoch > c.view.Epoch {
		c.keepEarly(from, data)
		return
	}
	s := c.session(f.From)
	if s == nil {
		c.stats.Refused++
		return
	}
	c.acknowledged(s, f.Ack)
	if f.Seq != 0 {
		c.arrived(s, f.Seq, message)
	}
}

func (c *Core) keepEarly(from view.Slot, data []byte) {
	n := 0
	for _, e := range c.early {
		if e.From == from {
			n++
		}
	}
	if n < earlyPerPeer {
		c.early = append(c.early, EvFrame{From: from, Data: data})
	}
}

func (c *Core) acknowledged(s *session, ack uint64) {
	first := s.first()
	if ack < first || ack >= first+uint64(s.sent) {
		return // nothing new, or more than was ever sent
	}
	n := int(ack - first + 1)
	clear(s.out[:n])
	s.out = s.out[n:]
	s.sent -= n
	s.rto = retransmitMin
	s.resend = c.now + s.rto
	c.pump(s)
}

func (c *Core) arrived(s *session, seq uint64, message []byte) {
	switch {
	case seq <= s.in: // repeated: our acknowledgement was lost
		s.ackAt = c.now
		return
	case seq > s.in+sessionWindow:
		return
	case seq > s.in+1:
		s.ahead[seq] = message
		s.ackAt = c.now + ackDelay
		return
	}
	for {
		s.in++
		delete(s.ahead, s.in)
		s.unacked++
		if s.ackAt == 0 {
			s.ackAt = c.now + ackDelay
		}
		if s.unacked >= ackEvery {
			s.ackAt = c.now
		}
		c.decoded(s.peer, message)
		var ok bool
		if message, ok = s.ahead[s.in+1]; !ok {
			return
		}
	}
}

func (c *Core) decoded(from view.NodeID, message []byte) {
	m, err := wire.Decode(message)
	if err != nil {
		c.stats.Malformed++
		return
	}
	c.stats.Received[m.Kind()]++
	c.deliver(from, m)
}

// sessionTimers sends acknowledgements that are due and repeats what was not acknowledged in time.
func (c *Core) sessionTimers() {
	for _, s := range c.sessions {
		if s.sent > 0 && s.resend <= c.now {
			s.rto = min(2*s.rto, retransmitMax)
			c.repeat(s, 32)
		}
		if s.ackAt != 0 && s.ackAt <= c.now {
			c.frame(s, 0, nil)
		}
	}
}

// repeat transmits the oldest messages again, at most n.
func (c *Core) repeat(s *session, n int) {
	s.resend = c.now + s.rto
	for i := range min(n, s.sent) {
		c.stats.Retransmits++
		c.frame(s, s.first()+uint64(i), s.out[i])
	}
}

func (s *session) deadline() time.Duration {
	d := s.ackAt
	if s.sent > 0 && (d == 0 || s.resend < d) {
		d = s.resend
	}
	return d
}

func (c *Core) session(id view.NodeID) *session {
	i, ok := slices.BinarySearchFunc(c.sessions, id.Slot, func(s *session, slot view.Slot) int { return int(s.peer.Slot) - int(slot) })
	if !ok || c.sessions[i].peer != id {
		return nil
	}
	return c.sessions[i]
}

// resetSessions drops the sessions of lives that are gone, begins those of new members, and sends what survives
// again under the new epoch.
func (c *Core) resetSessions() {
	old := c.sessions
	c.sessions = nil
	for _, m := range c.view.Members {
		if m.NodeID == c.id {
			continue
		}
		i := slices.IndexFunc(old, func(s *session) bool { return s.peer == m.NodeID })
		if i < 0 {
			c.sessions = append(c.sessions, newSession(m.NodeID))
			continue
		}
		c.sessions = append(c.sessions, old[i])
	}
	for _, s := range c.sessions {
		s.rto = retransmitMin
		c.repeat(s, sessionWindow)
	}
}

// feedEarly takes in the frames that were waiting for this view.
func (c *Core) feedEarly() {
	early := c.early
	c.early = nil
	for _, e := range early {
		c.receive(e.From, e.Data)
	}
}
