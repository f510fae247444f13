package sim

import "slices"

// register is what is known of a value that crashes may take back: what is durable, what was written since, in order,
// and whether the last of it is what is there now.
type register struct {
	durable uint32
	later   []uint32
	known   bool
}

// cur is what is there now, if it is known.
func (r *register) cur() uint32 {
	if len(r.later) > 0 {
		return r.later[len(r.later)-1]
	}
	return r.durable
}

// begin notes a write that is about to be made; until settled it is not known.
func (r *register) begin(v uint32) {
	r.later = append(r.later, v)
	r.known = false
}

// crash forgets what is there, if it may have been taken back.
func (r *register) crash() {
	if len(r.later) > 0 {
		r.known = false
	}
}

// allows reports whether v may be there now.
func (r *register) allows(v uint32) bool {
	if r.known {
		return v == r.cur()
	}
	return v == r.durable || slices.Contains(r.later, v)
}

// grownTo reports whether v may be there because a write that made the value grow has stopped on its way, which it may do
// at a multiple of step: it takes space, and makes the file longer, in pieces.
func (r *register) grownTo(v, step uint32) bool {
	if r.known || v%step != 0 {
		return false
	}
	last := r.durable
	for _, l := range r.later {
		if last < v && v < l {
			return true
		}
		last = l
	}
	return false
}

// observeGrown notes that it is so. What came before may still come back in a crash.
func (r *register) observeGrown(v uint32) {
	last := r.durable
	for i, l := range r.later {
		if last < v && v < l {
			r.later, r.known = append(r.later[:i:i], v), true
			return
		}
		last = l
	}
}

// ever reports whether v may have been there at any time since it was made durable.
func (r *register) ever(v uint32) bool { return v == r.durable || slices.Contains(r.later, v) }

// observe notes what is there. What was written after it is gone for good.
func (r *register) observe(v uint32) {
	keep := 0
	for i, l := range r.later {
		if l == v {
			keep = i + 1
		}
	}
	r.later, r.known = r.later[:keep], true
}

// settle makes what is there durable.
func (r *register) settle() {
	if r.known {
		r.durable, r.later = r.cur(), nil
	}
}
