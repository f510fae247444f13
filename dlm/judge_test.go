package dlm_test

import (
	"bytes"
	"slices"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/dlm"
)

// judge sees only what users see: grants, downgrades, deaths and published views.
type judge struct {
	s   *sim
	res map[dlm.Resource]*judged
}

type judged struct {
	holds []hold
	// highest token seen for each mode, so that a later conflicting grant can be compared.
	highest [dlm.EX + 1]uint64
	tokens  map[uint64]view.NodeID
	value   []byte
	valid   bool
}

type hold struct {
	node  view.NodeID
	mode  dlm.Mode
	token uint64
}

func newJudge(s *sim) *judge { return &judge{s: s, res: map[dlm.Resource]*judged{}} }

func (j *judge) of(r dlm.Resource) *judged {
	d := j.res[r]
	if d == nil {
		d = &judged{tokens: map[uint64]view.NodeID{}}
		j.res[r] = d
	}
	return d
}

// counts reports whether what n does is still seen: not after its recovery, which fenced it first.
func (j *judge) counts(id view.NodeID) bool { return j.s.view.Has(id) || j.s.view.IsRecovering(id) }

// granted judges D1, D2 and the value block.
func (j *judge) granted(n *simNode, e dlm.EffGrant) {
	if !j.counts(n.id) {
		return
	}
	d := j.of(e.Res)
	g := e.Grant
	i := slices.IndexFunc(d.holds, func(h hold) bool { return h.node == n.id })
	if i >= 0 && d.holds[i].token == g.Token {
		j.s.seen.hit(caseCached)
		if d.holds[i].mode != g.Mode {
			j.s.fail("%v: %v token %#x came with %v and with %v", n.id, e.Res, g.Token, d.holds[i].mode, g.Mode)
		}
		return
	}
	j.tokens(n, e.Res, d, g)
	if i < 0 {
		d.holds = append(d.holds, hold{node: n.id})
		i = len(d.holds) - 1
	}
	d.holds[i].mode, d.holds[i].token = g.Mode, g.Token
	for _, o := range d.holds {
		if o.node != n.id && !dlm.Compatible(o.mode, g.Mode) {
			j.s.fail("D1: %v holds %v in %v while %v holds it in %v", n.id, e.Res, g.Mode, o.node, o.mode)
		}
	}
	if n.core.Masters(e.Res) == false {
		j.s.seen.hit(caseRemote)
	}
	j.value(n, e.Res, d, g)
}

func (j *judge) tokens(n *simNode, r dlm.Resource, d *judged, g dlm.Grant) {
	if o, twice := d.tokens[g.Token]; twice {
		j.s.fail("D2: %v token %#x for %v was given to %v before", r, g.Token, n.id, o)
	}
	d.tokens[g.Token] = n.id
	for m := dlm.CR; m <= dlm.EX; m++ {
		if !dlm.Compatible(m, g.Mode) && d.highest[m] >= g.Token {
			j.s.fail("D2: %v %v for %v has token %#x, a %v before it had %#x", r, g.Mode, n.id, g.Token, m, d.highest[m])
		}
	}
	d.highest[g.Mode] = max(d.highest[g.Mode], g.Token)
}

// value judges what the block says. A holder of CR may have been granted it before the last write.
func (j *judge) value(n *simNode, r dlm.Resource, d *judged, g dlm.Grant) {
	switch {
	case !g.ValueValid:
		j.s.seen.hit(caseInvalid)
		if g.Value != nil {
			j.s.fail("%v: %v has an invalid value block that is not nil", n.id, r)
		}
	case g.Mode == dlm.CR:
	case !d.valid:
		j.s.fail("%v: %v has value block %q, none is valid", n.id, r, g.Value)
	case !bytes.Equal(g.Value, d.value):
		j.s.fail("%v: %v has value block %q, last written was %q", n.id, r, g.Value, d.value)
	default:
		j.s.seen.hit(caseValue)
	}
}

func (j *judge) lowered(n *simNode, r dlm.Resource, m dlm.Mode, value []byte) {
	if !j.counts(n.id) {
		return
	}
	d := j.of(r)
	i := slices.IndexFunc(d.holds, func(h hold) bool { return h.node == n.id })
	if i < 0 {
		j.s.fail("%v lowers %v, which it does not hold", n.id, r)
		return
	}
	if value != nil {
		d.value, d.valid = value, len(value) > 0
	}
	d.holds[i].mode = m
	if m == dlm.NL {
		d.holds = slices.Delete(d.holds, i, i+1)
	}
}

// published takes away what those held who are no longer recovered, with the value blocks of writers.
func (j *judge) published(v view.View) {
	for _, d := range j.res {
		d.holds = slices.DeleteFunc(d.holds, func(h hold) bool {
			if v.Has(h.node) || v.IsRecovering(h.node) {
				return false
			}
			if h.mode.Writes() {
				d.valid = false
			}
			return true
		})
	}
}

// answered judges D3: every request of every member has its answer.
func (j *judge) answered() {
	for _, n := range j.s.alive() {
		for _, id := range slices.Sorted(mapsKeys(n.pending)) {
			q := n.pending[id]
			j.s.fail("D3: %v waits for %v of %v since %v: %+v", n.id, q.mode, q.res, q.since, n.core.Locks())
		}
		if e := n.core.CurrentView().Epoch; e != j.s.view.Epoch {
			j.s.fail("%v is in epoch %d, not %d", n.id, e, j.s.view.Epoch)
		}
	}
}

// nothingLeft judges that what nobody holds takes no memory anywhere.
func (j *judge) nothingLeft() {
	for _, n := range j.s.alive() {
		if l, m, e := n.core.Sizes(); l+m+e > 0 {
			j.s.fail("%v keeps %d locks, %d masterships, %d directory entries: %+v", n.id, l, m, e, n.core.Locks())
		}
	}
}
