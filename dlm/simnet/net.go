package simnet

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/dlm"
	"github.com/covol/covol/dlm/wire"
)

// Faults says how badly the network behaves. The zero value loses, repeats and reorders nothing and is immediate.
type Faults struct {
	Drop      float64 // share of datagrams that are lost
	Duplicate float64 // share that arrives twice
	Spike     float64 // share that is delayed by up to SpikeTime, overtaken by later ones
	MinDelay  time.Duration
	MaxDelay  time.Duration
	SpikeTime time.Duration
}

// Net joins the nodes of one volume.
type Net struct {
	w      *World
	rng    *rand.Rand
	faults Faults
	cut    map[[2]view.Slot]bool
	ends   map[view.Slot]*Endpoint
	trace  func(from, to view.Slot, f wire.Frame, m wire.Message, fate string)
}

// NewNet makes a network without faults. Its chance is its own, drawn from seed.
func NewNet(w *World, seed uint64) *Net {
	return &Net{w: w, rng: rand.New(rand.NewPCG(seed, 0x51a)), cut: map[[2]view.Slot]bool{}, ends: map[view.Slot]*Endpoint{}}
}

// SetFaults changes the behaviour for what is sent from now on.
func (n *Net) SetFaults(f Faults) { n.faults = f }

// Cut loses everything that from sends to to from now on; the other way is another cut.
func (n *Net) Cut(from, to view.Slot) { n.cut[[2]view.Slot{from, to}] = true }

// Heal ends all cuts.
func (n *Net) Heal() { clear(n.cut) }

// Trace has f called for every datagram: when it is sent, with the fate it will have ("sent", "lost", "twice").
func (n *Net) Trace(f func(from, to view.Slot, f wire.Frame, m wire.Message, fate string)) {
	n.trace = f
}

// Endpoint is the transport of one life of a node.
type Endpoint struct {
	n      *Net
	slot   view.Slot
	handle func(from view.Slot, msg []byte)
	closed bool
}

var _ dlm.Transport = (*Endpoint)(nil)

// Join makes the transport of a new life in a slot. What is sent to the slot reaches this life from now on; the
// life before can go on sending, as a node does that was declared dead and does not know it.
func (n *Net) Join(s view.Slot) *Endpoint {
	e := &Endpoint{n: n, slot: s}
	n.ends[s] = e
	return e
}

// Send decides the fate of msg.
func (e *Endpoint) Send(to view.Slot, msg []byte) {
	n := e.n
	if e.closed {
		return
	}
	copies, fate := 1, "sent"
	switch {
	case n.cut[[2]view.Slot{e.slot, to}] || n.rng.Float64() < n.faults.Drop:
		copies, fate = 0, "lost"
	case n.rng.Float64() < n.faults.Duplicate:
		copies, fate = 2, "twice"
	}
	if n.trace != nil {
		f, rest, err := wire.DecodeFrame(msg)
		if err == nil {
			m, _ := wire.Decode(rest)
			n.trace(e.slot, to, f, m, fate)
		}
	}
	for range copies {
		n.w.Call(n.delay(), func() {
			if r := n.ends[to]; r != nil && !r.closed && r.handle != nil {
				r.handle(e.slot, slices.Clone(msg))
			}
		})
	}
}

func (n *Net) delay() time.Duration {
	d := n.faults.MinDelay
	if span := n.faults.MaxDelay - d; span > 0 {
		d += time.Duration(n.rng.Int64N(int64(span)))
	}
	if n.faults.SpikeTime > 0 && n.rng.Float64() < n.faults.Spike {
		d += time.Duration(n.rng.Int64N(int64(n.faults.SpikeTime)))
	}
	return d
}

// Handle names the receiver.
func (e *Endpoint) Handle(f func(from view.Slot, msg []byte)) { e.handle = f }

// SetMembers does nothing: a simulated network reaches everyone.
func (e *Endpoint) SetMembers([]view.Member) {}

// Close makes the endpoint deaf and dumb.
func (e *Endpoint) Close() error {
	e.closed = true
	return nil
}
