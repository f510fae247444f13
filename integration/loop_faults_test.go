package integration

import (
	"time"

	"golang.org/x/sys/unix"
)

// faultKind is something that happens to a cluster. strike lets it happen and end; nodes may be out afterwards.
type faultKind struct {
	name   string
	strike func(*round)
}

var faultKinds = []faultKind{
	{"kill-one", func(r *round) { killSome(r, 1) }},
	{"kill-two", func(r *round) { killSome(r, 2) }},
	{"kill-all", func(r *round) { killSome(r, 3) }},
	{"kill-recoverer", killRecoverer},
	{"stop-long", stopLong},
	{"stop-short", stopShort},
	{"net-cut", func(r *round) { cutOff(r, cutBoth) }},
	{"net-deaf", func(r *round) { cutOff(r, cutIn) }},
	{"net-dumb", func(r *round) { cutOff(r, cutOut) }},
	{"net-partial", func(r *round) { cutOff(r, cutPair) }},
	{"net-each", isolateEach},
	{"disk-hang", func(r *round) { untilEvicted(r, "all", "any hang") }},
	{"disk-hang-data", func(r *round) { untilEvicted(r, "data", "any hang") }},
	{"beat-hang", func(r *round) { untilEvicted(r, "beat", "any hang") }},
	{"beat-error", func(r *round) { untilEvicted(r, "beat", "caw error") }},
	{"disk-hold-short", diskHoldShort},
	{"disk-slow", func(r *round) { forAWhile(r, "data", "any delay 50ms") }},
	{"write-error", func(r *round) { forAWhile(r, "data", "write error") }},
	{"write-error-once", func(r *round) { forAWhile(r, "data", "write error once") }},
	{"flush-error", func(r *round) { forAWhile(r, "data", "flush error once") }},
	{"read-error", func(r *round) { forAWhile(r, "data", "read error") }},
}

// killSome kills nodes at once. Those that live take over before the dead come back.
func killSome(r *round, k int) {
	dead := r.pick(k)
	r.kill(dead...)
	r.takenOver(dead...)
}

// killRecoverer kills a second node while the first is being recovered, or close to it.
func killRecoverer(r *round) {
	first := r.one()
	r.kill(first)
	watcher := r.others()[r.rng.IntN(2)]
	began := time.Now()
	r.eventually("recovery begins", func() bool {
		s, err := watcher.ask()
		if err != nil {
			return false
		}
		for _, m := range s.Cluster.Members {
			if m.Name == first.name && (m.Recovering || !m.Member) {
				return true
			}
		}
		return time.Since(began) > r.times.Wait()+5*time.Second // it was over before we looked
	})
	second := r.one2(first)
	r.kill(second)
	r.takenOver(first, second)
}

// one2 chooses another node than the first.
func (r *round) one2(first *node) *node {
	left := r.others()
	n := left[r.rng.IntN(len(left))]
	r.hit[n] = true
	return n
}

// stopLong freezes a node until the others have gone on without it, and thaws it.
func stopLong(r *round) {
	n := r.one()
	n.signal(unix.SIGSTOP)
	r.evicted(n)
	r.last(r.between(0, 2*time.Second))
	n.signal(unix.SIGCONT)
	r.withdrawn(n)
}

// stopShort freezes a node for less than its lease.
func stopShort(r *round) {
	n := r.one()
	n.signal(unix.SIGSTOP)
	r.last(r.between(r.times.Heartbeat, r.times.Lease/2))
	n.signal(unix.SIGCONT)
}

// cutOff cuts a node off the network for a while. The disk is there for all: the others put out the one that they cannot
// talk to and go on.
func cutOff(r *round, how cut) {
	n := r.one()
	r.net.cut(n.number(), how)
	if how == cutPair { // either end may have to go
		r.hit[r.nodes[r.net.next(n.number())-1]] = true
	}
	r.last(r.between(time.Second, 2*r.times.Wait()))
	r.net.heal(n.number())
	r.reconnect()
}

// reconnect waits until a healed network has either joined the nodes again or cost one its place: what is lost is sent
// again with growing pauses, and whoever was silent for a lease is put out.
func (r *round) reconnect() { r.last(r.times.Lease + time.Second) }

// isolateEach cuts off each node in turn.
func isolateEach(r *round) {
	for _, n := range r.pick(3) {
		r.net.cut(n.number(), cutBoth)
		r.last(r.between(time.Second, r.times.Wait()))
		r.net.heal(n.number())
		r.last(r.between(0, time.Second))
	}
	r.reconnect()
}

// untilEvicted lets a path of a node fail until the others have gone on without it.
func untilEvicted(r *round, path, rules string) {
	n := r.one()
	n.faults(path, rules)
	r.evicted(n)
	r.last(r.between(0, 2*time.Second))
	n.faults("all", "")
	r.withdrawn(n)
}

// diskHoldShort holds a node's I/O back for less than the bound of one I/O.
func diskHoldShort(r *round) {
	n := r.one()
	n.faults("all", "any hold")
	r.last(r.between(r.times.IOBound/4, r.times.IOBound*3/4))
	n.faults("all", "")
}

// forAWhile lets a path of a node fail for some time. Whether the node withdraws depends on what was hit.
func forAWhile(r *round, path, rules string) {
	n := r.one()
	n.faults(path, rules)
	r.last(r.between(time.Second, 3*time.Second))
	n.faults("all", "")
}
