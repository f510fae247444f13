package initiator_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/iscsi/chap"
	"github.com/covol/covol/iscsi/initiator"
	"github.com/covol/covol/iscsi/scsi"
	"github.com/covol/covol/iscsi/target"
	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/blockdev/devtest"
	"github.com/covol/covol/ondisk/blockdev/memdev"
	"github.com/covol/covol/ondisk/sched"
)

const iqn = "iqn.2026-11.org.covol:test"

var ctx = context.Background()

// keeper keeps reservations in memory.
type keeper struct{ data []byte }

func (k *keeper) Load() ([]byte, error) { return k.data, nil }
func (k *keeper) Save(p []byte) error   { k.data = p; return nil }

// thin is a device in memory whose ranges can be zeroed.
type thin struct{ *memdev.Device }

func (d thin) Zero(ctx context.Context, off, length int64) error {
	return d.WriteAt(ctx, make([]byte, length), off, false)
}

// lab is a target on loopback that can be stopped and started again at the same address.
type lab struct {
	t      *testing.T
	dev    blockdev.Device
	keeper *keeper
	o      target.Options
	addr   string
	tgt    *target.Target
	done   chan error
	serial string
}

func newLab(t *testing.T, dev blockdev.Device, change func(*target.Options)) *lab {
	l := &lab{t: t, dev: dev, keeper: &keeper{}, addr: "127.0.0.1:0", serial: "one"}
	l.o = target.Options{Name: iqn, Clock: sched.Real{}, Random: rand.Reader}
	if change != nil {
		change(&l.o)
	}
	l.start()
	t.Cleanup(l.stop)
	return l
}

func (l *lab) start() {
	u, err := scsi.NewUnit(l.dev, scsi.Options{Serial: l.serial, Keeper: l.keeper})
	require.NoError(l.t, err)
	l.o.Server, err = scsi.NewServer(map[int]*scsi.Unit{0: u})
	require.NoError(l.t, err)
	l.tgt, err = target.New(l.o)
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

func (l *lab) url() string { return "iscsi://" + l.addr + "/" + iqn + "/0" }

func options(isid uint64) initiator.Options {
	return initiator.Options{Name: "iqn.2026-11.org.covol:node", ISID: 0x800000000000 | isid, Clock: sched.Real{}, Random: rand.Reader}
}

func (l *lab) open(isid uint64, change func(*initiator.Options)) *initiator.Device {
	l.t.Helper()
	o := options(isid)
	if change != nil {
		change(&o)
	}
	d, err := initiator.Open(ctx, l.url(), o)
	require.NoError(l.t, err)
	l.t.Cleanup(func() { assert.NoError(l.t, d.Close()) })
	return d
}

func mem(size int64) *memdev.Device {
	return memdev.New(blockdev.Geometry{SectorSize: 512, Size: size}, nil)
}

func fill(b byte, n int) []byte {
	p := blockdev.Alloc(n)
	copy(p, bytes.Repeat([]byte{b}, n))
	return p
}

// TestDevice is what every device must do, over the wire, plain and with digests.
func TestDevice(t *testing.T) {
	for name, digest := range map[string]bool{"plain": false, "digests": true} {
		t.Run(name, func(t *testing.T) {
			devtest.Run(t, func(t *testing.T) blockdev.Device {
				l := newLab(t, thin{mem(devtest.Size)}, nil)
				return l.open(1, func(o *initiator.Options) { o.Digest = digest })
			})
		})
	}
}

// TestLargeTransfers go in pieces, by R2T and in bursts.
func TestLargeTransfers(t *testing.T) {
	l := newLab(t, mem(16<<20), func(o *target.Options) { o.Memory = 4 << 20 })
	d := l.open(1, nil)
	p := blockdev.Alloc(10 << 20)
	_, err := rand.Read(p)
	require.NoError(t, err)
	var wg sync.WaitGroup
	wg.Go(func() { assert.NoError(t, d.WriteAt(ctx, p[:5<<20], 0, false)) })
	wg.Go(func() { assert.NoError(t, d.WriteAt(ctx, p[5<<20:], 5<<20, true)) })
	wg.Wait()
	q := blockdev.Alloc(10 << 20)
	require.NoError(t, d.ReadAt(ctx, q, 0))
	assert.True(t, bytes.Equal(p, q))
	assert.Len(t, l.tgt.Status(), 1)
}

func TestCHAP(t *testing.T) {
	user := chap.Secret{Name: "user", Secret: "secret of user"}
	back := chap.Secret{Name: "disk", Secret: "secret of disk"}
	l := newLab(t, mem(1<<20), func(o *target.Options) { o.CHAP, o.Mutual = user, back })
	open := func(cred string, mutual chap.Secret) error {
		o := options(1)
		o.Mutual = mutual
		d, err := initiator.Open(ctx, "iscsi://"+cred+l.addr+"/"+iqn+"/0", o)
		if err == nil {
			require.NoError(t, d.Close())
		}
		return err
	}
	assert.NoError(t, open("user%secret%20of%20user@", chap.Secret{}))
	assert.NoError(t, open("user%secret%20of%20user@", back))
	assert.ErrorIs(t, open("user%secret%20of%20user@", chap.Secret{Name: "disk", Secret: "another"}), chap.ErrFailed)
	var refused *initiator.LoginError
	for _, cred := range []string{"", "user%wrong@", "other%secret%20of%20user@"} {
		err := open(cred, chap.Secret{})
		require.ErrorAs(t, err, &refused, cred)
		assert.NotContains(t, err.Error(), "secret")
	}
}

func TestRefusedLogins(t *testing.T) {
	l := newLab(t, mem(1<<20), func(o *target.Options) { o.Allow = []string{"iqn.other"} })
	_, err := initiator.Open(ctx, l.url(), options(1))
	assert.ErrorContains(t, err, "may not use")
	o := options(1)
	o.Name = "iqn.other"
	_, err = initiator.Open(ctx, "iscsi://"+l.addr+"/iqn.none/0", o)
	assert.ErrorContains(t, err, "no such target")
	_, err = initiator.Open(ctx, "iscsi://"+l.addr+"/"+iqn+"/7", o)
	assert.ErrorContains(t, err, "2500")
}

// cutter dials connections that can be cut, before or after the target's answers pass.
type cutter struct {
	mu    sync.Mutex
	conns []net.Conn
	cuts  atomic.Int64
	mute  atomic.Bool // answers are lost
}

type cutConn struct {
	net.Conn
	c *cutter
}

func (c *cutConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.c.mute.Load() {
		_ = c.Close()
		return 0, errors.New("cut")
	}
	return n, err
}

func (c *cutter) dial(ctx context.Context, portal string) (net.Conn, error) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, "tcp", portal)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conns = append(c.conns, nc)
	return &cutConn{nc, c}, nil
}

func (c *cutter) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, nc := range c.conns {
		_ = nc.Close()
	}
	c.conns = nil
	c.cuts.Add(1)
}

// TestCutsUnderLoad: whatever breaks, every write that was acknowledged is there, and none fails.
func TestCutsUnderLoad(t *testing.T) {
	l := newLab(t, mem(4<<20), nil)
	c := &cutter{}
	d := l.open(1, func(o *initiator.Options) { o.Dial = c.dial })
	const writers, rounds = 8, 20
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for w := range writers {
		wg.Go(func() {
			for i := range rounds {
				p := fill(byte(i+1), 16<<10)
				off := int64(w) * (64 << 10)
				assert.NoError(t, d.WriteAt(ctx, p, off, false))
				q := blockdev.Alloc(len(p))
				assert.NoError(t, d.ReadAt(ctx, q, off))
				assert.True(t, bytes.Equal(p, q), "writer %d round %d", w, i)
			}
		})
	}
	var cutting sync.WaitGroup
	cutting.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
				c.cut()
			}
		}
	})
	wg.Wait()
	close(stop)
	cutting.Wait()
	assert.Positive(t, c.cuts.Load())
}

// TestUncertainCompareAndWrite loses the answer of a COMPARE AND WRITE that was done, and of one that was not.
func TestUncertainCompareAndWrite(t *testing.T) {
	for _, unique := range []bool{false, true} {
		dev := mem(1 << 20)
		l := newLab(t, dev, nil)
		c := &cutter{}
		d := l.open(1, func(o *initiator.Options) { o.Dial, o.Unique = c.dial, unique })
		a, b := fill(0, 512), fill(1, 512)
		lose := func() {
			c.mute.Store(true)
			go func() { // until the link is gone
				for d.Portal() != "" {
					time.Sleep(time.Millisecond)
				}
				c.mute.Store(false)
			}()
		}
		lose()
		swapped, err := d.CompareAndWrite(ctx, 0, a, b)
		if unique {
			require.NoError(t, err)
			assert.True(t, swapped)
		} else {
			assert.ErrorIs(t, err, initiator.ErrUncertain)
		}
		got := blockdev.Alloc(512)
		require.NoError(t, dev.ReadAt(ctx, got, 0))
		assert.Equal(t, b, got)
		lose()
		swapped, err = d.CompareAndWrite(ctx, 0, a, fill(2, 512))
		assert.False(t, swapped, "the medium holds neither old nor new: nobody can tell")
		assert.ErrorIs(t, err, initiator.ErrUncertain)
	}
}

// TestTargetRestart: operations wait for a target that comes back, and Begin is asked before they are sent again.
func TestTargetRestart(t *testing.T) {
	l := newLab(t, mem(1<<20), nil)
	var asked atomic.Int64
	var attentions sync.Map
	refuse := errors.New("the lease is gone")
	var deny atomic.Bool
	c := &cutter{}
	d := l.open(1, func(o *initiator.Options) {
		o.Dial = c.dial
		o.Attention = func(c scsi.Code) { attentions.Store(c, true) }
		o.Begin = func(bool) error {
			asked.Add(1)
			if deny.Load() {
				return refuse
			}
			return nil
		}
	})
	require.NoError(t, d.WriteAt(ctx, fill(1, 512), 0, false))
	l.stop()
	result := make(chan error, 1)
	go func() { result <- d.WriteAt(ctx, fill(2, 512), 0, false) }()
	l.start()
	require.NoError(t, <-result)
	_, told := attentions.Load(scsi.PowerOnReset)
	assert.True(t, told)

	deny.Store(true)
	c.mute.Store(true)
	go func() {
		for d.Portal() != "" {
			time.Sleep(time.Millisecond)
		}
		c.mute.Store(false)
	}()
	assert.ErrorIs(t, d.WriteAt(ctx, fill(3, 512), 0, false), refuse)
	assert.Positive(t, asked.Load())
}

// TestBounds: no operation waits for ever, one whose context ends before it is sent is not sent, and Close ends all.
func TestBounds(t *testing.T) {
	dev := mem(1 << 20)
	l := newLab(t, dev, nil)
	d := l.open(1, func(o *initiator.Options) { o.OpTime = 300 * time.Millisecond })
	l.stop()
	ended, cancel := context.WithCancel(ctx)
	time.AfterFunc(20*time.Millisecond, cancel)
	assert.Error(t, d.WriteAt(ended, fill(9, 512), 0, false))
	assert.ErrorIs(t, d.WriteAt(ctx, fill(9, 512), 512, false), initiator.ErrTimeout)
	got := blockdev.Alloc(1024)
	require.NoError(t, dev.ReadAt(ctx, got, 0))
	assert.Equal(t, make([]byte, 1024), got)

	d2 := options(2)
	_, err := initiator.Open(ctx, l.url(), d2)
	assert.Error(t, err)
	require.NoError(t, d.Close())
	assert.ErrorIs(t, d.WriteAt(ctx, fill(9, 512), 0, false), initiator.ErrClosed)
}

// TestAnotherUnit: a target that serves something else under the same name is not written to.
func TestAnotherUnit(t *testing.T) {
	l := newLab(t, mem(1<<20), nil)
	d := l.open(1, nil)
	l.stop()
	l.dev, l.serial = mem(1<<20), "two"
	l.start()
	assert.ErrorIs(t, d.WriteAt(ctx, fill(9, 512), 0, false), initiator.ErrChanged)
	got := blockdev.Alloc(512)
	require.NoError(t, l.dev.ReadAt(ctx, got, 0))
	assert.Equal(t, make([]byte, 512), got)
}

// TestFence is how a cluster uses reservations: type 7, keys by node, the victim is stopped by the storage.
func TestFence(t *testing.T) {
	l := newLab(t, mem(1<<20), nil)
	a, b := l.open(1, nil), l.open(2, nil)
	require.NoError(t, a.Register(ctx, 0, 0xa, true))
	require.NoError(t, b.Register(ctx, 0, 0xb, true))
	assert.ErrorIs(t, b.Register(ctx, 5, 0xb, true), blockdev.ErrFenced)
	require.NoError(t, a.Reserve(ctx, scsi.WriteExclusiveAllRegistrants, 0xa))
	require.NoError(t, b.WriteAt(ctx, fill(1, 512), 0, true))
	caps, err := a.ReadCapabilities(ctx)
	require.NoError(t, err)
	assert.True(t, caps.CanPersist && caps.Persists && caps.Has(scsi.WriteExclusiveAllRegistrants) && caps.Has(scsi.ExclusiveAccess))
	assert.False(t, caps.Has(scsi.Type(9)))

	var wg sync.WaitGroup
	var fenced atomic.Bool
	var late atomic.Int64
	for range 4 {
		wg.Go(func() {
			for {
				before := fenced.Load()
				err := b.WriteAt(ctx, fill(2, 512), 0, false)
				if err != nil {
					assert.ErrorIs(t, err, blockdev.ErrFenced)
					return
				}
				if before {
					late.Add(1)
				}
			}
		})
	}
	require.NoError(t, a.PreemptAbort(ctx, scsi.WriteExclusiveAllRegistrants, 0xa, 0xb))
	fenced.Store(true)
	require.NoError(t, a.WriteAt(ctx, fill(3, 512), 0, true))
	wg.Wait()
	assert.Zero(t, late.Load(), "a write of the victim was done after the fence")
	keys, _, err := a.ReadKeys(ctx)
	require.NoError(t, err)
	assert.Equal(t, []uint64{0xa}, keys)
	got := blockdev.Alloc(512)
	require.NoError(t, b.ReadAt(ctx, got, 0))
	assert.Equal(t, fill(3, 512), got)

	l.stop()
	l.start()
	r, err := a.ReadReservation(ctx)
	require.NoError(t, err)
	assert.Equal(t, scsi.WriteExclusiveAllRegistrants, r.Type)
	assert.ErrorIs(t, b.WriteAt(ctx, fill(2, 512), 0, false), blockdev.ErrFenced, "the fence outlives the target")
	require.NoError(t, a.WriteAt(ctx, fill(4, 512), 0, false))
}

// TestFailOver: of two portals one dies.
func TestFailOver(t *testing.T) {
	l := newLab(t, mem(1<<20), nil)
	second, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var wg sync.WaitGroup
	wg.Go(func() { assert.NoError(t, l.tgt.Serve(second)) })
	defer wg.Wait()
	defer l.stop()
	var firstDead atomic.Bool
	c := &cutter{}
	o := options(1)
	o.Dial = func(ctx context.Context, portal string) (net.Conn, error) {
		if portal == l.addr && firstDead.Load() {
			return nil, errors.New("no route")
		}
		return c.dial(ctx, portal)
	}
	d, err := initiator.Open(ctx, "iscsi://"+l.addr+","+second.Addr().String()+"/"+iqn+"/0", o)
	require.NoError(t, err)
	defer d.Close()
	assert.Equal(t, l.addr, d.Portal())
	require.NoError(t, d.Register(ctx, 0, 7, false))
	firstDead.Store(true)
	c.cut()
	require.NoError(t, d.WriteAt(ctx, fill(1, 512), 0, false))
	assert.Equal(t, second.Addr().String(), d.Portal())
	keys, _, err := d.ReadKeys(ctx)
	require.NoError(t, err)
	assert.Equal(t, []uint64{7}, keys, "the registration belongs to the port, not to the path")
}

func TestURL(t *testing.T) {
	u, err := initiator.ParseURL("iscsi://user%p%40ss@[::1]:3,host/iqn.x:y/12")
	require.NoError(t, err)
	assert.Equal(t, &initiator.URL{CHAP: chap.Secret{Name: "user", Secret: "p@ss"}, Portals: []string{"[::1]:3", "host:3260"}, Target: "iqn.x:y", LUN: 12}, u)
	assert.NotContains(t, u.String(), "ss@")
	for _, bad := range []string{"", "http://h/t/0", "iscsi://h/t", "iscsi:///t/0", "iscsi://h/t/x", "iscsi://h/t/16384", "iscsi://user@h/t/0", "iscsi://h:0/t/0", "iscsi://h/t/0/1"} {
		_, err := initiator.ParseURL(bad)
		assert.ErrorIs(t, err, initiator.ErrURL, bad)
	}
}
