package fs

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/dlm"
	"github.com/covol/covol/journal"
	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/blockdev/memdev"
	"github.com/covol/covol/ondisk/mkfs"
	"github.com/covol/covol/ondisk/sched"
	"github.com/covol/covol/ondisk/sched/simsched"
)

var allocSeed = flag.Uint64("allocseed", 0, "run only this seed of the allocator's random tests")

// seeds are the seeds that a random test runs: the one asked for, else n.
func seeds(n int) []uint64 {
	if *allocSeed != 0 {
		return []uint64{*allocSeed}
	}
	if testing.Short() {
		n = max(n/4, 1)
	}
	all := make([]uint64, n)
	for i := range all {
		all[i] = uint64(i + 1)
	}
	return all
}

// mediator is a lock manager without messages for the stores of one test. It keeps the promises of dlm: first come,
// first served; NoQueue never waits; holders in the way are asked.
type mediator struct {
	s  sched.Scheduler
	mu sync.Mutex
	// GUARDED_BY(mu)
	held    map[dlm.Resource]map[int]dlm.Mode
	waiting map[dlm.Resource][]*asker
	nodes   map[int]*lockTable
	token   uint64
}

type asker struct {
	node int
	mode dlm.Mode
	ev   sched.Event
	ok   bool
}

func newMediator(s sched.Scheduler) *mediator {
	return &mediator{s: s, held: map[dlm.Resource]map[int]dlm.Mode{}, waiting: map[dlm.Resource][]*asker{}, nodes: map[int]*lockTable{}}
}

// of is the lock manager of one node.
func (m *mediator) of(node int) LockManager { return mediated{m, node} }

type mediated struct {
	m    *mediator
	node int
}

func (l mediated) Lock(ctx context.Context, r dlm.Resource, mode dlm.Mode, o dlm.Options) (dlm.Grant, error) {
	m := l.m
	m.mu.Lock()
	if m.grant(r, l.node, mode) {
		defer m.mu.Unlock()
		m.token++
		return dlm.Grant{Mode: mode, Token: m.token}, nil
	}
	if o.NoQueue {
		m.mu.Unlock()
		return dlm.Grant{}, dlm.ErrBusy
	}
	a := &asker{node: l.node, mode: mode, ev: m.s.NewEvent()}
	m.waiting[r] = append(m.waiting[r], a)
	m.ask(r)
	m.mu.Unlock()
	err := a.ev.Wait(ctx)
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil && !a.ok {
		m.waiting[r] = slices.DeleteFunc(m.waiting[r], func(x *asker) bool { return x == a })
		return dlm.Grant{}, err
	}
	m.token++
	return dlm.Grant{Mode: mode, Token: m.token}, nil
}

func (m *mediator) grant(r dlm.Resource, node int, mode dlm.Mode) bool {
	if len(m.waiting[r]) > 0 && m.held[r][node] == dlm.NL {
		return false
	}
	return m.force(r, node, mode)
}

func (m *mediator) force(r dlm.Resource, node int, mode dlm.Mode) bool {
	for n, h := range m.held[r] {
		if n != node && (h == dlm.EX || mode == dlm.EX) {
			return false
		}
	}
	if m.held[r] == nil {
		m.held[r] = map[int]dlm.Mode{}
	}
	m.held[r][node] = mode
	return true
}

// ask tells the holders in the way of the first who waits.
func (m *mediator) ask(r dlm.Resource) {
	if len(m.waiting[r]) == 0 {
		return
	}
	first := m.waiting[r][0]
	for n := range 16 {
		if h := m.held[r][n]; n != first.node && h != dlm.NL && (h == dlm.EX || first.mode == dlm.EX) {
			t := m.nodes[n]
			m.s.Go("ask", func() { t.demand(r, first.mode) })
		}
	}
}

func (l mediated) Downgrade(r dlm.Resource, mode dlm.Mode, _ []byte) error {
	m := l.m
	m.mu.Lock()
	defer m.mu.Unlock()
	if mode == dlm.NL {
		delete(m.held[r], l.node)
	} else {
		m.held[r][l.node] = mode
	}
	for len(m.waiting[r]) > 0 {
		a := m.waiting[r][0]
		if !m.force(r, a.node, a.mode) {
			break
		}
		m.waiting[r] = m.waiting[r][1:]
		a.ok = true
		a.ev.Set()
	}
	m.ask(r)
	return nil
}

// drop takes all locks of a dead node away, as after its recovery.
func (m *mediator) drop(node int) {
	m.mu.Lock()
	var rs []dlm.Resource
	for r := range m.held {
		rs = append(rs, r)
	}
	m.mu.Unlock()
	for _, r := range rs {
		_ = m.of(node).Downgrade(r, dlm.NL, nil)
	}
}

// storeRig are the stores of several nodes on one device.
type storeRig struct {
	t   testing.TB
	s   sched.Scheduler
	dev blockdev.Device
	sb  *ondisk.Super
	med *mediator
}

type storeOptions struct {
	size    int64
	cluster uint32
	slots   uint32
	dev     blockdev.Device
	sched   sched.Scheduler
	group   uint32
	ready   uint32 // groups that count as formatted, 0: all that mkfs has formatted
}

func newStoreRig(t testing.TB, o storeOptions) *storeRig {
	t.Helper()
	ctx := context.Background()
	if o.size == 0 {
		o.size = ondisk.MinVolume
	}
	if o.dev == nil {
		o.dev = memdev.New(blockdev.Geometry{SectorSize: 4096, Size: o.size}, nil)
	}
	if o.sched == nil {
		o.sched = sched.Real{}
	}
	if o.slots == 0 {
		o.slots = 2
	}
	sb, err := mkfs.Format(ctx, o.dev, mkfs.Options{
		ClusterSize: o.cluster, Slots: o.slots, JournalBytes: 1 << 20, GroupBlocks: o.group, NoDiscard: true,
		UUID: ondisk.UUID{1, 2, 3}, HashSeed: [16]byte{7}, Now: func() time.Time { return time.Unix(1, 0) },
	})
	require.NoError(t, err)
	if o.ready > 0 {
		b := ondisk.EncodeGrow(sb, o.ready)
		ondisk.Stamp(b, 1, 1, 0, 0)
		ondisk.Seal(b)
		require.NoError(t, o.dev.WriteAt(ctx, b, ondisk.GrowBlock*ondisk.BlockSize, false))
		for g := o.ready; g < sb.Groups; g++ {
			junk := make([]byte, ondisk.BlockSize*sb.GroupMetaBlocks())
			require.NoError(t, o.dev.WriteAt(ctx, junk, int64(sb.GroupFirst(g))*ondisk.BlockSize, false))
		}
	}
	return &storeRig{t: t, s: o.sched, dev: o.dev, sb: sb, med: newMediator(o.sched)}
}

// onStore adapts glops for a store without a volume.
func storeOps(s *store) func(dlm.Resource) glops {
	return func(r dlm.Resource) glops {
		if r.Kind == dlm.Group {
			return s.groupOps()
		}
		return plainOps{}
	}
}

// open makes the store of a node, with an optional device of its own.
func (r *storeRig) open(slot view.Slot, inc view.Incarnation, dev blockdev.Device) (*store, error) {
	if dev == nil {
		dev = r.dev
	}
	ctx := context.Background()
	s := &store{dev: dev, sb: r.sb, slot: slot, sched: r.s, log: slog.New(slog.DiscardHandler)}
	j, err := journal.Open(ctx, journal.Config{
		Dev: dev, Super: r.sb, Slot: slot, Incarnation: inc, Sched: r.s, Epoch: func() view.Epoch { return 1 },
	})
	if err != nil {
		return nil, err
	}
	s.j = j
	s.locks = newLockTable(r.med.of(int(slot)), r.s, 1000, storeOps(s), func(error) {})
	r.med.mu.Lock()
	r.med.nodes[int(slot)] = s.locks
	r.med.mu.Unlock()
	s.alloc, err = newAllocator(ctx, s)
	return s, err
}

func (r *storeRig) mustOpen(slot view.Slot) *store {
	s, err := r.open(slot, 1, nil)
	require.NoError(r.t, err)
	return s
}

// close leaves in order.
func (r *storeRig) close(s *store) {
	ctx := context.Background()
	require.NoError(r.t, s.alloc.close(ctx))
	require.NoError(r.t, s.j.Close(ctx))
	r.med.drop(int(s.slot))
}

// groupBits reads the bitmaps of a group straight from a device.
func groupBits(t testing.TB, dev blockdev.Device, sb *ondisk.Super, g uint32) (h *ondisk.Group, clusters, meta bitset) {
	t.Helper()
	read := func(blk uint64, typ ondisk.Type) []byte {
		b := make([]byte, ondisk.BlockSize)
		require.NoError(t, dev.ReadAt(context.Background(), b, int64(blk)*ondisk.BlockSize))
		require.NoError(t, ondisk.CheckHeader(b, typ, blk, sb.UUID), "group %d", g)
		return b
	}
	h, err := ondisk.DecodeGroup(sb, g, read(sb.GroupFirst(g), ondisk.TypeGroup))
	require.NoError(t, err)
	bits := func(kind uint32, n int) bitset {
		count, at := bitmapBlocks(sb, g, kind)
		var parts [][]byte
		for i := range count {
			p, err := ondisk.BitmapBits(read(at(i), ondisk.TypeBitmap), kind, i)
			require.NoError(t, err)
			parts = append(parts, p)
		}
		return bitsFrom(n, parts, ondisk.BitsPerBitmap)
	}
	return h, bits(ondisk.ClusterBitmap, int(sb.GroupClusters(g))), bits(ondisk.MetaBitmap, int(sb.GroupBlocksOf(g)))
}

// simulate runs fn as a procedure of a seeded scheduler and fails the test, naming the seed, if it does not end.
func simulate(t testing.TB, seed uint64, fn func(s *simsched.Scheduler, rng *rand.Rand)) {
	t.Helper()
	s := simsched.New(seed)
	ended := false
	s.Go("test", func() {
		fn(s, rand.New(rand.NewPCG(seed, 1)))
		ended = true
	})
	err := s.Run(24 * time.Hour)
	if t.Failed() {
		t.FailNow() // procedures are left as they are: some may be inside a device
	}
	if err != nil || !ended {
		t.Fatalf("seed %d: ended %v: %v\n%v", seed, ended, err, s.Parked())
	}
	s.Stop()
}

// report names the seed when the test fails.
func reportSeed(t testing.TB, seed uint64) {
	t.Cleanup(func() {
		if t.Failed() {
			fmt.Printf("seed %d: go test ./fs -run '%s' -allocseed=%d\n", seed, t.Name(), seed)
		}
	})
}

// countsAgree holds the counters of an allocator to its bits, windows and the promises that they must cover.
func countsAgree(t testing.TB, a *allocator) {
	a.mu.Lock()
	defer a.mu.Unlock()
	aheads := map[*group]int{}
	for _, w := range a.windows {
		aheads[w.g] += w.end - w.next
		require.Same(t, a.groups[w.g.idx], w.g, "window of a group that was given away")
	}
	for _, g := range a.groups {
		require.Equal(t, g.clusters.clear(), g.free, "group %d", g.idx)
		require.Equal(t, g.meta.clear(), g.freeMeta, "group %d", g.idx)
		require.Equal(t, aheads[g], g.ahead, "group %d", g.idx)
		require.GreaterOrEqual(t, g.spare(), 0, "group %d", g.idx)
		require.GreaterOrEqual(t, g.spareMeta(), 0, "group %d", g.idx)
		require.GreaterOrEqual(t, g.promised, 0, "group %d", g.idx)
		require.GreaterOrEqual(t, g.promisedMeta, 0, "group %d", g.idx)
	}
}
