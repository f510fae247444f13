package cluster

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/ondisk"
)

// threeNodes are a, b and c at work on machines of their own, without locks of a host if locks is false.
func threeNodes(t *testing.T, locks bool) (w *world, nodes []*proc) {
	w = newWorld(t, 1, 4, true)
	for i, name := range []string{"a", "b", "c"} {
		machine := 0
		if locks {
			machine = 1
		}
		p := w.spawn(name, machine)
		w.run(patience, "join", p.active)
		nodes = append(nodes, p)
		require.EqualValues(t, i, p.node.ID().Slot)
	}
	return w, nodes
}

func (p *proc) reason() Cause {
	_, r, _ := p.node.State()
	return r.Cause
}

// A network that is cut costs the smaller side, or the higher slot, and nobody else; what the lost one held is recovered
// with the same proof as after any death. One way is enough.
func TestCutNetwork(t *testing.T) {
	for _, c := range []struct {
		name     string
		from, to []string
		oneWay   bool
		lost     int
	}{
		{"one node", []string{"a"}, []string{"b", "c"}, false, 0},
		{"it is not heard", []string{"b"}, []string{"a", "c"}, true, 1},
		{"it does not hear", []string{"a", "c"}, []string{"b"}, true, 1},
		{"one link", []string{"b"}, []string{"c"}, false, 2},
	} {
		for _, locks := range []bool{true, false} {
			name := c.name + ", lease"
			if locks {
				name = c.name + ", host lock"
			}
			t.Run(name, func(t *testing.T) {
				w, nodes := threeNodes(t, locks)
				require.NoError(t, w.s.Run(w.s.Now()+5*time.Second))
				cutAt := w.s.Now()
				w.cut(c.from, c.to)
				if !c.oneWay {
					w.cut(c.to, c.from)
				}
				lost := nodes[c.lost]
				w.run(patience, "the lost one to withdraw", lost.over)
				assert.Equal(t, CauseCutOff, lost.reason())
				assert.GreaterOrEqual(t, w.s.Now()-cutAt, w.sb.Profile.Lease, "a short cut costs nobody")
				w.run(patience, "recovery", func() bool {
					v := w.judge.view
					return v.Members[c.lost] == 0 && v.Recovering[c.lost] == 0 && w.judge.slots[uint16(c.lost)].State == ondisk.SlotFree
				})
				for i, p := range nodes {
					assert.Equal(t, i != c.lost, p.active(), "%v", p)
				}
				w.check()

				clear(w.mute)
				back := w.spawn(lost.name, lost.machine)
				w.run(patience, "it comes back", back.active)
				require.NoError(t, w.s.Run(w.s.Now()+20*time.Second))
				assert.True(t, back.active())
				w.check()
			})
		}
	}
}

// Of two nodes one stays, and it is the same one whoever looks.
func TestCutBetweenTwo(t *testing.T) {
	w, nodes := threeNodes(t, false)
	nodes[2].leave()
	w.run(patience, "leave", nodes[2].over)
	w.cut([]string{"a"}, []string{"b"})
	w.cut([]string{"b"}, []string{"a"})
	w.run(patience, "b to withdraw", nodes[1].over)
	require.NoError(t, w.s.Run(w.s.Now()+20*time.Second))
	assert.True(t, nodes[0].active())
	w.check()
}

// The links of one node do not break at the same instant. The first whose time is up must not look like a broken link
// between equals, of which the higher slot goes.
func TestLinksBreakOneAfterTheOther(t *testing.T) {
	w, nodes := threeNodes(t, false)
	require.NoError(t, w.s.Run(w.s.Now()+5*time.Second))
	w.cut([]string{"b"}, []string{"c"})
	w.cut([]string{"c"}, []string{"b"})
	require.NoError(t, w.s.Run(w.s.Now()+w.sb.Profile.Lease/3))
	w.cut([]string{"b"}, []string{"a"})
	w.cut([]string{"a"}, []string{"b"})
	w.run(patience, "b to be put out", nodes[1].over)
	assert.Equal(t, CauseCutOff, nodes[1].reason())
	w.run(patience, "the others to go on", func() bool { return len(nodes[0].node.View().Members) == 2 })
	assert.True(t, nodes[0].active() && nodes[2].active())
	w.check()
}

// A link whose time is up does not cost a node its place whose own links have been cut for less time.
func TestShorterCutIsNotDue(t *testing.T) {
	p := ondisk.Profiles[0]
	lives := []view.NodeID{{Slot: 0, Incarnation: 1}, {Slot: 1, Incarnation: 1}, {Slot: 2, Incarnation: 1}, {Slot: 3, Incarnation: 1}}
	l := links{}
	for a := range lives {
		for b := a + 1; b < len(lives); b++ {
			l[[2]view.NodeID{lives[a], lives[b]}] = link{worked: true}
		}
	}
	now := 10 * p.Lease
	l[[2]view.NodeID{lives[0], lives[1]}] = link{cut: true, worked: true, since: now - p.Lease}
	l[[2]view.NodeID{lives[2], lives[3]}] = link{cut: true, worked: true, since: now - 2*p.Lease/3}
	keep, out := l.judge(now, lives, p)
	assert.Equal(t, []view.Slot{0, 2}, keep)
	assert.Equal(t, []view.Slot{1}, out)
	_, out = l.judge(now+p.Lease/2, lives, p)
	assert.Equal(t, []view.Slot{1, 3}, out)
	_, out = l.judge(now-1, lives, p)
	assert.Empty(t, out)
}

// A cut that is mended within the lease costs nobody anything, however often it comes.
func TestShortCuts(t *testing.T) {
	w, nodes := threeNodes(t, false)
	require.NoError(t, w.s.Run(w.s.Now()+5*time.Second))
	for range 10 {
		w.cut([]string{"b"}, []string{"a", "c"})
		w.cut([]string{"a", "c"}, []string{"b"})
		require.NoError(t, w.s.Run(w.s.Now()+w.sb.Profile.Lease))
		clear(w.mute)
		require.NoError(t, w.s.Run(w.s.Now()+time.Second))
	}
	for _, p := range nodes {
		assert.True(t, p.active())
	}
	w.check()
}

// A node that never finds the others is put out, later than one that was in touch.
func TestNeverHeard(t *testing.T) {
	w, nodes := threeNodes(t, false)
	w.cut([]string{"d"}, []string{"a", "b", "c"})
	p := w.spawn("d", 0)
	w.run(patience, "join", p.active)
	require.NoError(t, w.s.Run(w.s.Now()+2*w.sb.Profile.Lease))
	assert.True(t, p.active())
	w.run(patience, "d to be put out", p.over)
	assert.Equal(t, CauseCutOff, p.reason())
	for _, p := range nodes {
		assert.True(t, p.active())
	}
	w.check()
}

// Nodes that do not say whom they hear are left alone.
func TestCutIsNotKnown(t *testing.T) {
	w := newWorld(t, 1, 4, true)
	quiet := func(c *Config) { c.Greet = nil }
	a, b := w.spawn("a", 0, quiet), w.spawn("b", 0, quiet)
	w.run(patience, "join", func() bool { return a.active() && b.active() })
	require.NoError(t, w.s.Run(w.s.Now()+time.Minute))
	assert.True(t, a.active() && b.active())
}

func TestExpelledMark(t *testing.T) {
	old := &ondisk.Slot{Index: 3, State: ondisk.SlotActive, Incarnation: 7, Seq: 1 << 40, Name: "n"}
	s := expelledOf(old, 200)
	assert.True(t, isExpelled(s))
	assert.False(t, isDead(s))
	assert.False(t, isExpelled(old))
	assert.EqualValues(t, 200, expeller(s))
	assert.Equal(t, view.NodeID{Slot: 3, Incarnation: 7}, lifeOf(s))
	dead := deadOf(3, s, &ondisk.View{Members: make([]uint32, 4), Recovering: make([]uint32, 4)}, deadBit)
	assert.True(t, isDead(dead))
	assert.False(t, isExpelled(dead))
}
