package cluster

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/ondisk"
)

// tool is a process that wants the volume for itself.
type tool struct {
	p    *proc
	hold *Hold
	err  error
	done bool
}

func (w *world) tool(machine int) *tool {
	p := &proc{w: w, name: "tool", machine: machine, host: len(w.procs) + 1}
	w.procs = append(w.procs, p)
	p.sched = &freezer{Scheduler: w.s, p: p}
	p.data = w.disk.Path(p.host)
	t := &tool{p: p}
	cfg := Config{Dev: p.data, Super: w.sb, Name: ToolName("host", p.host), Addr: "-", Sched: p.sched, Rand: rand.NewChaCha8([32]byte{byte(p.host)}),
		Machine: Machine{Host: [16]byte{9, byte(machine)}, Boot: [16]byte{8, byte(machine)}, Pid: uint32(p.host)}}
	if machine != 0 {
		cfg.Host = &lockTable{p}
	}
	p.sched.Go("tool", func() {
		t.hold, t.err = Exclusive(context.Background(), cfg)
		t.done = true
	})
	w.run(patience, "tool", func() bool { return t.done })
	return t
}

func (t *tool) release(clean bool) {
	done := false
	t.p.sched.Go("release", func() {
		require.NoError(t.p.w.t, t.hold.Release(context.Background(), clean))
		done = true
	})
	t.p.w.run(patience, "release", func() bool { return done })
}

func (w *world) look() *image {
	d := &disk{dev: w.disk.Path(999), sb: w.sb, sched: w.s}
	var im *image
	w.s.Go("look", func() {
		var err error
		im, err = d.look(context.Background())
		require.NoError(w.t, err)
	})
	w.run(patience, "look", func() bool { return im != nil })
	return im
}

func TestToolAndNodesExcludeEachOther(t *testing.T) {
	for _, caw := range []bool{true, false} {
		w := newWorld(t, 1, 3, caw)
		a := w.settled("a", 1)
		no := w.tool(2)
		require.ErrorIs(t, no.err, ErrMounted)
		require.ErrorContains(t, no.err, "a")
		a.leave()
		w.run(patience, "leave", func() bool { return a.left })

		yes := w.tool(2)
		require.NoError(t, yes.err)
		require.Len(t, yes.hold.Before(), 4)
		other := w.tool(1)
		require.ErrorIs(t, other.err, ErrMounted)
		require.ErrorContains(t, other.err, "fsck@")
		b := w.spawn("b", 1)
		w.run(patience, "refusal", func() bool { return b.done })
		require.ErrorIs(t, b.err, ErrTool)
		require.ErrorContains(t, b.err, "being repaired by fsck@host/")

		wrote := false
		w.s.Go("write", func() {
			wrote = yes.hold.Wrap(yes.p.data).WriteAt(context.Background(), make([]byte, ondisk.BlockSize), 100*ondisk.BlockSize, true) == nil
		})
		w.run(patience, "write", func() bool { return wrote })
		yes.release(true)
		im := w.look()
		for j, s := range im.slots {
			assert.Equal(t, ondisk.SlotFree, s.slot.State)
			assert.Zero(t, im.view.Members[j])
			assert.LessOrEqual(t, s.slot.Epoch, im.view.Epoch)
		}
		assert.Equal(t, "a", im.slots[0].slot.Name, "the names stay")
		w.settled("a", 1)
		w.check()
	}
}

// TestDeadTool: what a tool that died leaves is recovered like what a node leaves.
func TestDeadTool(t *testing.T) {
	for _, machine := range []int{0, 1} {
		w := newWorld(t, 2, 3, true)
		dead := w.tool(machine)
		require.NoError(t, dead.err)
		dead.p.kill(0)
		a := w.settled("a", 1)
		require.NoError(t, a.err)
		w.run(patience, "recovery", func() bool {
			im := w.look()
			return im.view.Members[HomeSlot] != uint32(dead.hold.Life().Incarnation) && im.view.Recovering[HomeSlot] == 0
		})
		a.leave()
		w.run(patience, "leave", func() bool { return a.left })
		again := w.tool(machine)
		require.NoError(t, again.err)
		again.release(true)
		w.check()
	}
}

// TestToolUnclean: who has to be replayed stays in the view when a tool gives up.
func TestToolUnclean(t *testing.T) {
	w := newWorld(t, 3, 3, true)
	a := w.settled("a", 1)
	before := w.look()
	a.kill(0)
	x := w.tool(1)
	require.NoError(t, x.err)
	x.release(false)
	im := w.look()
	for j, m := range before.view.Members {
		if m != 0 && j != int(HomeSlot) {
			assert.Equal(t, m, im.view.Members[j])
		}
		if m != 0 {
			assert.NotZero(t, im.view.Members[j])
		}
	}
	b := w.settled("b", 1)
	require.NoError(t, b.err)
	w.check()
}
