package serf

import (
	"encoding/hex"
	"fmt"
	"log"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/hashicorp/serf/serf"

	"github.com/covol/covol/cluster/view"
)

// Config is what a Gossip needs.
type Config struct {
	Self     view.NodeID
	Node     string   // name, unique on the volume
	Volume   [16]byte // UUID; nothing is heard of other volumes
	LockAddr string   // of the lock manager, for people who look
	Version  string   // of the program
	Bind     string   // HOST:PORT; port 0, or one that is taken, takes any
	Key      []byte   // 16, 24 or 32 bytes, the same on all nodes; nil: in clear
	Log      *slog.Logger
	// OnFailed is called, one call at a time, when a node was not heard any more and said no good-bye. It is a suspicion.
	// It must not block. May be nil.
	OnFailed func(node string)
}

// Status is what the gossip thinks of a node.
type Status string

// The states of a member, as serf names them.
const (
	Alive   Status = "alive"
	Leaving Status = "leaving"
	Left    Status = "left"
	Failed  Status = "failed"
)

// Member is one life of a node, as the gossip knows it.
type Member struct {
	view.NodeID
	Node     string
	Addr     string // of its gossip
	LockAddr string
	Version  string
	Status   Status
}

// Gossip is this node's part of it.
type Gossip struct {
	cfg    Config
	serf   *serf.Serf
	addr   string
	events chan serf.Event
	stop   chan struct{}
	heard  chan introduction
	wg     sync.WaitGroup

	mu sync.Mutex
	// GUARDED_BY(mu)
	members []view.Member
	// GUARDED_BY(mu): addresses that cannot be joined now, to tell it once
	deaf map[string]bool
}

const (
	eventBuffer   = 256 // serf stands still when it is full
	probeInterval = 250 * time.Millisecond
	leaveTime     = 500 * time.Millisecond
)

// Start opens the sockets and is alone until Join or Meet.
func Start(cfg Config) (*Gossip, error) {
	host, portText, err := net.SplitHostPort(cfg.Bind)
	if err != nil {
		return nil, fmt.Errorf("gossip: %w", err)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("gossip: port of %s: %w", cfg.Bind, err)
	}
	if n := len(cfg.Key); n != 0 && memberlist.ValidateKey(cfg.Key) != nil {
		return nil, fmt.Errorf("gossip: a key of %d bytes, want 16, 24 or 32", n)
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	g := &Gossip{cfg: cfg, events: make(chan serf.Event, eventBuffer), stop: make(chan struct{}),
		heard: make(chan introduction, 64), deaf: map[string]bool{}}
	// A Create that fails leaves goroutines behind, so it must not meet what can be known before.
	if err := usable(cfg.Bind); err != nil && port != 0 {
		cfg.Log.Warn("gossip: port is taken, another one is used", "addr", cfg.Bind, "err", err)
		port = 0
	}
	if g.serf, err = serf.Create(g.settings(host, int(port))); err != nil {
		return nil, fmt.Errorf("gossip: %w", err)
	}
	m := g.serf.LocalMember()
	g.addr = net.JoinHostPort(m.Addr.String(), strconv.Itoa(int(m.Port)))
	g.wg.Go(g.drain)
	return g, nil
}

// usable reports why nobody can listen at an address, by TCP and UDP.
func usable(addr string) error {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	defer ln.Close()
	p, err := net.ListenPacket("udp", addr)
	if err != nil {
		return err
	}
	return p.Close()
}

// settings make the death of a node known in about 1.4 s among 3 to 5 nodes, at 4 probes a second.
func (g *Gossip) settings(host string, port int) *serf.Config {
	logger := log.New(&logWriter{log: g.cfg.Log}, "", 0)
	ml := memberlist.DefaultLANConfig()
	ml.BindAddr, ml.BindPort, ml.AdvertisePort = host, port, port
	ml.ProbeInterval, ml.ProbeTimeout = probeInterval, 100*time.Millisecond
	ml.SuspicionMult, ml.SuspicionMaxTimeoutMult, ml.AwarenessMaxMultiplier = 4, 3, 4
	ml.GossipInterval, ml.TCPTimeout = 50*time.Millisecond, 2*time.Second
	ml.SecretKey, ml.Label = g.cfg.Key, "covol/"+hex.EncodeToString(g.cfg.Volume[:])
	ml.Logger = logger

	c := serf.DefaultConfig()
	c.MemberlistConfig, c.Logger, c.EventCh = ml, logger, g.events
	c.NodeName = fmt.Sprintf("%s#%d.%d", g.cfg.Node, g.cfg.Self.Slot, g.cfg.Self.Incarnation)
	c.Tags = g.tags()
	c.CoalescePeriod, c.UserCoalescePeriod = 0, 0 // a suspicion that waits is of no use
	c.EnableNameConflictResolution = false
	c.LeavePropagateDelay, c.BroadcastTimeout = leaveTime/5, leaveTime
	// A life never comes back under its name, so there is nothing to keep it for.
	c.ReconnectTimeout, c.TombstoneTimeout = 10*time.Minute, time.Minute
	return c
}

// Addr is where others find this node.
func (g *Gossip) Addr() string { return g.addr }

// drain reads what serf tells, until it is shut down.
func (g *Gossip) drain() {
	for {
		select {
		case <-g.stop:
			return
		case e := <-g.events:
			if m, ok := e.(serf.MemberEvent); ok {
				g.tell(m)
			}
		}
	}
}

func (g *Gossip) tell(e serf.MemberEvent) {
	for _, sm := range e.Members {
		m, ok := parseMember(sm)
		if !ok {
			g.cfg.Log.Warn("gossip: a member without the tags of a node", "name", sm.Name)
			continue
		}
		if m.NodeID == g.cfg.Self {
			continue
		}
		g.cfg.Log.Info("gossip: "+e.EventType().String(), "node", m.Node, "slot", m.Slot, "incarnation", m.Incarnation)
		if e.EventType() == serf.EventMemberFailed && g.cfg.OnFailed != nil && !g.backAgain(m) {
			g.cfg.OnFailed(m.Node)
		}
	}
}

// backAgain reports whether a later life of the node is heard: its earlier one failed, which is old news.
func (g *Gossip) backAgain(m Member) bool {
	for _, other := range g.Members() {
		if other.Node == m.Node && other.Status == Alive && other.NodeID != m.NodeID {
			return true
		}
	}
	return false
}

// Close says good-bye to the others, so that they do not take this node for dead, and ends.
func (g *Gossip) Close() error {
	close(g.stop)
	g.wg.Wait()
	ended := make(chan struct{})
	go func() { // serf must not wait for somebody to read its events
		for {
			select {
			case <-g.events:
			case <-ended:
				return
			}
		}
	}()
	if err := g.serf.Leave(); err != nil {
		g.cfg.Log.Info("gossip: leave", "err", err)
	}
	err := g.serf.Shutdown()
	<-g.serf.ShutdownCh()
	close(ended)
	if err != nil {
		return fmt.Errorf("gossip: shut down: %w", err)
	}
	return nil
}
