package fs

import (
	"bytes"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/journal"
	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/blockdev/memdev"
	"github.com/covol/covol/ondisk/blockdev/writelog"
	"github.com/covol/covol/ondisk/sched/simsched"
)

// TestSyncedOverwriteSurvives overwrites a file in place and syncs only its data, in all states that its metadata may be
// in: not committed, committed but not home, home. What was synced must survive any crash afterwards.
func TestSyncedOverwriteSurvives(t *testing.T) {
	const size = 256 << 10
	s := simsched.New(1)
	var log *writelog.Log
	dev := memdev.New(blockdev.Geometry{SectorSize: 512, Size: 256 << 20}, nil)
	r := newRig(t, rigOptions{nodes: 1, sched: s, dev: dev, wrap: func(_ int, dev blockdev.Device) blockdev.Device {
		log = writelog.New(dev, dev.(*memdev.Device).Image())
		return log.As()
	}})
	n := r.nodes[0]
	versions := [][]byte{nil}
	var ino Ino
	r.do(func() {
		at, f := n.create(rootIno, "f")
		ino = at.Ino
		synced := func(prepare func()) {
			p := pattern(uint64(len(versions)), size)
			n.write(f, p, 0)
			versions = append(versions, p)
			if prepare != nil {
				prepare()
			}
			require.NoError(t, f.Sync(bg, true))
			log.Mark(len(versions) - 1)
		}
		synced(nil) // with the metadata
		synced(nil) // committed, not home
		require.NoError(t, n.j.Checkpoint(bg))
		synced(nil) // home
		mode := uint32(0o600)
		synced(func() { require.NoError(t, n.Setattr(bg, root, ino, SetAttr{Mode: &mode}, func(Attr) {})) })
		n.close(f)
	})
	judged := 0
	for c, image := range log.Crashes(writelog.Options{Exhaustive: 3, Samples: 4, Torn: true}) {
		if len(c.Marks) == 0 {
			continue
		}
		synced := c.Marks[len(c.Marks)-1].(int)
		judged++
		readAfterCrash(t, r, image, func(m *rigNode) {
			f := m.open(ino, syscall.O_RDONLY)
			got := m.read(f, 0, size)
			m.close(f)
			for at := 0; at < size; at += 512 {
				ok := false
				for _, v := range versions[synced:min(synced+2, len(versions))] {
					ok = ok || bytes.Equal(v[at:at+512], got[at:at+512])
				}
				require.True(t, ok, "crash %q: sector at %d is older than version %d, which was synced", c, at, synced)
			}
		})
	}
	require.Greater(t, judged, 50)
}

// readAfterCrash replays and mounts a crashed image of a one-node rig.
func readAfterCrash(t *testing.T, old *rig, image *memdev.Device, look func(n *rigNode)) {
	t.Helper()
	s := simsched.New(1)
	defer s.Stop()
	r := &rig{t: t, s: s, dev: image, sb: old.sb, hub: &hub{s: s, at: map[view.Slot]*port{}}, epoch: 10}
	n := &rigNode{r: r, id: view.NodeID{Slot: 0, Incarnation: 2}}
	r.nodes = []*rigNode{n}
	r.do(func() {
		_, err := journal.Replay(bg, image, r.sb, 0, journal.ReplayOptions{Sched: s})
		require.NoError(t, err)
		n.start(image)
		r.views()
		n.mount()
		look(n)
		r.stop()
	})
}

// TestTimesReachTheDisk: an overwrite is not worth a transaction, but its time is in the record some seconds later.
func TestTimesReachTheDisk(t *testing.T) {
	s := simsched.New(1)
	r := newRig(t, rigOptions{nodes: 1, sched: s})
	n := r.nodes[0]
	r.do(func() {
		at, f := n.create(rootIno, "f")
		n.write(f, make([]byte, 8192), 0)
		require.NoError(t, n.SyncAll(bg))
		require.NoError(t, s.Sleep(bg, time.Minute))
		n.write(f, make([]byte, 4096), 0)
		want := n.attr(at.Ino).Mtime
		require.NoError(t, s.Sleep(bg, time.Minute))
		b, err := n.j.Read(bg, at.Ino, ondisk.TypeInode, at.Ino)
		require.NoError(t, err)
		rec, err := ondisk.DecodeInode(b)
		require.NoError(t, err)
		require.Equal(t, want.UnixNano(), rec.Mtime.Time().UnixNano())
		n.close(f)
	})
}
