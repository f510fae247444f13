package dlm_test

import (
	"errors"
	"fmt"
	"hash"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/dlm"
	"github.com/covol/covol/dlm/simnet"
	"github.com/covol/covol/dlm/wire"
)

// sim is one run: the nodes, what disturbs them (simfaults_test.go) and who judges them (judge_test.go).
type sim struct {
	seed  uint64
	rng   *rand.Rand
	w     *simnet.World
	net   *simnet.Net
	judge *judge
	seen  coverage
	hash  hash.Hash64
	logf  func(string, ...any)
	trace []string
	err   error

	view      view.View // the truth, as on disk
	nodes     map[view.NodeID]*simNode
	next      map[view.Slot]view.Incarnation
	slots     int
	resources []dlm.Resource
	calming   bool // faults are over
	final     bool // the last view is made
	issued    uint64

	viewEvery, viewLate time.Duration // at most between views, and until a node learns of one
}

// simNode is one life of a node with a user on top, who asks, holds, gives way and gives up.
type simNode struct {
	s       *sim
	id      view.NodeID
	core    *dlm.Core
	end     *simnet.Endpoint
	timer   func() bool
	dead    bool // crashed: takes no more events
	leaving bool
	left    bool
	held    map[dlm.Resource]dlm.Grant
	pending map[uint64]*simRequest
}

type simRequest struct {
	id        uint64
	res       dlm.Resource
	mode      dlm.Mode
	since     time.Duration
	cancelled bool
}

func newSim(seed uint64, logf func(string, ...any)) *sim {
	w := simnet.NewWorld(seed)
	s := &sim{
		seed: seed, rng: rand.New(rand.NewPCG(seed, 7)), w: w, net: simnet.NewNet(w, seed), hash: fnv.New64a(), logf: logf,
		nodes: map[view.NodeID]*simNode{}, next: map[view.Slot]view.Incarnation{},
	}
	s.judge = newJudge(s)
	s.slots = 2 + s.rng.IntN(7)
	for i := range 1 + s.rng.IntN(6) {
		s.resources = append(s.resources, dlm.Resource{Kind: dlm.Inode, ID: uint64(i)})
	}
	s.net.Trace(func(from, to view.Slot, f wire.Frame, m wire.Message, fate string) {
		switch m.(type) {
		case nil:
		case *wire.Ready, *wire.Register, *wire.Markers, *wire.Claims: // long, and often sent again
			s.note("%d→%d e%d #%d %s %s", from, to, f.Epoch, f.Seq, fate, describe(m))
		default:
			s.note("%d→%d e%d #%d %s %s %+v", from, to, f.Epoch, f.Seq, fate, m.Kind(), m)
		}
	})
	return s
}

func (s *sim) note(format string, args ...any) {
	line := fmt.Sprintf("%v ", s.w.Now()) + fmt.Sprintf(format, args...)
	s.hash.Write([]byte(line))
	if s.logf != nil {
		s.logf("%s", line)
		return
	}
	if s.trace = append(s.trace, line); len(s.trace) > 400 {
		s.trace = s.trace[200:]
	}
}

func (s *sim) fail(format string, args ...any) {
	if s.err == nil {
		s.err = fmt.Errorf("seed %#x: %v: ", s.seed, s.w.Now())
		s.err = fmt.Errorf("%w%s\nlast events:\n%s", s.err, fmt.Sprintf(format, args...), strings.Join(s.trace, "\n"))
	}
}

func (s *sim) run() error {
	defer s.w.Close()
	s.begin()
	ok := func() bool { return s.err == nil }
	turbulence := min(max(2*time.Second, 20*s.viewEvery), 12*time.Second)
	if !s.w.RunWhile(turbulence, ok) {
		return s.err
	}
	s.calm()
	if !s.w.RunWhile(turbulence+calm, func() bool { return ok() && !s.quiet() }) && s.err != nil {
		return s.err
	}
	s.judge.answered()
	s.giveUpAll()
	s.w.RunWhile(s.w.Now()+10*time.Second, ok)
	s.judge.nothingLeft()
	return s.err
}

// quiet reports whether every request is answered.
func (s *sim) quiet() bool {
	if !s.final {
		return false
	}
	for _, n := range s.alive() {
		if len(n.pending) > 0 || n.core.CurrentView().Epoch != s.view.Epoch {
			return false
		}
	}
	return true
}

// alive are the members that run and are in the present view, in order.
func (s *sim) alive() []*simNode {
	var all []*simNode
	for _, m := range s.view.Members {
		if n := s.nodes[m.NodeID]; n != nil && !n.dead {
			all = append(all, n)
		}
	}
	return all
}

func (s *sim) boot(slot view.Slot) *simNode {
	s.next[slot]++
	id := view.NodeID{Slot: slot, Incarnation: s.next[slot]}
	n := &simNode{s: s, id: id, core: dlm.NewCore(id), end: s.net.Join(slot), held: map[dlm.Resource]dlm.Grant{}, pending: map[uint64]*simRequest{}}
	n.end.Handle(func(from view.Slot, msg []byte) { n.step(dlm.EvFrame{From: from, Data: msg}) })
	s.nodes[id] = n
	s.w.Call(s.upTo(20*time.Millisecond), n.act)
	return n
}

func (s *sim) upTo(d time.Duration) time.Duration { return time.Duration(s.rng.Int64N(int64(d))) }

func (n *simNode) step(ev dlm.Event) {
	if n.dead {
		return
	}
	for _, e := range n.core.Step(n.s.w.Now(), ev, nil) {
		n.do(e)
	}
	if st := n.core.Stats(); st.Unexpected+st.Malformed > 0 {
		n.s.fail("node %v met what the protocol does not allow: %d unexpected, %d malformed", n.id, st.Unexpected, st.Malformed)
	}
}

func (n *simNode) do(e dlm.Effect) {
	s := n.s
	switch e := e.(type) {
	case dlm.EffSend:
		n.end.Send(e.To, e.Data)
	case dlm.EffTimer:
		if n.timer != nil {
			n.timer()
		}
		n.timer = s.w.Call(e.At-s.w.Now(), func() { n.step(dlm.EvTimer{}) })
	case dlm.EffGrant:
		n.granted(e)
	case dlm.EffRefuse:
		s.note("%v refused %d %v: %v", n.id, e.ID, e.Res, e.Err)
		q := n.pending[e.ID]
		delete(n.pending, e.ID)
		switch {
		case q == nil:
			s.fail("%v: request %d answered twice", n.id, e.ID)
		case errors.Is(e.Err, dlm.ErrDeadlock):
			s.seen.hit(caseDeadlock)
			s.w.Call(s.upTo(50*time.Millisecond), func() { n.lower(e.Res, dlm.NL) })
		case errors.Is(e.Err, dlm.ErrBusy):
			s.seen.hit(caseBusy)
		case e.Err == nil && !q.cancelled:
			s.fail("%v: request %d was not cancelled", n.id, e.ID)
		}
	case dlm.EffBlocking:
		s.note("%v blocks %v on %v", n.id, e.Want, e.Res)
		s.seen.hit(caseBlocking)
		s.w.Call(s.upTo(100*time.Millisecond), func() { n.giveWay(e.Res, e.Want) })
	case dlm.EffRebuilt:
		s.note("%v rebuilt %d", n.id, e.Epoch)
	case dlm.EffLeft:
		n.left = true
	}
}

func (n *simNode) granted(e dlm.EffGrant) {
	s := n.s
	s.note("%v granted %d %v %v token %#x value %x %v", n.id, e.ID, e.Res, e.Grant.Mode, e.Grant.Token, e.Grant.Value, e.Grant.ValueValid)
	q := n.pending[e.ID]
	delete(n.pending, e.ID)
	if q == nil || q.cancelled {
		s.fail("%v: grant of %d, which was cancelled or answered before", n.id, e.ID)
		return
	}
	if !e.Grant.Mode.Covers(q.mode) {
		s.fail("%v: asked %v of %v, got %v", n.id, q.mode, e.Res, e.Grant.Mode)
	}
	s.judge.granted(n, e)
	n.held[e.Res] = e.Grant
}

// act is the user: now and then it asks, converts, cancels or gives up something.
func (n *simNode) act() {
	s := n.s
	if n.dead || n.leaving || s.calming {
		return
	}
	s.w.Call(time.Millisecond+s.upTo(60*time.Millisecond), n.act)
	r := s.resources[s.rng.IntN(len(s.resources))]
	switch x := s.rng.IntN(10); {
	case x < 6:
		n.ask(r)
	case x < 9:
		if g := n.held[r]; g.Mode != dlm.NL {
			n.lower(r, dlm.Mode(s.rng.IntN(int(g.Mode)+1)))
		}
	default:
		for _, id := range slices.Sorted(mapsKeys(n.pending)) {
			n.cancel(n.pending[id])
			return
		}
	}
}

func (n *simNode) ask(r dlm.Resource) {
	s := n.s
	if len(n.pending) > 8 {
		return
	}
	s.issued++
	m := []dlm.Mode{dlm.CR, dlm.CW, dlm.PR, dlm.PR, dlm.PW, dlm.EX, dlm.EX}[s.rng.IntN(7)]
	q := &simRequest{id: s.issued, res: r, mode: m, since: s.w.Now()}
	n.pending[q.id] = q
	s.note("%v asks %d %v %v", n.id, q.id, r, m)
	n.step(dlm.EvLock{ID: q.id, Res: r, Mode: m, NoQueue: s.rng.IntN(8) == 0})
	if s.rng.IntN(10) == 0 {
		s.w.Call(s.upTo(20*time.Millisecond), func() { n.cancel(q) })
	}
}

func (n *simNode) cancel(q *simRequest) {
	if n.dead || n.pending[q.id] != q || q.cancelled {
		return
	}
	n.s.seen.hit(caseCancel)
	n.s.note("%v cancels %d", n.id, q.id)
	q.cancelled = true
	before := n.core.Stats().Received[wire.KindGrant]
	n.step(dlm.EvCancel{ID: q.id, Res: q.res})
	if n.pending[q.id] != nil {
		n.s.fail("%v: cancel of %d was not answered", n.id, q.id)
	}
	n.s.w.Call(100*time.Millisecond, func() {
		if !n.dead && n.core.Stats().Received[wire.KindGrant] > before {
			n.s.seen.hit(caseCancelGrant)
		}
	})
}

// lower gives up what is above m; a writer leaves a new value block, mostly.
func (n *simNode) lower(r dlm.Resource, m dlm.Mode) {
	s := n.s
	g := n.held[r]
	if n.dead || g.Mode == dlm.NL || !g.Mode.Covers(m) || n.leaving && n.left {
		return
	}
	var value []byte
	if g.Mode.Writes() && s.rng.IntN(4) > 0 {
		value = fmt.Appendf([]byte{}, "%v.%d.%d", n.id, s.issued, s.rng.IntN(1000))
		if s.rng.IntN(10) == 0 {
			value = []byte{}
		}
	}
	s.note("%v lowers %v to %v value %x", n.id, r, m, value)
	s.judge.lowered(n, r, m, value)
	g.Mode = m
	n.held[r] = g
	n.step(dlm.EvDowngrade{Res: r, Mode: m, Value: value})
}

// giveWay makes room for want.
func (n *simNode) giveWay(r dlm.Resource, want dlm.Mode) {
	for m := n.held[r].Mode; ; m-- {
		if n.held[r].Mode.Covers(m) && dlm.Compatible(m, want) {
			if m != n.held[r].Mode {
				n.lower(r, m)
			}
			return
		}
	}
}

func (s *sim) giveUpAll() {
	for _, n := range s.alive() {
		for _, r := range s.resources {
			n.lower(r, dlm.NL)
		}
	}
}
