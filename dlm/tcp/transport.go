package tcp

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"sync"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/dlm"
)

// Transport is one node's end of the connections to its peers.
type Transport struct {
	cfg      Config
	log      *slog.Logger
	listener net.Listener
	tls      *tls.Config
	ctx      context.Context
	cancel   context.CancelFunc
	wg       sync.WaitGroup
	strange  chan struct{} // one token per connection that has not shown a valid hello

	mu sync.Mutex
	// GUARDED_BY(mu)
	handlers [256]func(view.Slot, []byte)
	// GUARDED_BY(mu)
	members map[byte][]view.Member // as each channel wants them
	// GUARDED_BY(mu)
	peers map[view.Slot]*peer
	// GUARDED_BY(mu)
	closed bool
}

// New listens and has no peers yet.
func New(cfg Config) (*Transport, error) {
	t := &Transport{cfg: cfg, log: cfg.Log, members: map[byte][]view.Member{}, peers: map[view.Slot]*peer{}, strange: make(chan struct{}, strangersOpen)}
	if t.log == nil {
		t.log = slog.New(slog.DiscardHandler)
	}
	t.tls = atLeast13(cfg.TLS)
	if t.listener = cfg.Listener; t.listener == nil {
		l, err := net.Listen("tcp", cfg.Listen)
		if err != nil {
			return nil, fmt.Errorf("lock manager: listen: %w", err)
		}
		t.listener = l
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	t.wg.Go(t.accept)
	return t, nil
}

// atLeast13 is a copy that allows TLS 1.3 and later only; nil stays nil.
func atLeast13(cfg *tls.Config) *tls.Config {
	if cfg == nil {
		return nil
	}
	cfg = cfg.Clone()
	cfg.MinVersion = tls.VersionTLS13
	return cfg
}

// Addr is where the transport listens.
func (t *Transport) Addr() net.Addr { return t.listener.Addr() }

// Channel is the transport of one kind of messages. All channels share the connections; a member that any of them
// named is connected to. Closing a channel closes nothing: see Transport.Close.
func (t *Transport) Channel(id byte) dlm.Transport {
	if id == channelKeepalive {
		panic("tcp: channel 255 is taken")
	}
	return &channel{t: t, id: id}
}

type channel struct {
	t  *Transport
	id byte
}

func (c *channel) Send(to view.Slot, msg []byte) {
	c.t.mu.Lock()
	p := c.t.peers[to]
	c.t.mu.Unlock()
	if p != nil {
		p.send(message{channel: c.id, body: msg})
	}
}

func (c *channel) Handle(f func(from view.Slot, msg []byte)) {
	c.t.mu.Lock()
	defer c.t.mu.Unlock()
	c.t.handlers[c.id] = f
}

func (c *channel) SetMembers(m []view.Member) { c.t.setMembers(c.id, m) }

// Close stops the delivery to this channel's receiver; a call that has begun may still be running.
func (c *channel) Close() error {
	c.Handle(nil)
	return nil
}

// setMembers ends the connections to lives that no channel names any more and begins those to new ones.
func (t *Transport) setMembers(ch byte, members []view.Member) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	t.members[ch] = append([]view.Member(nil), members...)
	want := map[view.Slot]view.Member{}
	for _, list := range t.members {
		for _, m := range list {
			if m.Slot != t.cfg.Self.Slot && m.Incarnation >= want[m.Slot].Incarnation {
				want[m.Slot] = m
			}
		}
	}
	for slot, p := range t.peers {
		if m, ok := want[slot]; !ok || m.NodeID != p.id || m.Name != p.name || m.Addr != p.addr {
			p.stop()
			delete(t.peers, slot)
		}
	}
	for slot, m := range want {
		if t.peers[slot] == nil {
			t.peers[slot] = t.newPeer(m)
		}
	}
}

func (t *Transport) handler(channel byte) func(view.Slot, []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil
	}
	return t.handlers[channel]
}

// Close ends all connections and returns when no receiver runs any more. It must not be called by a receiver.
func (t *Transport) Close() error {
	t.mu.Lock()
	t.closed = true
	for _, p := range t.peers {
		p.stop()
	}
	t.peers = map[view.Slot]*peer{}
	t.mu.Unlock()
	t.cancel()
	err := t.listener.Close()
	t.wg.Wait()
	return err
}

// PeerInfo is the state of the connection to one peer.
type PeerInfo struct {
	ID        view.NodeID
	Addr      string
	Connected bool
	Connects  uint64 // connections made so far
	Dropped   uint64 // messages lost because the queue was full
	LastError string // why the last connection ended or could not be made
}

// Peers describes the connections in ascending slots.
func (t *Transport) Peers() []PeerInfo {
	t.mu.Lock()
	defer t.mu.Unlock()
	var list []PeerInfo
	for _, p := range t.peers {
		list = append(list, p.info())
	}
	sortPeers(list)
	return list
}
