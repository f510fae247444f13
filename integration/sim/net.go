package sim

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/dlm"
)

// NetFaults says how badly the network behaves all the time.
type NetFaults struct {
	Drop      float64 // share of datagrams that are lost
	Duplicate float64 // share that arrives twice
	Spike     float64 // share that is delayed by up to SpikeTime, overtaken by later ones
	SpikeTime time.Duration
}

// network joins the hosts. Cuts are between hosts, whatever node runs there.
type network struct {
	w      *World
	rng    *rand.Rand
	faults NetFaults
	cut    map[[2]int]bool
	ends   map[wayTo]*endpoint
}

// wayTo is where a datagram goes: the newest life in the slot has it.
type wayTo struct {
	slot    view.Slot
	channel int
}

// The channels.
const (
	channelLocks = iota
	channelControl
)

func newNetwork(w *World, seed uint64) *network {
	return &network{w: w, rng: rand.New(rand.NewPCG(seed, 0x4e7)), cut: map[[2]int]bool{}, ends: map[wayTo]*endpoint{}}
}

func (n *network) heal() {
	clear(n.cut)
	n.faults = NetFaults{}
}

// endpoint is the transport of one life on one channel.
type endpoint struct {
	n       *network
	p       *process
	self    view.NodeID
	channel int
	handle  func(view.Slot, []byte)
	closed  bool
}

var _ dlm.Transport = (*endpoint)(nil)

func (n *network) join(p *process, self view.NodeID, channel int) *endpoint {
	e := &endpoint{n: n, p: p, self: self, channel: channel}
	n.ends[wayTo{self.Slot, channel}] = e
	return e
}

func (e *endpoint) Send(to view.Slot, msg []byte) {
	n := e.n
	if e.closed || e.p.clock.dead {
		return
	}
	copies := 1
	switch x := n.rng.Float64(); {
	case x < n.faults.Drop:
		copies = 0
	case x < n.faults.Drop+n.faults.Duplicate:
		copies = 2
	}
	for range copies {
		b := slices.Clone(msg)
		n.w.s.AfterFunc(n.delay(), func() { n.deliver(e, wayTo{to, e.channel}, b) })
	}
}

func (n *network) delay() time.Duration {
	d := 20*time.Microsecond + time.Duration(n.rng.Int64N(int64(300*time.Microsecond)))
	if n.faults.SpikeTime > 0 && n.rng.Float64() < n.faults.Spike {
		d += time.Duration(n.rng.Int64N(int64(n.faults.SpikeTime)))
	}
	return d
}

func (n *network) deliver(from *endpoint, way wayTo, msg []byte) {
	to := n.ends[way]
	if to == nil || to.closed || to.p.clock.dead || n.cut[[2]int{from.p.host.i, to.p.host.i}] {
		return
	}
	to.p.clock.thaw()
	if !to.closed && to.handle != nil {
		n.w.stats.Messages++
		to.handle(from.self.Slot, msg)
	}
}

func (e *endpoint) Handle(f func(view.Slot, []byte)) { e.handle = f }

// SetMembers does nothing: the simulated network reaches everyone.
func (e *endpoint) SetMembers([]view.Member) {}

func (e *endpoint) Close() error {
	e.closed = true
	return nil
}
