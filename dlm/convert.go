package dlm

// wouldDeadlock reports whether w, a conversion, waits for a holder that waits by conversions of this resource for
// w's own node. Only a new conversion can close such a ring: grants take their conversion out of the queue, and
// releases only remove what others wait for. So the check is made once, when a conversion is queued.
func (m *master) wouldDeadlock(w waiter) bool {
	wants := make(map[int]waiter, len(m.convert)+1) // by index of the holder
	self := -1
	for i, h := range m.holders {
		if h.node == w.node {
			self = i
			wants[i] = w
		}
		for _, q := range m.convert {
			if q.node == h.node {
				wants[i] = q
			}
		}
	}
	seen := make([]bool, len(m.holders))
	var waitsForSelf func(i int) bool
	waitsForSelf = func(i int) bool {
		q, waiting := wants[i]
		if !waiting || seen[i] {
			return false
		}
		seen[i] = true
		for j, h := range m.holders {
			if j == i || Compatible(q.want, h.mode) {
				continue
			}
			if j == self || waitsForSelf(j) {
				return true
			}
		}
		return false
	}
	return waitsForSelf(self)
}
