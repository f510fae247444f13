package fs

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/journal"
	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/blockdev/memdev"
	"github.com/covol/covol/ondisk/blockdev/writelog"
	"github.com/covol/covol/ondisk/check/checktest"
	"github.com/covol/covol/ondisk/sched/simsched"
)

// fact is a file that one procedure made and that nobody else touches.
type fact struct {
	dir     int
	name    string
	data    []byte
	deleted bool // its deletion has begun
}

// witness makes and deletes files in directories that all nodes share, and tells the log what is durable.
type witness struct {
	n     *rigNode
	rng   *rand.Rand
	dirs  []Ino
	mark  func(done, undone []*fact)
	facts []*fact
	fresh []*fact // made since the last sync
	gone  []*fact // deleted since the last sync
	count int
	id    int
	err   error // why it stopped
}

// step does one operation; it returns an error only when the node is dead.
func (w *witness) step() error {
	switch k := w.rng.IntN(10); {
	case k < 5:
		return w.make()
	case k < 7:
		return w.delete()
	default:
		if err := w.n.SyncAll(bg); err != nil {
			return err
		}
		w.mark(w.fresh, w.gone)
		w.fresh, w.gone = nil, nil
		return nil
	}
}

func (w *witness) make() error {
	w.count++
	f := &fact{dir: w.rng.IntN(len(w.dirs)), name: fmt.Sprintf("w%d-%d", w.id, w.count)}
	f.data = pattern(w.rng.Uint64(), w.rng.IntN(100_000))
	var ino Ino
	var file File
	err := w.n.Create(bg, root, w.dirs[f.dir], f.name, 0o644, syscall.O_RDWR, func(a Attr, o File) { ino, file = a.Ino, o })
	if err != nil {
		return err
	}
	if _, err := file.Write(bg, f.data, 0); err != nil {
		return err
	}
	if err := file.Release(bg); err != nil {
		return err
	}
	w.n.Forget(ino, 1)
	w.facts = append(w.facts, f)
	w.fresh = append(w.fresh, f)
	return nil
}

func (w *witness) delete() error {
	if len(w.facts) == 0 {
		return nil
	}
	i := w.rng.IntN(len(w.facts))
	f := w.facts[i]
	f.deleted = true
	w.mark(nil, nil)
	if err := w.n.Unlink(bg, root, w.dirs[f.dir], f.name); err != nil {
		return err
	}
	w.facts = slices.Delete(w.facts, i, i+1)
	w.gone = append(w.gone, f)
	return nil
}

// present checks that a file is there with all its content.
func present(t *testing.T, n *rigNode, dir Ino, f *fact, where string) {
	t.Helper()
	a, err := n.lookup(dir, f.name)
	require.NoError(t, err, "%s: file %s", where, f.name)
	n.Forget(a.Ino, 1)
	o := n.open(a.Ino, syscall.O_RDONLY)
	require.True(t, bytes.Equal(f.data, n.read(o, 0, len(f.data)+1)), "%s: content of %s", where, f.name)
	n.close(o)
}

// knowledge is what is durable at one moment.
type knowledge struct{ made, gone []*fact }

// TestCrashOfAllNodes cuts the power of a whole cluster. All journals are replayed, in any order; what was acknowledged
// on any node must be there.
func TestCrashOfAllNodes(t *testing.T) {
	eachSeed(t, 2, 8, func(t *testing.T, seed uint64) {
		rng := rand.New(rand.NewPCG(seed, 13))
		s := simsched.New(seed)
		dev := memdev.New(blockdev.Geometry{SectorSize: 512, Size: 256 << 20}, nil)
		var log *writelog.Log
		r := newRig(t, rigOptions{nodes: 3, sched: s, dev: dev, wrap: func(_ int, dev blockdev.Device) blockdev.Device {
			if log == nil {
				log = writelog.New(dev, dev.(*memdev.Device).Image())
			}
			return log.As()
		}})
		var dirs []Ino
		var made, gone []*fact
		mark := func(fresh, dead []*fact) {
			made = append(slices.Clip(made), fresh...)
			gone = append(slices.Clip(gone), dead...)
			log.Mark(knowledge{made, gone})
		}
		r.do(func() {
			for i := range 2 {
				dirs = append(dirs, r.nodes[0].mkdir(rootIno, fmt.Sprintf("d%d", i)).Ino)
			}
			require.NoError(t, r.nodes[0].SyncAll(bg))
			log.Mark(knowledge{})
			for _, w := range workTogether(t, r, s, rng, dirs, mark, 40) {
				require.NoError(t, w.err)
			}
			require.Greater(t, len(made), 20)
		})
		skip, tried, started := 0, 0, false
		for c, image := range log.Crashes(writelog.Options{Exhaustive: 2, Samples: 3, Torn: true, Seed: seed}) {
			started = started || len(c.Marks) > 0
			if skip--; skip > 0 || !started {
				continue
			}
			skip = rng.IntN(60)
			tried++
			know := c.Marks[len(c.Marks)-1].(knowledge)
			reviveAll(t, r, seed, rng, c.String(), image, dirs, know)
		}
		t.Logf("%d writes, %d crashes judged", log.Writes(), tried)
	})
}

func workTogether(t *testing.T, r *rig, s *simsched.Scheduler, rng *rand.Rand, dirs []Ino, mark func(a, b []*fact), steps int) []*witness {
	var all []*witness
	var done []func() error
	for i, n := range r.nodes {
		w := &witness{n: n, rng: rand.New(rand.NewPCG(rng.Uint64(), 2)), dirs: dirs, mark: mark, id: i}
		all = append(all, w)
		ev := s.NewEvent()
		done = append(done, func() error { return ev.Wait(bg) })
		s.Go("witness", func() {
			defer ev.Set()
			for range steps {
				if err := w.step(); err != nil {
					w.err = err
					return
				}
				_ = s.Sleep(bg, time.Duration(w.rng.IntN(500))*time.Millisecond)
			}
		})
	}
	for _, wait := range done {
		require.NoError(t, wait())
	}
	return all
}

// reviveAll replays all journals of a crashed image, mounts it and looks for what must and must not be there.
func reviveAll(t *testing.T, old *rig, seed uint64, rng *rand.Rand, where string, image *memdev.Device, dirs []Ino, know knowledge) {
	t.Helper()
	s := simsched.New(seed)
	defer s.Stop()
	r := &rig{t: t, s: s, dev: image, sb: old.sb, hub: &hub{s: s, at: map[view.Slot]*port{}}, epoch: 10}
	n := &rigNode{r: r, id: view.NodeID{Slot: 1, Incarnation: 2}}
	r.nodes = []*rigNode{n}
	order := rng.Perm(3)
	r.do(func() {
		for _, slot := range order {
			_, err := journal.Replay(bg, image, r.sb, view.Slot(slot), journal.ReplayOptions{Sched: s})
			require.NoError(t, err, where)
		}
		checktest.MustBeClean(t, image)
		n.start(image)
		r.views()
		n.mount()
		for _, f := range know.made {
			if !f.deleted { // at any time of the run: the mark of this crash does not tell
				present(t, n, dirs[f.dir], f, where)
			}
		}
		for _, f := range know.gone {
			_, err := n.lookup(dirs[f.dir], f.name)
			require.ErrorIs(t, err, ErrNotExist, "%s: deleted file %s", where, f.name)
		}
		r.stop()
	})
	checktest.MustBeClean(t, image)
}

// TestNodeDies kills one node among others, at any moment. The others go on with what it did not hold; when its journal
// has been replayed all is there that it acknowledged, and it can come back.
func TestNodeDies(t *testing.T) {
	eachSeed(t, 6, 30, func(t *testing.T, seed uint64) {
		rng := rand.New(rand.NewPCG(seed, 17))
		s := simsched.New(seed)
		r := newRig(t, rigOptions{nodes: 3, sched: s})
		var dirs []Ino
		var made, gone []*fact
		mark := func(fresh, dead []*fact) { made, gone = append(made, fresh...), append(gone, dead...) }
		victim := r.nodes[rng.IntN(3)]
		r.do(func() {
			for i := range 2 {
				dirs = append(dirs, r.nodes[0].mkdir(rootIno, fmt.Sprintf("d%d", i)).Ino)
			}
			require.NoError(t, r.nodes[0].SyncAll(bg))
			s.Go("killer", func() {
				_ = s.Sleep(bg, time.Duration(rng.IntN(8000))*time.Millisecond)
				r.kill(victim)
				_ = s.Sleep(bg, time.Duration(rng.IntN(3000))*time.Millisecond)
				_, err := journal.Replay(bg, r.dev, r.sb, victim.id.Slot, journal.ReplayOptions{Sched: s})
				require.NoError(t, err)
				r.recovered(victim)
			})
			for _, w := range workTogether(t, r, s, rng, dirs, mark, 40) {
				if w.n != victim {
					require.NoError(t, w.err, "on a survivor")
				}
			}
			_ = s.Sleep(bg, 20*time.Second)
			r.comeBack(victim)
			require.Greater(t, len(made), 5)
			for _, n := range r.nodes {
				for _, f := range made {
					if !f.deleted {
						present(t, n, dirs[f.dir], f, fmt.Sprintf("node %d", n.id.Slot))
					}
				}
				for _, f := range gone {
					_, err := n.lookup(dirs[f.dir], f.name)
					require.ErrorIs(t, err, ErrNotExist)
				}
			}
		})
	})
}

// kill ends a node without a word and tells the others.
func (r *rig) kill(victim *rigNode) {
	_ = victim.port.Close()
	victim.lm.Stop()
	victim.Withdraw(fmt.Errorf("killed"))
	r.tell(victim, true)
}

// recovered tells the survivors that the victim's journal has been replayed.
func (r *rig) recovered(victim *rigNode) { r.tell(victim, false) }

func (r *rig) tell(victim *rigNode, recovering bool) {
	r.epoch++
	v := view.View{Epoch: r.epoch}
	for _, n := range r.nodes {
		if n != victim {
			v.Members = append(v.Members, view.Member{NodeID: n.id})
		}
	}
	if recovering {
		v.Recovering = []view.NodeID{victim.id}
	}
	for _, n := range r.nodes {
		if n != victim {
			n.lm.SetView(v)
		}
	}
}

// comeBack mounts a dead node again, in a new life.
func (r *rig) comeBack(n *rigNode) {
	n.id.Incarnation++
	n.start(n.dev)
	r.views()
	n.mount()
}

// TestCreateGoesOnAfterDeath: while a dead node is not recovered nobody knows whether it held the locks of a part of all
// inode numbers. Others go on making files in their directories with other numbers.
func TestCreateGoesOnAfterDeath(t *testing.T) {
	s := simsched.New(5)
	r := newRig(t, rigOptions{nodes: 3, sched: s})
	victim := r.nodes[2]
	r.do(func() {
		d := r.nodes[0].mkdir(rootIno, "d")
		_, f := r.nodes[0].create(d.Ino, "first")
		r.nodes[0].close(f)
		r.kill(victim)
		for i := range 400 {
			at, f := r.nodes[0].create(d.Ino, fmt.Sprint(i))
			r.nodes[0].write(f, []byte("x"), 0)
			r.nodes[0].close(f)
			r.nodes[0].Forget(at.Ino, 1)
		}
		_, err := journal.Replay(bg, r.dev, r.sb, victim.id.Slot, journal.ReplayOptions{Sched: s})
		require.NoError(t, err)
		r.recovered(victim)
		require.Len(t, r.nodes[1].names(d.Ino), 401)
	})
}
