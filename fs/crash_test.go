package fs

import (
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
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

// digest is what can be seen of a tree: names, types, links, sizes, content.
func (m *model) digest() string {
	var b strings.Builder
	var walk func(path string, n *modelNode)
	walk = func(path string, n *modelNode) {
		fmt.Fprintf(&b, "%s %o %d", path, n.mode, n.nlink)
		if !n.isDir() {
			fmt.Fprintf(&b, " %d %x", len(n.data), sum(n.data))
		}
		b.WriteByte('\n')
		for _, name := range slices.Sorted(maps.Keys(n.kids)) {
			walk(path+"/"+name, n.kids[name])
		}
	}
	walk("", m.root)
	return b.String()
}

func sum(p []byte) uint64 {
	h := fnv.New64a()
	_, _ = h.Write(p)
	return h.Sum64()
}

// digest is model.digest of the volume.
func (n *rigNode) digest() string {
	var b strings.Builder
	var walk func(path string, a Attr)
	walk = func(path string, a Attr) {
		fmt.Fprintf(&b, "%s %o %d", path, a.Mode, a.Nlink)
		switch a.Mode & syscall.S_IFMT {
		case syscall.S_IFREG:
			f := n.open(a.Ino, syscall.O_RDONLY)
			fmt.Fprintf(&b, " %d %x", a.Size, sum(n.read(f, 0, int(a.Size))))
			n.close(f)
		case syscall.S_IFLNK:
			target, err := n.Readlink(bg, a.Ino)
			require.NoError(n.r.t, err)
			fmt.Fprintf(&b, " %d %x", len(target), sum([]byte(target)))
		}
		b.WriteByte('\n')
		if a.Mode&syscall.S_IFMT != syscall.S_IFDIR {
			return
		}
		names := n.names(a.Ino)
		slices.Sort(names)
		for _, name := range names {
			kid, err := n.lookup(a.Ino, name)
			require.NoError(n.r.t, err)
			walk(path+"/"+name, kid)
		}
	}
	walk("", n.attr(rootIno))
	return b.String()
}

// crashMark tells how far the work was: operations up to synced are acknowledged as durable, begun has been started.
type crashMark struct{ synced, begun int }

// TestCrash cuts the power after any event of a random workload, with any of the writes that were not flushed. After
// replay the volume must be clean and show the state after some operation that is not older than the last sync, with
// all its names and all its data (F4).
func TestCrash(t *testing.T) {
	eachSeed(t, 2, 8, func(t *testing.T, seed uint64) {
		rng := rand.New(rand.NewPCG(seed, 9))
		dev := memdev.New(blockdev.Geometry{SectorSize: 512, Size: 256 << 20}, nil)
		var log *writelog.Log
		s := simsched.New(seed)
		r := newRig(t, rigOptions{nodes: 1, dev: dev, sched: s, cluster: []uint32{4 << 10, 64 << 10}[rng.IntN(2)],
			wrap: func(_ int, dev blockdev.Device) blockdev.Device {
				log = writelog.New(dev, dev.(*memdev.Device).Image())
				return log.As()
			}})
		d := &driver{t: t, r: r, rng: rng, m: newModel(), max: 150_000, whole: true}
		states, ops := []string{d.m.digest()}, []string{"start"}
		at := crashMark{}
		r.do(func() {
			for i := 1; i <= 150; i++ {
				at.begun = i
				log.Mark(at)
				d.step()
				states = append(states, d.m.digest())
				ops = append(ops, append(d.log, "nothing")[max(0, len(d.log)-1)])
				if rng.IntN(3) == 0 {
					require.NoError(t, d.n.SyncAll(bg))
					at.synced = i
					log.Mark(at)
				}
				if rng.IntN(10) == 0 {
					_ = s.Sleep(bg, time.Duration(rng.IntN(20_000))*time.Millisecond)
				}
			}
		})
		tried := 0
		skip := 0
		for c, image := range log.Crashes(writelog.Options{Exhaustive: 3, Samples: 4, Torn: true, Seed: seed}) {
			if skip > 0 {
				skip--
				continue
			}
			skip = rng.IntN(30)
			tried++
			judgeCrash(t, r, seed, c, image, states, ops)
		}
		t.Logf("%d writes, %d crashes judged", log.Writes(), tried)
	})
}

// differing are the lines that only one of two texts has.
func differing(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	var b strings.Builder
	for _, l := range w {
		if !slices.Contains(g, l) {
			fmt.Fprintf(&b, "  - %s\n", l)
		}
	}
	for _, l := range g {
		if !slices.Contains(w, l) {
			fmt.Fprintf(&b, "  + %s\n", l)
		}
	}
	return b.String()
}

func judgeCrash(t *testing.T, old *rig, seed uint64, c writelog.Crash, image *memdev.Device, states, ops []string) {
	t.Helper()
	last := crashMark{}
	if len(c.Marks) > 0 {
		last = c.Marks[len(c.Marks)-1].(crashMark)
	}
	s := simsched.New(seed)
	defer s.Stop()
	r := &rig{t: t, s: s, dev: image, sb: old.sb, hub: &hub{s: s, at: map[view.Slot]*port{}}, epoch: 10}
	n := &rigNode{r: r, id: view.NodeID{Slot: 0, Incarnation: 2}}
	r.nodes = []*rigNode{n}
	var got string
	r.do(func() {
		_, err := journal.Replay(bg, image, r.sb, 0, journal.ReplayOptions{Sched: s})
		require.NoError(t, err, "crash %s", c)
		checktest.MustBeClean(t, image)
		n.start(image)
		r.views()
		n.mount()
		got = n.digest()
		r.stop()
	})
	checktest.MustBeClean(t, image)
	for k := last.synced; k <= last.begun; k++ {
		if states[k] == got {
			return
		}
	}
	var b strings.Builder
	for k := last.synced; k <= last.begun; k++ {
		fmt.Fprintf(&b, "operation %d: %s\n%s", k, ops[k], differing(states[k], got))
	}
	t.Fatalf("seed %d, crash %q: not the state after any of the operations %d to %d; lines only there (-) or found (+):\n%s",
		seed, c, last.synced, last.begun, &b)
}
