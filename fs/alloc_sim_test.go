package fs

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/dlm"
	"github.com/covol/covol/journal"
	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/blockdev/simdisk"
	"github.com/covol/covol/ondisk/check/checktest"
	"github.com/covol/covol/ondisk/sched/simsched"
)

// holding is a run of clusters, or one metadata block, that a node has taken; the model of the judge. What is not known
// to be durable may be so on disk or not after a crash.
type holding struct {
	start   uint64 // first cluster, or block
	n       uint32
	meta    bool
	stamp   uint64 // written to the first cluster
	node    int
	life    int
	taken   bool // the taking is durable
	freeing bool // the freeing was published, or is about to be, and is not durable
	busy    bool // a procedure works on it
	tx      int  // number of the transaction that took it
}

// spaceWorld runs several nodes that take and give back space, and judges what they leave on disk.
type spaceWorld struct {
	t     testing.TB
	s     *simsched.Scheduler
	rng   *rand.Rand
	disk  *simdisk.Disk
	rig   *storeRig
	nodes []*store
	lives []int
	held  map[[2]uint64]*holding // by kind and start
	order [][2]uint64            // keys of held, so that choices do not follow map order
	txs   int
	used  int // clusters
}

func key(h *holding) [2]uint64 {
	if h.meta {
		return [2]uint64{1, h.start}
	}
	return [2]uint64{0, h.start}
}

func (w *spaceWorld) add(h *holding) {
	w.held[key(h)] = h
	w.order = append(w.order, key(h))
	if !h.meta {
		w.used += int(h.n)
	}
}

func (w *spaceWorld) remove(h *holding) {
	if w.held[key(h)] != h {
		return
	}
	delete(w.held, key(h))
	w.order = slices.DeleteFunc(w.order, func(k [2]uint64) bool { return k == key(h) })
	if !h.meta {
		w.used -= int(h.n)
	}
}

// free fails the test unless nobody holds any part of h: F2 and exclusion between nodes.
func (w *spaceWorld) free(h *holding) {
	for _, o := range w.held {
		if o.meta == h.meta && o.start < h.start+uint64(h.n) && h.start < o.start+uint64(o.n) {
			require.Fail(w.t, "taken twice", "%+v over %+v", h, o)
		}
	}
}

// work is one procedure of a node until its life ends or the rounds are over.
func (w *spaceWorld) work(node, rounds int) {
	life := w.lives[node]
	for range rounds {
		if w.lives[node] != life {
			return
		}
		var err error
		full := float64(w.used) / float64(w.rig.sb.FreeClusters)
		switch p := w.rng.Float64(); {
		case p < 0.1:
			err = w.nodes[node].j.SyncAll(context.Background())
		case p < 0.2:
			err = w.s.Sleep(context.Background(), time.Duration(w.rng.IntN(3000))*time.Millisecond)
		case p < 0.2+0.8*(1-full):
			err = w.take(node)
		default:
			err = w.give(node)
		}
		if w.lives[node] != life {
			return
		}
		if err != nil && !errors.Is(err, ErrNoSpace) {
			require.NoError(w.t, err)
		}
		countsAgree(w.t, w.nodes[node].alloc)
	}
}

func (w *spaceWorld) take(node int) error {
	ctx, s, life := context.Background(), w.nodes[node], w.lives[node]
	nd := need{clusters: w.rng.IntN(60), meta: w.rng.IntN(6), essential: w.rng.IntN(3) == 0}
	tx, err := s.begin(ctx, nd)
	if err != nil {
		return err
	}
	defer tx.abort()
	var goal uint64
	if len(w.order) > 0 && w.rng.IntN(2) == 0 {
		if h := w.held[w.order[w.rng.IntN(len(w.order))]]; !h.meta {
			goal = h.start + uint64(h.n)
		}
	}
	rs, err := tx.allocData(ctx, nd.clusters, goal)
	if err != nil {
		return fmt.Errorf("promised: %v", err)
	}
	w.txs++
	var hs []*holding
	for _, r := range rs {
		hs = append(hs, &holding{start: r.Start, n: r.Len, stamp: w.rng.Uint64(), node: node, life: life, busy: true, tx: w.txs})
	}
	for range w.rng.IntN(nd.meta + 1) {
		blk, err := tx.allocMeta(ctx)
		if err != nil {
			return fmt.Errorf("promised: %v", err)
		}
		hs = append(hs, &holding{start: blk, n: 1, meta: true, node: node, life: life, busy: true, tx: w.txs})
	}
	for _, h := range hs {
		w.free(h)
		w.add(h)
	}
	gone := func() {
		for _, h := range hs {
			w.remove(h)
		}
	}
	for _, h := range hs {
		if h.meta {
			continue
		}
		b := make([]byte, ondisk.BlockSize)
		binary.LittleEndian.PutUint64(b, h.stamp)
		if err := s.dev.WriteAt(ctx, b, int64(h.start)*int64(w.rig.sb.ClusterSize), false); err != nil {
			return err // dead: the recovery sorts it out
		}
	}
	if w.rng.IntN(6) == 0 {
		gone()
		return nil
	}
	tx.ordered()
	tx.OnDurable(func() {
		for _, h := range hs {
			h.taken = true
		}
	})
	if _, err := tx.commit(ctx); err != nil {
		if w.lives[node] == life && w.nodes[node].j.Sync(ctx, 0) == nil {
			gone()
		}
		return err
	}
	for _, h := range hs {
		h.busy = false
	}
	return nil
}

func (w *spaceWorld) give(node int) error {
	ctx, s, life := context.Background(), w.nodes[node], w.lives[node]
	var hs []*holding
	for range 1 + w.rng.IntN(12) {
		if len(w.order) == 0 {
			break
		}
		h := w.held[w.order[w.rng.IntN(len(w.order))]]
		if h.busy || h.freeing || (!h.taken && (h.node != node || h.life != life)) {
			continue // what another node has changed is durable before we may see it
		}
		h.busy = true
		hs = append(hs, h)
	}
	done := func() {
		for _, h := range hs {
			h.busy = false
		}
	}
	tx, err := s.begin(ctx, need{essential: true})
	if err != nil {
		done()
		return err
	}
	defer tx.abort()
	for _, h := range hs {
		if h.meta {
			if w.rng.IntN(2) == 0 {
				tx.freeMeta(h.start)
			} else {
				tx.freeInode(h.start)
			}
			continue
		}
		w.verify(h, s.dev)
		if err := tx.freeData(ctx, h.start, h.n); err != nil {
			return err
		}
	}
	if w.rng.IntN(8) == 0 {
		done()
		return nil
	}
	for _, h := range hs {
		h.freeing, h.node, h.life = true, node, life
	}
	tx.OnDurable(func() {
		for _, h := range hs {
			w.remove(h)
		}
	})
	_, err = tx.commit(ctx)
	if err != nil && w.lives[node] == life && s.j.Sync(ctx, 0) == nil {
		for _, h := range hs {
			h.freeing = false
		}
		done()
	}
	return err
}

// verify reads what was written to h when it was taken: no discard and no other file may have hit it.
func (w *spaceWorld) verify(h *holding, dev blockdev.Device) {
	b := make([]byte, ondisk.BlockSize)
	if err := dev.ReadAt(context.Background(), b, int64(h.start)*int64(w.rig.sb.ClusterSize)); err != nil {
		return // this node has died meanwhile
	}
	require.Equal(w.t, h.stamp, binary.LittleEndian.Uint64(b), "content of %+v", h)
}

// plainReader reads blocks straight from a device.
type plainReader struct {
	dev blockdev.Device
	sb  *ondisk.Super
}

func (r plainReader) Read(ctx context.Context, blk uint64, want ondisk.Type, _ uint64) ([]byte, error) {
	b := make([]byte, ondisk.BlockSize)
	if err := r.dev.ReadAt(ctx, b, int64(blk)*ondisk.BlockSize); err != nil {
		return nil, err
	}
	return b, ondisk.CheckHeader(b, want, blk, r.sb.UUID)
}

// logged are the deferred frees on a device: blocks by kind.
func (w *spaceWorld) logged(dev blockdev.Device, slots ...uint16) map[[2]uint64]bool {
	out := map[[2]uint64]bool{}
	r, sb := plainReader{dev, w.rig.sb}, w.rig.sb
	for _, slot := range slots {
		s := &store{sb: sb}
		in, err := s.readFreeLog(context.Background(), r, slot)
		require.NoError(w.t, err)
		treeCheck(w.t, r, in)
		require.NoError(w.t, treeScan(context.Background(), r, in, 0, func(k uint64, v []byte) bool {
			f, err := ondisk.DecodeFree(sb, in.Ino, k, v)
			require.NoError(w.t, err)
			if f.Kind == ondisk.FreeMeta {
				out[[2]uint64{1, k}] = true
				return true
			}
			for c := k; c < k+uint64(f.Blocks); c += uint64(sb.ClusterBlocks()) {
				require.False(w.t, out[[2]uint64{0, c / uint64(sb.ClusterBlocks())}])
				out[[2]uint64{0, c / uint64(sb.ClusterBlocks())}] = true
			}
			return true
		}))
	}
	return out
}

// disk state of one cluster or block: free, in a free log, or taken.
type onDiskBits struct {
	clusters, meta []bitset
	logged         map[[2]uint64]bool
	sb             *ondisk.Super
}

func (w *spaceWorld) bits(dev blockdev.Device, logs ...uint16) *onDiskBits {
	o := &onDiskBits{sb: w.rig.sb, logged: w.logged(dev, logs...)}
	for g := range w.rig.sb.Groups {
		h, c, m := groupBits(w.t, dev, w.rig.sb, g)
		require.Equal(w.t, int(h.FreeClusters), c.clear(), "group %d", g)
		require.Equal(w.t, int(h.FreeMeta), m.clear(), "group %d", g)
		o.clusters, o.meta = append(o.clusters, c), append(o.meta, m)
	}
	return o
}

func (o *onDiskBits) set(meta bool, n uint64) bool {
	k := uint64(o.sb.ClusterBlocks())
	blk := n
	if !meta {
		blk = n * k
	}
	g, _ := o.sb.GroupOf(blk)
	rel := int(blk - o.sb.GroupFirst(g))
	if meta {
		return o.meta[g].has(rel) && o.clusters[g].has(rel/int(k))
	}
	return o.clusters[g].has(rel / int(k))
}

// taken reports whether the whole holding is in use on disk, and whether the whole of it is free or in a free log.
func (o *onDiskBits) taken(h *holding) (taken, free bool) {
	taken, free = true, true
	for i := range uint64(h.n) {
		kind := uint64(0)
		if h.meta {
			kind = 1
		}
		if o.set(h.meta, h.start+i) && !o.logged[[2]uint64{kind, h.start + i}] {
			free = false
		} else {
			taken = false
		}
	}
	return taken, free
}

// judge replays all journals on a clone of the disk as a power failure would leave it now, and holds what is there to
// the model: everything durable is there, every transaction is there whole or not at all, nothing leaks.
func (w *spaceWorld) judge() {
	clone := w.disk.CrashClone(w.rng.Uint64())
	model := map[[2]uint64]holding{}
	for k, h := range w.held {
		model[k] = *h
	}
	ctx, sb, dev := context.Background(), w.rig.sb, clone.Path(0)
	var slots []uint16
	for slot := range uint16(sb.Slots) {
		_, err := journal.Replay(ctx, dev, sb, view.Slot(slot), journal.ReplayOptions{Sched: w.s})
		require.NoError(w.t, err)
		slots = append(slots, slot)
	}
	o := w.bits(dev, slots...)
	txs := map[int]bool{}
	owner, chunks := map[uint64]bool{}, map[uint64]bool{}
	k := uint64(sb.ClusterBlocks())
	for _, h := range model {
		taken, free := o.taken(&h)
		require.True(w.t, taken || free, "half of %+v", h)
		switch {
		case h.taken && !h.freeing:
			require.True(w.t, taken, "lost %+v", h)
		case !h.freeing:
			if was, ok := txs[h.tx]; ok {
				require.Equal(w.t, was, taken, "half of the transaction that took %+v", h)
			}
			txs[h.tx] = taken
		}
		if taken && !h.meta && (h.taken || !h.busy) {
			w.verify(&h, dev)
		}
		for i := range uint64(h.n) {
			if h.meta {
				chunks[h.start/k] = true
			} else {
				owner[h.start+i] = true
			}
		}
	}
	free := int64(0)
	for g := range sb.Groups {
		first := sb.GroupFirst(g) / k
		free += int64(o.clusters[g].clear())
		for c := uint64(sb.GroupMetaClusters()); c < uint64(sb.GroupClusters(g)); c++ {
			if !o.clusters[g].has(int(c)) || owner[first+c] || chunks[first+c] || o.logged[[2]uint64{0, first + c}] {
				continue
			}
			m := o.meta[g].nextClear(int(c * k))
			inLog := false
			for b := range k {
				inLog = inLog || o.logged[[2]uint64{1, (first+c)*k + b}]
			}
			require.True(w.t, inLog || m >= 0 && uint64(m) < (c+1)*k, "cluster %d leaks", first+c)
		}
	}
	sum := int64(sb.FreeClusters)
	for slot := range uint16(sb.Slots) {
		b, err := plainReader{dev, sb}.Read(ctx, sb.SpaceBlock(slot), ondisk.TypeSpace, 0)
		require.NoError(w.t, err)
		sum += ondisk.DecodeSpace(slot, b).Clusters
	}
	require.Equal(w.t, sum, free, "counters of slots")
}

// keeps reports whether a holding whose fate was open when node died is still taken. The bitmaps of groups that the
// node held are home after the replay; in others it can only have freed by its log.
func (w *spaceWorld) keeps(o *onDiskBits, node int, h *holding) bool {
	kind, blk := uint64(1), h.start
	if !h.meta {
		kind, blk = 0, h.start*uint64(w.rig.sb.ClusterBlocks())
	}
	g, _ := w.rig.sb.GroupOf(blk)
	if w.rig.med.held[groupRes(g)][node] != dlm.EX {
		return !o.logged[[2]uint64{kind, h.start}]
	}
	taken, _ := o.taken(h)
	return taken
}

// kill lets a node die with writes in flight and brings another life of it up, after its journal was replayed and its
// free log drained by a survivor.
func (w *spaceWorld) kill(node int) {
	ctx, sb := context.Background(), w.rig.sb
	w.lives[node]++
	w.disk.KillHost(node, 0)
	dead := w.nodes[node]
	dead.j.Kill()
	dead.alloc.kill(errors.New("dead"))
	dead.locks.fail(errors.New("dead"))
	require.NoError(w.t, w.s.Sleep(ctx, time.Second))
	dev := w.disk.Path(9)
	st, err := journal.Replay(ctx, dev, sb, view.Slot(node), journal.ReplayOptions{Sched: w.s})
	require.NoError(w.t, err)
	o := &onDiskBits{sb: sb, logged: w.logged(dev, uint16(node))}
	for g := range sb.Groups {
		_, c, m := groupBits(w.t, dev, sb, g)
		o.clusters, o.meta = append(o.clusters, c), append(o.meta, m)
	}
	for _, k := range slices.Clone(w.order) {
		h := w.held[k]
		if h == nil || h.node != node || h.life == w.lives[node] {
			continue
		}
		if h.taken && !h.freeing {
			h.busy = false
			continue
		}
		if !w.keeps(o, node, h) {
			w.remove(h)
			continue
		}
		h.taken, h.freeing, h.busy = true, false, false
	}
	w.rig.med.drop(node)
	survivor := (node + 1) % len(w.nodes)
	w.nodes[survivor].j.ObserveLSN(st.LSN)
	require.NoError(w.t, w.nodes[survivor].alloc.drain(ctx, uint16(node)))
	w.nodes[node], err = w.rig.open(view.Slot(node), view.Incarnation(w.lives[node]+1), w.disk.Path(node))
	require.NoError(w.t, err)
}

func runSpaceWorld(t testing.TB, seed uint64, nodes, rounds int) {
	reportSeed(t, seed)
	simulate(t, seed, func(s *simsched.Scheduler, rng *rand.Rand) {
		disk := simdisk.New(simdisk.Config{Size: ondisk.MinVolume, SectorSize: 4096, Seed: seed, Traits: simdisk.Harsh})
		r := newStoreRig(t, storeOptions{cluster: 65536, slots: uint32(nodes), sched: s, dev: disk.Path(9)})
		disk.SetWait(s.Sleep)
		w := &spaceWorld{t: t, s: s, rng: rng, disk: disk, rig: r, held: map[[2]uint64]*holding{}, lives: make([]int, nodes)}
		for n := range nodes {
			st, err := r.open(view.Slot(n), 1, disk.Path(n))
			require.NoError(t, err)
			w.nodes = append(w.nodes, st)
		}
		running := 0
		spawn := func(node int) {
			for range 3 {
				running++
				s.Go(fmt.Sprintf("node %d", node), func() {
					defer func() { running-- }()
					w.work(node, rounds)
				})
			}
		}
		for n := range nodes {
			spawn(n)
		}
		ctx := context.Background()
		for i := 0; running > 0; i++ {
			require.NoError(t, s.Sleep(ctx, time.Duration(rng.IntN(2000))*time.Millisecond))
			switch {
			case i < 6:
				w.judge()
			case i == 6 && nodes > 1 && rng.IntN(2) == 0:
				node := rng.IntN(nodes)
				w.kill(node)
				spawn(node)
			}
		}
		w.judge()
		for _, st := range w.nodes {
			require.NoError(t, st.j.SyncAll(ctx))
		}
		require.NoError(t, s.Sleep(ctx, time.Second)) // for those who are told what is durable
		for i, k := range slices.Clone(w.order) {
			h := w.held[k]
			if h == nil {
				continue
			}
			tx, err := w.nodes[i%nodes].begin(ctx, need{essential: true})
			require.NoError(t, err)
			if h.meta {
				tx.freeMeta(h.start)
			} else {
				w.verify(h, disk.Path(9))
				require.NoError(t, tx.freeData(ctx, h.start, h.n))
			}
			_, err = tx.commit(ctx)
			require.NoError(t, err)
		}
		for _, st := range w.nodes {
			r.close(st)
		}
		disk.SetWait(nil)
		checktest.MustBeClean(t, disk.Path(9))
	})
}

// TestSpaceSim: nodes take and give back space at the same time on a disk that loses and tears what is not flushed; the
// power fails, nodes die and come back. The judge reads the disk, never the allocator.
func TestSpaceSim(t *testing.T) {
	all := seeds(24)
	if *allocSeed == 0 {
		all = append(all, 697, 921) // a window that was used up hid another that grew up to it
	}
	for _, seed := range all {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) { runSpaceWorld(t, seed, 1+int(seed%3), 60) })
	}
}
