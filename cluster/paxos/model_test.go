package paxos

import (
	"flag"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/ondisk"
)

var deepFlag = flag.Bool("deep", false, "let TestEveryInterleaving begin more ballots")

// model is a set of proposers at one moment, with the blocks as they are on the disk. Each step of each of them is one
// access to one block. Proposers that have stopped anywhere are covered: the others go on from every state.
type model struct {
	blocks []*ondisk.Ballot
	procs  []modelProc
}

type modelProc struct {
	vote  *vote
	seen  []*ondisk.Ballot // what this round of reading has shown so far
	next  int              // -1: write; else the block to be read next
	tries int
	again int // how often it may begin a new life
	want  *ondisk.View
}

func (m *model) key() string {
	text := func(b *ondisk.Ballot) string {
		return fmt.Sprintf("%d.%d.%d.%d.%d;", b.Epoch, b.MBal, b.Bal, b.Value, b.Writer)
	}
	key := ""
	for _, b := range m.blocks {
		key += text(b)
	}
	for _, p := range m.procs {
		key += fmt.Sprintf("|%d,%d,%d,", p.next, p.tries, p.again)
		if p.vote != nil {
			key += fmt.Sprintf("%d,%d,", p.vote.phase, p.vote.high) + text(&p.vote.mine)
		}
		for _, b := range p.seen {
			key += text(b)
		}
	}
	return key
}

func (m *model) clone() *model {
	c := &model{blocks: append([]*ondisk.Ballot(nil), m.blocks...), procs: append([]modelProc(nil), m.procs...)}
	for i := range c.procs {
		if v := c.procs[i].vote; v != nil {
			copied := *v
			c.procs[i].vote = &copied
		}
		c.procs[i].seen = append([]*ondisk.Ballot(nil), c.procs[i].seen...)
	}
	return c
}

const modelEpoch = 8

func (m *model) start(i int) {
	p := &m.procs[i]
	base := &ondisk.View{Epoch: modelEpoch - 1}
	floor := uint64(0)
	if p.vote != nil {
		floor = max(p.vote.high, p.vote.mine.MBal)
	}
	p.vote = begin(uint16(i), 1, modelEpoch, base, p.want, m.blocks, floor)
	p.next, p.seen = -1, nil
}

// step lets proposer i make one access. It returns the value that it decides by it, 0 for none.
func (m *model) step(i int) (decided uint64, moved bool) {
	p := &m.procs[i]
	switch {
	case p.vote == nil:
		return 0, false
	case p.next < 0:
		b := p.vote.mine
		m.blocks[i] = &b
		p.next, p.seen = 0, nil
		return 0, true
	}
	p.seen = append(p.seen, m.blocks[p.next])
	if p.next++; p.next < len(m.blocks) {
		return 0, true
	}
	before := p.vote.phase
	switch p.vote.read(p.seen, false) {
	case goOn:
		p.next = -1
		if before == 2 {
			decided = p.vote.mine.Writer
		}
	case beaten:
		if p.tries--; p.tries > 0 {
			m.start(i)
		} else {
			p.vote = nil
		}
	default:
		p.vote = nil
	}
	p.seen = nil
	return decided, true
}

func newModel(procs, tries, lives int) *model {
	m := &model{}
	for i := range procs {
		m.blocks = append(m.blocks, &ondisk.Ballot{Slot: uint16(i)})
	}
	for i := range procs {
		m.procs = append(m.procs, modelProc{tries: tries, again: lives, want: &ondisk.View{Epoch: modelEpoch, Writer: uint64(100 + i)}})
	}
	for i := range procs {
		m.start(i)
	}
	return m
}

// explore visits every state. It returns their number, and the values that some run decides.
func explore(t *testing.T, first *model) (states int, values map[uint64]bool) {
	type at struct {
		m       *model
		decided uint64
	}
	seen, values := map[string]bool{}, map[uint64]bool{}
	stack := []at{{first, 0}}
	for len(stack) > 0 {
		s := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		key := fmt.Sprint(s.decided, s.m.key())
		if seen[key] {
			continue
		}
		seen[key] = true
		for i := range s.m.procs {
			c := s.m.clone()
			got, moved := c.step(i)
			if !moved {
				continue
			}
			if got != 0 {
				values[got] = true
				require.True(t, s.decided == 0 || s.decided == got, "%d and %d decided for one epoch", s.decided, got)
			} else {
				got = s.decided
			}
			stack = append(stack, at{c, got})
			if s.m.procs[i].again > 0 { // dies, and a new life of the slot begins
				c := s.m.clone()
				c.procs[i].vote, c.procs[i].again = nil, c.procs[i].again-1
				c.start(i)
				stack = append(stack, at{c, s.decided})
			}
		}
	}
	return len(seen), values
}

// Every order of all accesses to the disk, with deaths and new lives anywhere: one value at most.
func TestEveryInterleaving(t *testing.T) {
	cases := [][3]int{{2, 2, 1}, {2, 3, 0}, {3, 1, 0}}
	if *deepFlag {
		cases = append(cases, [3]int{2, 3, 1}, [3]int{2, 3, 2})
	}
	for _, c := range cases {
		states, values := explore(t, newModel(c[0], c[1], c[2]))
		t.Logf("%d proposers, %d ballots, %d lives more: %d states", c[0], c[1], c[2], states)
		assert.Len(t, values, c[0], "each may win")
	}
}

// The search finds what the rules prevent: a proposer that forgets what it has proposed.
func TestTheSearchFindsABrokenRule(t *testing.T) {
	m := newModel(2, 2, 1)
	broken := false
	seen := map[string]bool{}
	var visit func(m *model, decided uint64)
	visit = func(m *model, decided uint64) {
		key := fmt.Sprint(decided, m.key())
		if broken || seen[key] {
			return
		}
		seen[key] = true
		for i := range m.procs {
			c := m.clone()
			if got, moved := c.step(i); moved {
				broken = broken || got != 0 && decided != 0 && got != decided
				visit(c, max(decided, got))
			}
			if m.procs[i].again > 0 {
				c := m.clone()
				c.blocks[i] = &ondisk.Ballot{Slot: uint16(i)} // an older block came up again
				c.procs[i].again--
				c.start(i)
				visit(c, decided)
			}
		}
	}
	visit(m, 0)
	assert.True(t, broken)
}
