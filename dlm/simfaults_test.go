package dlm_test

import (
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/dlm/simnet"

	"github.com/covol/covol/dlm"
)

func mapsKeys[K comparable, V any](m map[K]V) iter.Seq[K] { return maps.Keys(m) }

// begin starts some nodes, the network's faults and the changes of views.
func (s *sim) begin() {
	s.net.SetFaults(s.drawFaults())
	s.viewEvery = []time.Duration{50 * time.Millisecond, 300 * time.Millisecond, time.Second, 3 * time.Second}[s.rng.IntN(4)]
	s.viewLate = []time.Duration{2 * time.Millisecond, 50 * time.Millisecond, 300 * time.Millisecond, 1500 * time.Millisecond}[s.rng.IntN(4)]
	v := view.View{Epoch: 1}
	for slot := range view.Slot(1 + s.rng.IntN(s.slots)) {
		v.Members = append(v.Members, view.Member{NodeID: s.boot(slot).id})
	}
	s.publish(v)
	s.w.Call(s.upTo(2*time.Second), s.changeNetwork)
	s.w.Call(s.upTo(2*time.Second), s.changeView)
}

func (s *sim) drawFaults() simnet.Faults {
	f := simnet.Faults{MinDelay: 50 * time.Microsecond, MaxDelay: time.Millisecond + s.upTo(20*time.Millisecond)}
	if s.rng.IntN(3) > 0 {
		f.Drop, f.Duplicate, f.Spike = s.rng.Float64()*0.2, s.rng.Float64()*0.2, s.rng.Float64()*0.1
		f.SpikeTime = time.Second
	}
	return f
}

func (s *sim) changeNetwork() {
	if s.calming {
		return
	}
	s.net.Heal()
	if s.rng.IntN(2) == 0 {
		for range 1 + s.rng.IntN(3) {
			s.net.Cut(view.Slot(s.rng.IntN(s.slots)), view.Slot(s.rng.IntN(s.slots)))
		}
	}
	s.net.SetFaults(s.drawFaults())
	s.w.Call(100*time.Millisecond+s.upTo(2*time.Second), s.changeNetwork)
}

// publish makes v the truth at once and tells every node of it after a time of its own, so that nodes are in
// different views at one instant and skip some.
func (s *sim) publish(v view.View) {
	slices.SortFunc(v.Members, func(a, b view.Member) int { return int(a.Slot) - int(b.Slot) })
	slices.SortFunc(v.Recovering, func(a, b view.NodeID) int {
		return int(a.Slot)<<16 + int(a.Incarnation) - int(b.Slot)<<16 - int(b.Incarnation)
	})
	s.note("view %d members %v recovering %v", v.Epoch, v.Members, v.Recovering)
	s.view = v
	s.judge.published(v)
	late := s.viewLate
	if s.rng.IntN(4) == 0 {
		late = 5 * time.Millisecond
	}
	for _, id := range slices.SortedFunc(mapsKeys(s.nodes), compareIDs) {
		n := s.nodes[id]
		s.w.Call(s.upTo(late), func() { n.learn(v) })
	}
}

func compareIDs(a, b view.NodeID) int {
	return int(a.Slot)<<16 + int(a.Incarnation) - int(b.Slot)<<16 - int(b.Incarnation)
}

func (n *simNode) learn(v view.View) {
	if n.dead {
		return
	}
	cur := n.core.CurrentView().Epoch
	if cur != 0 && v.Epoch > cur+1 && v.Has(n.id) {
		n.s.seen.hit(caseSkipped)
	}
	n.step(dlm.EvView{View: v})
	if !v.Has(n.id) && v.Epoch > cur && cur != 0 {
		n.kill() // a real node withdraws
	}
}

func (n *simNode) kill() {
	n.dead = true
	n.end.Close()
}

// changeView draws some of: deaths, clean leaves, joins, ends of recoveries; they make one new view together.
func (s *sim) changeView() {
	if s.calming {
		return
	}
	s.w.Call(5*time.Millisecond+s.upTo(s.viewEvery), s.changeView)
	v := view.View{Epoch: s.view.Epoch + 1, Members: slices.Clone(s.view.Members), Recovering: slices.Clone(s.view.Recovering)}
	changed := false
	for range 1 + s.rng.IntN(3) {
		switch s.rng.IntN(7) {
		case 0:
			changed = s.recoverOne(&v) || changed
		case 1:
			changed = s.killOne(&v) || changed
		case 2:
			s.leaveOne()
		case 3, 4, 5:
			changed = s.joinOne(&v) || changed
		}
	}
	for i := 0; i < len(v.Members); i++ {
		if n := s.nodes[v.Members[i].NodeID]; n.left && !n.dead && len(v.Members) > 1 {
			s.seen.hit(caseLeave)
			s.note("%v has left", n.id)
			v.Members = slices.Delete(v.Members, i, i+1)
			changed, i = true, i-1
		}
	}
	if changed && len(v.Members) > 0 {
		if !slices.ContainsFunc(v.Members, func(m view.Member) bool { return s.view.Has(m.NodeID) }) {
			s.seen.hit(caseTotalLoss)
		}
		s.publish(v)
	}
}

func (s *sim) recoverOne(v *view.View) bool {
	if len(v.Recovering) == 0 {
		return false
	}
	i := s.rng.IntN(len(v.Recovering))
	id := v.Recovering[i]
	if s.view.Has(id) {
		return false // declared dead in this very view
	}
	s.seen.hit(caseRecovered)
	s.nodes[id].kill() // fenced at the latest
	v.Recovering = slices.Delete(v.Recovering, i, i+1)
	return true
}

func (s *sim) killOne(v *view.View) bool {
	if len(v.Members) < 2 {
		return false
	}
	i := s.rng.IntN(len(v.Members))
	n := s.nodes[v.Members[i].NodeID]
	s.seen.hit(caseDeath)
	if len(s.view.Recovering) > 0 {
		s.seen.hit(caseSecondDeath)
	}
	if s.rng.IntN(3) == 0 {
		s.seen.hit(caseZombie)
		s.w.Call(s.upTo(3*time.Second), n.kill)
	} else {
		n.kill()
	}
	v.Members = slices.Delete(v.Members, i, i+1)
	v.Recovering = append(v.Recovering, n.id)
	return true
}

func (s *sim) leaveOne() {
	nodes := s.alive()
	if len(nodes) == 0 {
		return
	}
	n := nodes[s.rng.IntN(len(nodes))]
	if n.leaving || n.core.CurrentView().Epoch == 0 {
		return
	}
	n.leaving = true
	s.note("%v leaves", n.id)
	for _, r := range s.resources {
		n.lower(r, dlm.NL)
	}
	n.step(dlm.EvLeave{})
}

func (s *sim) joinOne(v *view.View) bool {
	var free []view.Slot
	for slot := range view.Slot(s.slots) {
		if _, taken := v.Member(slot); !taken {
			free = append(free, slot)
		}
	}
	if len(free) == 0 {
		return false
	}
	n := s.boot(free[s.rng.IntN(len(free))])
	s.seen.hit(caseJoin)
	v.Members = append(v.Members, view.Member{NodeID: n.id})
	slices.SortFunc(v.Members, func(a, b view.Member) int { return int(a.Slot) - int(b.Slot) })
	return true
}

// calm ends all faults: the network is good, everyone dead is recovered, everyone learns the last view.
func (s *sim) calm() {
	s.note("calm")
	s.calming = true
	s.net.Heal()
	s.net.SetFaults(simnet.Faults{MinDelay: 50 * time.Microsecond, MaxDelay: time.Millisecond})
	v := view.View{Epoch: s.view.Epoch + 1}
	v.Recovering = slices.Clone(s.view.Recovering)
	for _, m := range s.view.Members {
		if n := s.nodes[m.NodeID]; n.dead {
			v.Recovering = append(v.Recovering, m.NodeID)
		} else {
			v.Members = append(v.Members, m)
		}
	}
	if len(v.Recovering) > 0 {
		s.publish(v)
		v = view.View{Epoch: v.Epoch + 1, Members: slices.Clone(v.Members)}
	}
	s.w.Call(s.upTo(5*time.Second), func() {
		for _, id := range s.view.Recovering {
			s.nodes[id].kill()
		}
		s.publish(v)
		s.final = true
	})
	for _, n := range s.alive() {
		for _, r := range s.resources { // a user that holds forever without being asked is no fault of the manager
			if g := n.held[r]; g.Mode != dlm.NL {
				s.w.Call(s.upTo(time.Second), func() { n.lower(r, dlm.NL) })
			}
		}
	}
}
