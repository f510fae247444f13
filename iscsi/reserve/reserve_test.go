package reserve_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/cluster"
	"github.com/covol/covol/cluster/fence"
	"github.com/covol/covol/cluster/fence/reservation"
	"github.com/covol/covol/iscsi/initiator"
	"github.com/covol/covol/iscsi/reserve"
	"github.com/covol/covol/iscsi/scsi"
	"github.com/covol/covol/iscsi/target"
	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/blockdev/memdev"
	"github.com/covol/covol/ondisk/sched"
)

const (
	iqn      = "iqn.2026-11.org.covol:test"
	patience = 25 * time.Second // less than W of the profile
)

// keeper keeps reservations in memory.
type keeper struct{ data []byte }

func (k *keeper) Load() ([]byte, error) { return k.data, nil }
func (k *keeper) Save(p []byte) error   { k.data = p; return nil }

// thin is a device in memory whose ranges can be zeroed.
type thin struct{ *memdev.Device }

func (d thin) Zero(ctx context.Context, off, length int64) error {
	return d.WriteAt(ctx, make([]byte, length), off, false)
}

// lab is a target with a volume of three slots.
type lab struct {
	t    *testing.T
	dev  thin
	sb   *ondisk.Super
	keep scsi.Keeper
	addr string
	tgt  *target.Target
	done chan error
	isid uint64
}

func newLab(t *testing.T) *lab {
	p := ondisk.Profile{Name: "test", Heartbeat: 500 * time.Millisecond, Lease: 24 * time.Second, IOBound: 5 * time.Second, Guard: time.Second}
	l := &lab{t: t, dev: thin{memdev.New(blockdev.Geometry{SectorSize: 512, Size: ondisk.MinVolume}, memdev.NewImage())}, keep: &keeper{}, addr: "127.0.0.1:0",
		sb: &ondisk.Super{UUID: ondisk.UUID{4}, Blocks: ondisk.MinVolume / ondisk.BlockSize, Slots: 3, JournalBlocks: ondisk.MinJournal, ClusterSize: 4096, Profile: p}}
	l.put(ondisk.ViewBlock, ondisk.EncodeView(l.sb, &ondisk.View{Members: make([]uint32, 3), Recovering: make([]uint32, 3)}))
	for i := range uint16(3) {
		l.put(l.sb.SlotBlock(i), ondisk.EncodeSlot(l.sb, &ondisk.Slot{Index: i}))
	}
	l.start()
	t.Cleanup(l.stop)
	return l
}

func (l *lab) put(blk uint64, b []byte) {
	require.NoError(l.t, l.dev.WriteAt(context.Background(), b, int64(blk)*ondisk.BlockSize, true))
}

func (l *lab) start() {
	u, err := scsi.NewUnit(l.dev, scsi.Options{Serial: "one", Keeper: l.keep})
	require.NoError(l.t, err)
	server, err := scsi.NewServer(map[int]*scsi.Unit{0: u})
	require.NoError(l.t, err)
	l.tgt, err = target.New(target.Options{Name: iqn, Clock: sched.Real{}, Random: rand.Reader, Server: server})
	require.NoError(l.t, err)
	ln, err := net.Listen("tcp", l.addr)
	require.NoError(l.t, err)
	l.addr = ln.Addr().String()
	l.done = make(chan error, 1)
	tgt, done := l.tgt, l.done
	go func() { done <- tgt.Serve(ln) }()
}

func (l *lab) stop() {
	if l.tgt != nil {
		assert.NoError(l.t, l.tgt.Close())
		assert.NoError(l.t, <-l.done)
		l.tgt = nil
	}
}

func (l *lab) open() *initiator.Device {
	l.isid++
	d, err := initiator.Open(context.Background(), initiator.Scheme+l.addr+"/"+iqn+"/0", initiator.Options{Name: "iqn.2026-11.org.covol:host",
		ISID: 0x800000000000 | l.isid, Clock: sched.Real{}, Random: rand.Reader})
	require.NoError(l.t, err)
	l.t.Cleanup(func() { _ = d.Close() })
	return d
}

// tap is a session on which a frozen process does nothing more.
type tap struct {
	*initiator.Device
	mu sync.RWMutex
}

func (d *tap) ReadAt(ctx context.Context, p []byte, off int64) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.Device.ReadAt(ctx, p, off)
}

func (d *tap) CompareAndWrite(ctx context.Context, off int64, old, data []byte) (bool, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.Device.CompareAndWrite(ctx, off, old, data)
}

// member is a node with its two sessions.
type member struct {
	*cluster.Node
	beat *tap
	data *initiator.Device
}

func (l *lab) join(name string) *member {
	m := &member{beat: &tap{Device: l.open()}, data: l.open()}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var err error
	m.Node, err = cluster.Join(ctx, cluster.Config{Dev: m.beat, Super: l.sb, Name: name, Addr: "localhost:1", Sched: sched.Real{}, Log: slog.New(slog.DiscardHandler),
		Fencing: []fence.Method{reservation.New(reserve.New(m.beat.Device), reserve.New(m.data)), fence.Lease{Wait: l.sb.Profile.Wait()}}})
	require.NoError(l.t, err)
	return m
}

func (m *member) write(l *lab, fill byte, journal *member) error {
	return m.writeTo(l, m.Gate().Wrap(m.data), fill, journal)
}

// writeLate is a write of a process that stood still between the gate and the device.
func (m *member) writeLate(l *lab, fill byte) error { return m.writeTo(l, m.data, fill, m) }

func (m *member) writeTo(l *lab, dev blockdev.Device, fill byte, journal *member) error {
	off := int64(l.sb.JournalStart(uint16(journal.ID().Slot))) * ondisk.BlockSize
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return dev.WriteAt(ctx, bytes.Repeat([]byte{fill}, ondisk.BlockSize), off, true)
}

func (l *lab) eventually(what string, cond func() bool) {
	l.t.Helper()
	require.Eventually(l.t, cond, patience, 5*time.Millisecond, what)
}

// TestFrozenNode: a node that stands still is put out by the storage when its lease has run out. What it had let through
// its gate before and writes afterwards does not land; nor after a restart of the target. When it goes on it learns that.
func TestFrozenNode(t *testing.T) {
	l := newLab(t)
	a, b := l.join("a"), l.join("b")
	require.NoError(t, reserve.New(a.data).Fit(t.Context()))
	keys, err := reserve.New(a.data).ReadKeys(t.Context())
	require.NoError(t, err)
	require.Len(t, keys, 4, "two sessions of two nodes")
	require.NoError(t, a.write(l, 0xa, a))
	l.eventually("both are in", func() bool { v := b.View(); return v.Has(a.ID()) })

	a.beat.mu.Lock()
	l.eventually("takeover", func() bool { v := b.View(); return !v.Has(a.ID()) && len(v.Recovering) == 0 })
	require.Equal(t, reservation.Name, b.Status().Fenced)
	require.NoError(t, b.write(l, 0xb, a))
	require.ErrorIs(t, a.writeLate(l, 0xc), blockdev.ErrFenced)
	look := func() byte {
		p := make([]byte, ondisk.BlockSize)
		require.NoError(t, l.dev.ReadAt(t.Context(), p, int64(l.sb.JournalStart(uint16(a.ID().Slot)))*ondisk.BlockSize))
		require.Equal(t, bytes.Repeat(p[:1], len(p)), p)
		return p[0]
	}
	require.EqualValues(t, 0xb, look())
	l.stop()
	l.start()
	require.ErrorIs(t, a.writeLate(l, 0xd), blockdev.ErrFenced, "after a restart of the target")
	require.EqualValues(t, 0xb, look())
	a.beat.mu.Unlock()
	l.eventually("the node learns it", func() bool { s, _, _ := a.State(); return s == cluster.StateFenced })
	require.NoError(t, b.write(l, 0xe, a))

	again := l.join("a")
	require.NoError(t, again.write(l, 0xf, a))
	require.EqualValues(t, 0xf, look())
	for _, m := range []*member{again, b} {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		require.NoError(t, m.Leave(ctx))
		cancel()
	}
	r, err := reserve.New(l.open()).ReadReservation(t.Context())
	require.NoError(t, err)
	require.Zero(t, r, "the last one has taken its key back")
}

// TestForgetfulTarget: a target without APTPL is refused; one that has lost its state all the same ends its nodes.
func TestForgetfulTarget(t *testing.T) {
	l := newLab(t)
	a := l.open()
	r := reservation.New(reserve.New(a))
	require.NoError(t, r.Register(t.Context(), fence.Self{Volume: l.sb.UUID}))
	require.NoError(t, r.Check(t.Context()))
	l.stop()
	l.start()
	require.NoError(t, r.Check(t.Context()), "kept")
	l.stop()
	l.keep = nil
	l.start()
	require.ErrorIs(t, r.Check(t.Context()), fence.ErrFenced)
	require.ErrorIs(t, reserve.New(a).Fit(t.Context()), reserve.ErrUnfit)
	require.ErrorContains(t, reserve.New(a).Fit(t.Context()), "APTPL")
}
