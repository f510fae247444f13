package sim

import "time"

// cutFor cuts the ways that are given for a while.
func (w *World) cutFor(what string, ways [][2]int) bool {
	if len(ways) == 0 {
		return false
	}
	w.event("cut: %s %v", what, ways)
	for _, c := range ways {
		w.net.cut[c] = true
	}
	w.forAWhile(2 * w.sb.Profile.Wait())
	for _, c := range ways {
		delete(w.net.cut, c)
	}
	w.event("healed: %s %v", what, ways)
	return true
}

func (w *World) pair() (a, b int) {
	a = w.disturb.IntN(len(w.hosts))
	b = (a + 1 + w.disturb.IntN(len(w.hosts)-1)) % len(w.hosts)
	return a, b
}

// cutOneWay loses what one host sends to another.
func cutOneWay(w *World) bool {
	a, b := w.pair()
	return w.cutFor("one way", [][2]int{{a, b}})
}

// cutPair loses what two hosts send to each other.
func cutPair(w *World) bool {
	a, b := w.pair()
	return w.cutFor("both ways", [][2]int{{a, b}, {b, a}})
}

// isolate cuts one host off all others; each has its turn.
func isolate(w *World) bool {
	a := w.stats.Faults["isolate"] % len(w.hosts)
	var ways [][2]int
	for b := range w.hosts {
		if b != a {
			ways = append(ways, [2]int{a, b}, [2]int{b, a})
		}
	}
	return w.cutFor("isolated", ways)
}

// split parts the hosts in two groups.
func split(w *World) bool {
	side := make([]bool, len(w.hosts))
	for i := range side {
		side[i] = w.disturb.IntN(2) == 0
	}
	var ways [][2]int
	for a := range w.hosts {
		for b := range w.hosts {
			if side[a] != side[b] {
				ways = append(ways, [2]int{a, b})
			}
		}
	}
	return w.cutFor("split", ways)
}

// netStorm loses, repeats and delays much of what is sent.
func netStorm(w *World) bool {
	before := w.net.faults
	w.net.faults = NetFaults{Drop: w.disturb.Float64() * 0.5, Duplicate: w.disturb.Float64() * 0.3, Spike: w.disturb.Float64(), SpikeTime: time.Duration(1+w.disturb.IntN(1000)) * time.Millisecond}
	w.event("storm: %+v", w.net.faults)
	w.forAWhile(2 * w.sb.Profile.Wait())
	if !w.calm {
		w.net.faults = before
	}
	return true
}
