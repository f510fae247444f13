package tcp

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/dlm"
	"github.com/covol/covol/ondisk/sched"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var volume = [16]byte{0xc0, 0x01}

// syncBuffer is a log that goroutines write and a test reads.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func start(tb testing.TB, cfg Config) *Transport {
	tb.Helper()
	cfg.Listen = "127.0.0.1:0"
	if cfg.Volume == [16]byte{} {
		cfg.Volume = volume
	}
	t, err := New(cfg)
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = t.Close() })
	return t
}

func id(slot, inc int) view.NodeID {
	return view.NodeID{Slot: view.Slot(slot), Incarnation: view.Incarnation(inc)}
}

func member(t *Transport) view.Member {
	return view.Member{NodeID: t.cfg.Self, Addr: t.Addr().String()}
}

// connect makes n transports that are members of one view.
func connect(tb testing.TB, n int, cfg Config) ([]*Transport, []view.Member) {
	tb.Helper()
	var ts []*Transport
	var members []view.Member
	for i := range n {
		cfg.Self = id(i, 1)
		t := start(tb, cfg)
		ts, members = append(ts, t), append(members, member(t))
	}
	return ts, members
}

func selfSigned(t *testing.T) *tls.Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		RootCAs: pool, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}
}

func TestTransport_Delivers(t *testing.T) {
	for _, tc := range []struct {
		name string
		tls  *tls.Config
	}{{"plain", nil}, {"tls", selfSigned(t)}} {
		t.Run(tc.name, func(t *testing.T) {
			ts, members := connect(t, 3, Config{TLS: tc.tls})
			got := make(chan string, 100)
			for i, tr := range ts {
				for _, ch := range []byte{ChannelLocks, ChannelControl} {
					c := tr.Channel(ch)
					c.Handle(func(from view.Slot, msg []byte) {
						got <- fmt.Sprintf("%d→%d on %d: %d bytes %.3s", from, i, ch, len(msg), msg)
					})
					c.SetMembers(members)
				}
			}
			want := map[string]bool{}
			for i, tr := range ts {
				for j := range ts {
					if i == j {
						continue
					}
					tr.Channel(ChannelLocks).Send(view.Slot(j), []byte("abc"))
					tr.Channel(ChannelControl).Send(view.Slot(j), bytes.Repeat([]byte("xyz"), 10000))
					want[fmt.Sprintf("%d→%d on 0: 3 bytes abc", i, j)] = true
					want[fmt.Sprintf("%d→%d on 1: 30000 bytes xyz", i, j)] = true
				}
			}
			for len(want) > 0 {
				s := <-got
				require.True(t, want[s], s)
				delete(want, s)
			}
			for _, tr := range ts {
				for _, p := range tr.Peers() {
					assert.True(t, p.Connected)
				}
			}
		})
	}
}

// exchange dials tr by hand, says h and returns the verdict.
func exchange(t *testing.T, tr *Transport, h hello) verdict {
	conn, err := net.Dial("tcp", tr.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Write(h.append(nil))
	require.NoError(t, err)
	answer, err := readHello(conn)
	require.NoError(t, err)
	return answer.verdict
}

func TestTransport_RefusesStrangers(t *testing.T) {
	var log syncBuffer
	tr := start(t, Config{Self: id(2, 5), Log: slog.New(slog.NewTextHandler(&log, nil))})
	tr.Channel(ChannelLocks).SetMembers([]view.Member{
		{NodeID: id(1, 7), Addr: "127.0.0.1:1"}, {NodeID: id(2, 5)}, {NodeID: id(3, 1), Addr: "127.0.0.1:1"}})
	good := hello{version: Version, volume: volume, from: id(1, 7), to: id(2, 5)}
	for _, tc := range []struct {
		want   verdict
		change func(h *hello)
	}{
		{wrongVersion, func(h *hello) { h.version++ }},
		{wrongVolume, func(h *hello) { h.volume[3]++ }},
		{wrongReceiver, func(h *hello) { h.to.Incarnation-- }},
		{wrongReceiver, func(h *hello) { h.to.Slot++ }},
		{notMember, func(h *hello) { h.from.Slot = 0 }},
		{oldIncarnation, func(h *hello) { h.from.Incarnation-- }},
		{newIncarnation, func(h *hello) { h.from.Incarnation++ }},
		{wrongDirection, func(h *hello) { h.from = id(3, 1) }},
		{welcome, func(*hello) {}},
	} {
		t.Run(tc.want.String(), func(t *testing.T) {
			h := good
			tc.change(&h)
			assert.Equal(t, tc.want, exchange(t, tr, h))
			if tc.want != welcome {
				assert.Eventually(t, func() bool { return strings.Contains(log.String(), tc.want.String()) }, 5*time.Second, time.Millisecond)
			}
		})
	}
	t.Run("garbage", func(t *testing.T) {
		conn, err := net.Dial("tcp", tr.Addr().String())
		require.NoError(t, err)
		defer conn.Close()
		_, err = conn.Write(bytes.Repeat([]byte("GET / "), 20))
		require.NoError(t, err)
		n, _ := conn.Read(make([]byte, 100))
		assert.Zero(t, n)
	})
}

// TestTransport_CorruptFrame shows that bytes that are no frame end the connection, and that a new one works.
func TestTransport_CorruptFrame(t *testing.T) {
	tr := start(t, Config{Self: id(1, 1)})
	got := make(chan string, 1)
	c := tr.Channel(ChannelLocks)
	c.Handle(func(_ view.Slot, msg []byte) { got <- string(msg) })
	c.SetMembers([]view.Member{{NodeID: id(0, 1), Addr: "127.0.0.1:1"}})
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", tr.Addr().String())
		require.NoError(t, err)
		h := hello{version: Version, volume: volume, from: id(0, 1), to: id(1, 1)}
		_, err = conn.Write(h.append(nil))
		require.NoError(t, err)
		_, err = readHello(conn)
		require.NoError(t, err)
		return conn
	}
	conn := dial()
	defer conn.Close()
	bad := encode(message{body: []byte("bad")})
	bad[len(bad)-1]++
	_, err := conn.Write(bad)
	require.NoError(t, err)
	_, err = conn.Read(make([]byte, 1))
	require.Error(t, err, "the connection must end")
	require.Eventually(t, func() bool { p := tr.Peers()[0]; return !p.Connected && strings.Contains(p.LastError, "checksum") }, 5*time.Second, time.Millisecond)
	again := dial()
	defer again.Close()
	_, err = again.Write(encode(message{body: []byte("good")}))
	require.NoError(t, err)
	require.Equal(t, "good", <-got)
}

func TestTransport_BoundedQueue(t *testing.T) {
	tr := start(t, Config{Self: id(1, 1)})
	c := tr.Channel(ChannelLocks)
	c.SetMembers([]view.Member{{NodeID: id(0, 1), Addr: "127.0.0.1:1"}}) // never connects
	msg := make([]byte, maxFrame/2)
	for range 2 * queueBytes / len(msg) {
		c.Send(0, msg)
	}
	c.Send(0, make([]byte, maxFrame))
	c.Send(7, msg) // nobody
	assert.Greater(t, tr.Peers()[0].Dropped, uint64(10))
}

// TestNodes_BreakingConnections locks against each other over connections that break all the time. Every
// increment must survive: a lost or doubled message would lose one or hang.
func TestNodes_BreakingConnections(t *testing.T) {
	const nodes, rounds = 3, 150
	ts, members := connect(t, nodes, Config{})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Second)
	defer cancel()
	var ns []*lockUser
	for i, tr := range ts {
		ns = append(ns, newLockUser(tr.Channel(ChannelLocks), id(i, 1)))
	}
	for _, n := range ns {
		n.SetView(view.View{Epoch: 1, Members: members})
	}
	// Atomic, because the race detector does not see what a writev orders before a read; load and store apart,
	// so that two holders at once would lose an increment.
	var inside, counter atomic.Int64
	increment := func() {
		assert.True(t, inside.CompareAndSwap(0, 1), "D1: two holders of EX")
		n := counter.Load()
		runtime.Gosched()
		counter.Store(n + 1)
		inside.Store(0)
	}
	var wg sync.WaitGroup
	for _, n := range ns {
		wg.Go(func() {
			for range rounds {
				if !assert.NoError(t, n.with(ctx, dlm.EX, increment)) {
					return
				}
			}
		})
	}
	stop := make(chan struct{})
	var breaker sync.WaitGroup
	breaker.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(3 * time.Millisecond):
				tr := ts[i%nodes]
				tr.mu.Lock()
				for _, p := range tr.peers {
					p.mu.Lock()
					if p.current != nil {
						p.current(errors.New("broken by the test"))
					}
					p.mu.Unlock()
				}
				tr.mu.Unlock()
			}
		}
	})
	wg.Wait()
	close(stop)
	breaker.Wait()
	assert.EqualValues(t, nodes*rounds, counter.Load())
	connects := uint64(0)
	for _, tr := range ts {
		for _, p := range tr.Peers() {
			connects += p.Connects
		}
	}
	assert.Greater(t, connects, uint64(2*nodes), "nothing was broken")
	for _, n := range ns {
		assert.Zero(t, n.Stats().Unexpected+n.Stats().Malformed)
		n.Stop()
	}
}

// lockUser is a node whose user gives way at once when it does not use the lock.
type lockUser struct {
	*dlm.Node
	mu   sync.Mutex
	busy int
	want bool
}

var counterRes = dlm.Resource{Kind: dlm.Inode, ID: 4711}

func newLockUser(tr dlm.Transport, self view.NodeID) *lockUser {
	u := &lockUser{}
	u.Node = dlm.NewNode(dlm.Config{ID: self, Sched: sched.Real{}, Transport: tr, OnBlocking: func(r dlm.Resource, want dlm.Mode) {
		u.mu.Lock()
		defer u.mu.Unlock()
		if u.want = true; u.busy == 0 {
			u.giveUp()
		}
	}})
	return u
}

func (u *lockUser) giveUp() {
	u.want = false
	_ = u.Downgrade(counterRes, dlm.NL, nil) // not held: the callback was for what is given up already
}

func (u *lockUser) with(ctx context.Context, m dlm.Mode, f func()) error {
	u.mu.Lock()
	u.busy++
	u.mu.Unlock()
	_, err := u.Lock(ctx, counterRes, m, dlm.Options{})
	if err == nil {
		f()
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.busy--; u.busy == 0 && u.want {
		u.giveUp()
	}
	return err
}
