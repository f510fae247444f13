package serf

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/covol/covol/cluster/view"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 30 * time.Second

// exchange carries introductions between nodes, as the connections of the lock manager do.
type exchange struct {
	mu    sync.Mutex
	hands map[view.Slot]func(view.Slot, []byte)
}

type port struct {
	x    *exchange
	self view.Slot
}

func (p port) Send(to view.Slot, msg []byte) {
	p.x.mu.Lock()
	f := p.x.hands[to]
	p.x.mu.Unlock()
	if f != nil {
		f(p.self, bytes.Clone(msg))
	}
}

func (p port) Handle(f func(view.Slot, []byte)) {
	p.x.mu.Lock()
	defer p.x.mu.Unlock()
	p.x.hands[p.self] = f
}

func (p port) SetMembers([]view.Member) {}

// node is a Gossip that meets others.
type node struct {
	*Gossip
	t      *testing.T
	failed chan string
	cancel context.CancelFunc
	met    chan struct{}
	log    *logBuffer
	closed bool
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

var key = bytes.Repeat([]byte{7}, 32)

func start(t *testing.T, x *exchange, cfg Config) *node {
	t.Helper()
	n := &node{t: t, failed: make(chan string, 10), met: make(chan struct{}), log: &logBuffer{}}
	cfg.Node, cfg.Bind = fmt.Sprint("n", cfg.Self.Slot), "127.0.0.1:0"
	cfg.LockAddr, cfg.Version = "127.0.0.1:1", strings.Repeat("v", 100)
	cfg.OnFailed, cfg.Log = func(name string) { n.failed <- name }, slog.New(slog.NewTextHandler(n.log, nil))
	var err error
	n.Gossip, err = Start(cfg)
	require.NoError(t, err)
	var ctx context.Context
	ctx, n.cancel = context.WithCancel(context.Background())
	go func() {
		defer close(n.met)
		n.Meet(ctx, port{x, cfg.Self.Slot})
	}()
	t.Cleanup(func() { n.leave() })
	return n
}

func (n *node) leave() {
	if !n.closed {
		n.closed = true
		n.cancel()
		<-n.met
		assert.NoError(n.t, n.Close())
	}
}

// die is silent.
func (n *node) die() {
	n.closed = true
	n.cancel()
	<-n.met
	close(n.stop)
	n.wg.Wait()
	require.NoError(n.t, n.serf.Shutdown())
}

func (n *node) knows(id view.NodeID, s Status) bool {
	for _, m := range n.Members() {
		if m.NodeID == id && m.Status == s {
			return true
		}
	}
	return false
}

func id(slot, inc int) view.NodeID {
	return view.NodeID{Slot: view.Slot(slot), Incarnation: view.Incarnation(inc)}
}

func viewOf(ids ...view.NodeID) (v view.View) {
	for _, i := range ids {
		v.Members = append(v.Members, view.Member{NodeID: i, Name: fmt.Sprint("n", i.Slot)})
	}
	return v
}

func TestGossip(t *testing.T) {
	x := &exchange{hands: map[view.Slot]func(view.Slot, []byte){}}
	ids := []view.NodeID{id(0, 1), id(1, 1), id(2, 1)}
	var nodes []*node
	for _, i := range ids {
		nodes = append(nodes, start(t, x, Config{Self: i, Key: key}))
	}
	all := func(s Status, of view.NodeID, at ...*node) {
		t.Helper()
		for _, n := range at {
			require.Eventually(t, func() bool { return n.knows(of, s) }, patience, time.Millisecond, "%v is not %s at %s: %v\n%s", of, s, n.Addr(), n.Members(), n.log)
		}
	}
	for _, n := range nodes {
		n.SetView(viewOf(ids...))
	}
	for _, i := range ids {
		all(Alive, i, nodes...)
	}
	m := nodes[0].Members()[1]
	assert.Equal(t, Member{NodeID: id(1, 1), Node: "n1", Addr: nodes[1].Addr(), LockAddr: "127.0.0.1:1", Version: strings.Repeat("v", maxVersion), Status: Alive}, m)

	// A death without a word is a suspicion, everywhere.
	nodes[2].die()
	for _, n := range nodes[:2] {
		select {
		case name := <-n.failed:
			assert.Equal(t, "n2", name)
		case <-time.After(patience):
			require.Fail(t, "nobody told", n.log.String())
		}
		assert.True(t, n.knows(id(2, 1), Failed))
	}
	// It comes back as another life, which is found by the view alone.
	again := start(t, x, Config{Self: id(2, 2), Key: key})
	for _, n := range append(nodes[:2:2], again) {
		n.SetView(viewOf(ids[0], ids[1], id(2, 2)))
	}
	all(Alive, id(2, 2), nodes[0], nodes[1])
	all(Alive, id(0, 1), again)
	// Who says good-bye is not suspected.
	again.leave()
	all(Left, id(2, 2), nodes[0], nodes[1])
	for _, n := range nodes[:2] {
		assert.Empty(t, n.failed)
	}
}

// TestGossip_Strangers: who has not the key, or is of another volume, is not heard, even if somebody gives him our address.
func TestGossip_Strangers(t *testing.T) {
	x := &exchange{hands: map[view.Slot]func(view.Slot, []byte){}}
	a := start(t, x, Config{Self: id(0, 1), Key: key})
	for i, cfg := range []Config{
		{Key: bytes.Repeat([]byte{8}, 32)},
		{},
		{Key: key, Volume: [16]byte{1}},
	} {
		cfg.Self = id(i+1, 1)
		stranger := start(t, x, cfg)
		require.Error(t, stranger.Join(a.Addr()))
		require.Error(t, a.Join(stranger.Addr()))
	}
	require.Len(t, a.Members(), 1)
	require.Contains(t, a.log.String(), "level=WARN")
}

// TestGossip_PortTaken: the wish for a port is one.
func TestGossip_PortTaken(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	g, err := Start(Config{Self: id(0, 1), Node: "n", Bind: ln.Addr().String(), Key: key})
	require.NoError(t, err)
	require.NotEqual(t, ln.Addr().String(), g.Addr())
	require.NoError(t, g.Close())
	_, err = Start(Config{Bind: "nonsense"})
	require.Error(t, err)
	_, err = Start(Config{Bind: "127.0.0.1:0", Node: "n", Key: []byte("short")})
	require.Error(t, err)
}

// FuzzIntro: bytes from a peer are an address or nothing.
func FuzzIntro(f *testing.F) {
	f.Add(append([]byte{introVersion}, "127.0.0.1:7801"...))
	f.Add(append([]byte{introVersion}, "[::1]:1"...))
	f.Fuzz(func(t *testing.T, msg []byte) {
		if addr, ok := parseIntro(msg); ok {
			_, _, err := net.SplitHostPort(addr)
			require.NoError(t, err)
		}
	})
}
