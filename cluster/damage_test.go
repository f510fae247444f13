package cluster

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/ondisk"
)

func (w *world) corrupt(blk uint64) { w.disk.Corrupt(int64(blk)*ondisk.BlockSize+200, 8) }

// A heartbeat that was torn by a power failure: its node is dead by W, and comes home with all others.
func TestTornSlotBlockIsRecovered(t *testing.T) {
	w := newWorld(t, 1, 3, true)
	a, b := w.settled("a", 0), w.settled("b", 0)
	id := a.node.ID()
	a.kill(0)
	b.kill(0)
	w.corrupt(w.sb.SlotBlock(uint16(id.Slot)))
	c := w.spawn("a", 0)
	w.run(patience, "join", c.active)
	w.run(patience, "recovery", w.idle)
	assert.False(t, w.judge.open[uint16(id.Slot)])
	assert.Greater(t, w.judge.slots[uint16(id.Slot)].Incarnation, uint32(unknownLives), "lives that nobody remembers do not come again")
	w.check()
}

// The slot block of a node at work rots: the node finds out at its next renewal and stops.
func TestRottenSlotBlockOfALiveNode(t *testing.T) {
	w := newWorld(t, 1, 3, true)
	a, b := w.settled("a", 0), w.settled("b", 0)
	w.corrupt(w.sb.SlotBlock(uint16(a.node.ID().Slot)))
	w.run(patience, "withdrawal", a.over)
	w.run(patience, "recovery", w.idle)
	assert.True(t, b.active())
	w.check()
}

func TestCorruptViewBlock(t *testing.T) {
	w := newWorld(t, 1, 3, true)
	a := w.settled("a", 0)
	w.corrupt(ondisk.ViewBlock)
	b := w.spawn("b", 0)
	w.run(patience, "refusal", func() bool { return b.done })
	require.ErrorIs(t, b.err, ondisk.ErrCorrupt)
	require.NoError(t, w.s.Run(w.s.Now()+5*time.Second))
	assert.True(t, a.active(), "who is in goes on")
	require.NotEmpty(t, a.node.Status().Waits)
	assert.Contains(t, a.node.Status().Waits[0].What, "view block is not readable")
}

func TestMarkOfDeath(t *testing.T) {
	s := &ondisk.Slot{State: ondisk.SlotActive, Seq: 1<<62 + 5}
	assert.False(t, isDead(s))
	s.Seq = deadBit
	assert.True(t, isDead(s))
	_, ok := recoverer(s)
	assert.False(t, ok)
	for _, by := range []view.NodeID{{Slot: 0, Incarnation: 1}, {Slot: 254, Incarnation: 1<<32 - 1}} {
		s.Seq = deadSeq(by)
		got, ok := recoverer(s)
		assert.True(t, ok && isDead(s))
		assert.Equal(t, by, got)
	}
	s.State = ondisk.SlotFree
	assert.False(t, isDead(s))
}

// The core alone: what it makes of looks, without a disk.
func TestWatchTellsTheLivingFromTheDead(t *testing.T) {
	p := fastProfile()
	at := func(seq uint64) slotImage {
		s := &ondisk.Slot{State: ondisk.SlotActive, Incarnation: 1, Seq: seq, Host: [16]byte{1}, Boot: [16]byte{2}}
		return slotImage{raw: []byte{byte(seq)}, slot: s}
	}
	var w watch
	look := func(seq uint64, start time.Duration) verdict {
		w.see(fastProfile(), at(seq), start, start+10*time.Millisecond)
		return w.verdict(p)
	}
	assert.Equal(t, slotUnknown, look(1, 0))
	assert.Equal(t, slotAlive, look(2, p.Heartbeat))
	seen := p.Heartbeat + 10*time.Millisecond
	assert.Equal(t, slotAlive, look(2, seen+2*p.Heartbeat))
	assert.Equal(t, slotAlive, look(2, seen+3*p.Heartbeat-1))
	assert.Equal(t, slotSuspect, look(2, seen+3*p.Heartbeat))
	for at := seen + 4*p.Heartbeat; at < seen+p.Wait(); at += p.Heartbeat {
		look(2, at)
	}
	look(2, seen+p.Wait()-1)
	assert.Equal(t, p.Wait()-1, w.age, "a look too early for the lease")
	look(2, seen+p.Wait())
	assert.Equal(t, p.Wait(), w.age)
	assert.Equal(t, slotAlive, look(3, seen+p.Wait()+1), "and yet it moves")
	assert.Equal(t, slotAlive, look(3, seen+10*p.Wait()), "we were away, it may have been away with us")
	assert.Equal(t, credit*p.Heartbeat, w.age)
	assert.True(t, w.neighbour(Machine{Host: [16]byte{1}, Boot: [16]byte{2}}))
	assert.False(t, w.neighbour(Machine{Host: [16]byte{1}, Boot: [16]byte{3}}), "a clone, or another boot")
	assert.False(t, w.neighbour(Machine{}))
}
