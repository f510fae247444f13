package fs

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/dlm"
	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/blockdev/memdev"
	"github.com/covol/covol/ondisk/check/checktest"
	"github.com/covol/covol/ondisk/mkfs"
	"github.com/covol/covol/ondisk/sched"
	"github.com/covol/covol/ondisk/sched/simsched"
)

// hub carries the messages of the lock managers of one process. Each is delivered by a procedure of its own, so they may
// overtake each other.
type hub struct {
	s  sched.Scheduler
	mu sync.Mutex
	at map[view.Slot]*port
}

type port struct {
	h      *hub
	slot   view.Slot
	handle func(view.Slot, []byte)
	closed bool
}

func (h *hub) join(s view.Slot) *port {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := &port{h: h, slot: s}
	h.at[s] = p
	return p
}

func (p *port) Send(to view.Slot, msg []byte) {
	p.h.s.Go("deliver", func() {
		p.h.mu.Lock()
		q := p.h.at[to]
		gone := p.closed || q == nil || q.closed
		p.h.mu.Unlock()
		if !gone && q.handle != nil {
			q.handle(p.slot, msg)
		}
	})
}

func (p *port) Handle(f func(view.Slot, []byte)) { p.handle = f }
func (p *port) SetMembers([]view.Member)         {}
func (p *port) Close() error {
	p.h.mu.Lock()
	defer p.h.mu.Unlock()
	p.closed = true
	return nil
}

// rig is a cluster in one process: several volumes mounted from one device.
type rig struct {
	t     testing.TB
	s     sched.Scheduler
	dev   blockdev.Device
	sb    *ondisk.Super
	hub   *hub
	epoch view.Epoch
	nodes []*rigNode
	idle  int
}

type rigNode struct {
	*Volume
	r    *rig
	id   view.NodeID
	dev  blockdev.Device
	lm   *dlm.Node
	port *port
	kern *fakeKernel
}

type rigOptions struct {
	nodes   int
	size    int64
	sched   sched.Scheduler
	wrap    func(slot int, dev blockdev.Device) blockdev.Device
	dev     blockdev.Device // formatted already if super is set
	cluster uint32
	noCheck bool
	// idleLocks is Config.IdleLocks.
	idleLocks int
}

// How long tests wait for what must happen soon, and how often they look.
const (
	waitLong = 30 * time.Second
	waitTick = time.Millisecond
)

// newRig formats a device and mounts it on so many nodes. At the end of the test all are unmounted and the volume must
// be clean.
func newRig(t testing.TB, o rigOptions) *rig {
	t.Helper()
	if o.size == 0 {
		o.size = 256 << 20
	}
	if o.sched == nil {
		o.sched = sched.Real{}
	}
	if o.dev == nil {
		o.dev = memdev.New(blockdev.Geometry{SectorSize: 512, Size: o.size}, nil)
	}
	slots := uint32(max(4, o.nodes))
	sb, err := mkfs.Format(context.Background(), o.dev, mkfs.Options{Slots: slots, ClusterSize: o.cluster, NoDiscard: true, Profile: "fast"})
	require.NoError(t, err)
	r := &rig{t: t, s: o.sched, dev: o.dev, sb: sb, hub: &hub{s: o.sched, at: map[view.Slot]*port{}}, epoch: 1, idle: o.idleLocks}
	for i := range o.nodes {
		dev := o.dev
		if o.wrap != nil {
			dev = o.wrap(i, dev)
		}
		r.nodes = append(r.nodes, &rigNode{r: r, id: view.NodeID{Slot: view.Slot(i), Incarnation: 1}})
		r.nodes[i].start(dev)
	}
	r.do(func() {
		r.views()
		for _, n := range r.nodes {
			n.mount()
		}
	})
	if sim, ok := o.sched.(*simsched.Scheduler); ok {
		t.Cleanup(sim.Stop)
	}
	if !o.noCheck {
		t.Cleanup(func() {
			r.do(r.stop)
			checktest.MustBeClean(t, o.dev)
		})
	}
	return r
}

// do runs fn, under a simulated scheduler as a procedure of it.
func (r *rig) do(fn func()) {
	r.t.Helper()
	sim, ok := r.s.(*simsched.Scheduler)
	if !ok {
		fn()
		return
	}
	done := false
	sim.Go("test", func() { fn(); done = true })
	for range 1000 {
		if done {
			return
		}
		require.NoError(r.t, sim.Run(sim.Now()+10*time.Second))
	}
	require.True(r.t, done, "no end in sight: %v", sim.Parked())
}

func (n *rigNode) start(dev blockdev.Device) {
	n.port = n.r.hub.join(n.id.Slot)
	n.lm = dlm.NewNode(dlm.Config{ID: n.id, Sched: n.r.s, Transport: n.port, OnBlocking: func(res dlm.Resource, want dlm.Mode) {
		if n.Volume != nil {
			n.Volume.Demand(res, want)
		}
	}})
	n.Volume = nil
	n.kern = &fakeKernel{}
	n.dev = dev
}

func (n *rigNode) mount() {
	v, err := Mount(context.Background(), Config{
		Dev: n.dev, Super: n.r.sb, ID: n.id, Epoch: func() view.Epoch { return n.r.epoch }, Locks: n.lm, Sched: n.r.s,
		IdleLocks: n.r.idle,
	})
	require.NoError(n.r.t, err)
	v.SetNotifier(n.kern)
	n.Volume = v
}

// views tells all nodes who is in.
func (r *rig) views() {
	r.epoch++
	v := view.View{Epoch: r.epoch}
	for _, n := range r.nodes {
		v.Members = append(v.Members, view.Member{NodeID: n.id, Name: fmt.Sprintf("node%d", n.id.Slot+1)})
	}
	for _, n := range r.nodes {
		n.lm.SetView(v)
	}
}

// stop unmounts all nodes that have not withdrawn.
func (r *rig) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, n := range r.nodes {
		if n.Volume == nil || n.failed() != nil {
			continue
		}
		require.NoError(r.t, n.Unmount(ctx))
	}
	for _, n := range r.nodes {
		n.lm.Stop()
		_ = n.port.Close()
	}
}

// fakeKernel notes what it was told to forget.
type fakeKernel struct {
	mu          sync.Mutex
	attrs, data []Ino
	onData      func(Ino)
}

func (k *fakeKernel) InvalidateAttr(ino Ino) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.attrs = append(k.attrs, ino)
	return nil
}

func (k *fakeKernel) InvalidateData(ino Ino) error {
	k.mu.Lock()
	k.data = append(k.data, ino)
	f := k.onData
	k.mu.Unlock()
	if f != nil {
		f(ino)
	}
	return nil
}

// The shorthands below work on paths of one name in the root unless told otherwise.

var root = Caller{UID: 0, GID: 0}

func (n *rigNode) create(dir Ino, name string) (Attr, File) {
	n.r.t.Helper()
	var attr Attr
	var f File
	require.NoError(n.r.t, n.Create(context.Background(), root, dir, name, 0o644, 2, func(a Attr, o File) { attr, f = a, o }))
	return attr, f
}

func (n *rigNode) lookup(dir Ino, name string) (Attr, error) {
	var attr Attr
	err := n.Lookup(context.Background(), root, dir, name, func(a Attr) { attr = a })
	return attr, err
}

func (n *rigNode) mkdir(dir Ino, name string) Attr {
	n.r.t.Helper()
	var attr Attr
	require.NoError(n.r.t, n.Mkdir(context.Background(), root, dir, name, 0o755, func(a Attr) { attr = a }))
	return attr
}

func (n *rigNode) attr(ino Ino) Attr {
	n.r.t.Helper()
	var attr Attr
	require.NoError(n.r.t, n.Getattr(context.Background(), ino, func(a Attr) { attr = a }))
	return attr
}

func (n *rigNode) open(ino Ino, flags uint32) File {
	n.r.t.Helper()
	f, err := n.Open(context.Background(), root, ino, flags)
	require.NoError(n.r.t, err)
	return f
}

func (n *rigNode) write(f File, p []byte, off int64) {
	n.r.t.Helper()
	got, err := f.Write(context.Background(), p, off)
	require.NoError(n.r.t, err)
	require.Equal(n.r.t, len(p), got)
}

func (n *rigNode) read(f File, off int64, size int) []byte {
	n.r.t.Helper()
	p := make([]byte, size)
	require.NoError(n.r.t, f.Read(context.Background(), p, off, false, func(got int) { p = p[:got] }))
	return p
}

func (n *rigNode) close(f File) {
	n.r.t.Helper()
	require.NoError(n.r.t, f.Release(context.Background()))
}

func (n *rigNode) names(dir Ino) []string {
	n.r.t.Helper()
	d, err := n.OpenDir(context.Background(), dir)
	require.NoError(n.r.t, err)
	defer d.Release()
	var names []string
	require.NoError(n.r.t, d.Read(context.Background(), 0, func(e DirEntry) bool {
		if e.Name != "." && e.Name != ".." {
			names = append(names, e.Name)
		}
		return true
	}))
	return names
}
