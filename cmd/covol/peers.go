package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/covol/covol/cluster"
	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/dlm"
	"github.com/covol/covol/dlm/tcp"
	"github.com/covol/covol/member"
	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/sched"
)

// peers is the way to the other nodes: a listener from the start, connections once the node has its identity.
type peers struct {
	n     *node
	ln    net.Listener
	addr  string // that others reach us at
	first sync.Once
	// member is set once the node is in; suspicions before that are of no use.
	member atomic.Pointer[member.Node]

	mu sync.Mutex
	// GUARDED_BY(mu)
	net *tcp.Transport
	// GUARDED_BY(mu)
	gossip *gossip
}

// announceTime bounds one attempt to tell a node of this one.
const announceTime = 3 * time.Second

// listen opens the port of the lock manager.
func listen(n *node) (*peers, error) {
	bind := n.cfg.Bind
	if bind == "" {
		host := "127.0.0.1"
		if !onlyHere(n.data, n.cfg.OneHost) {
			var err error
			if host, err = hostAddress(); err != nil {
				return nil, err
			}
		}
		bind = net.JoinHostPort(host, "0")
	}
	if err := checkBind(bind); err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", bind)
	if err != nil {
		return nil, hint(fmt.Errorf("--bind %s: %w", bind, err), "Give an address of this host and a port that is free, or port 0 for any: --bind HOST:0")
	}
	p := &peers{n: n, ln: ln, addr: ln.Addr().String()}
	tcpAddr, ok := ln.Addr().(*net.TCPAddr)
	if ok && tcpAddr.IP.IsUnspecified() {
		host := "127.0.0.1"
		if !onlyHere(n.data, n.cfg.OneHost) {
			if host, err = hostAddress(); err != nil {
				_ = ln.Close()
				return nil, err
			}
		}
		p.addr = net.JoinHostPort(host, strconv.Itoa(tcpAddr.Port))
	}
	if err := n.cfg.Secure.allows(ln.Addr(), n.cfg.Join); err != nil {
		_ = ln.Close()
		return nil, err
	}
	return p, nil
}

// checkBind holds an address to HOST:PORT.
func checkBind(bind string) error {
	const want = "Want HOST:PORT, such as 192.168.1.10:7800, or 127.0.0.1:0 for nodes of one host."
	_, port, err := net.SplitHostPort(bind)
	if err != nil {
		return hint(fmt.Errorf("--bind %q: %w", bind, err), want)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return hint(fmt.Errorf("--bind %q: %q is no port number", bind, port), want)
	}
	return nil
}

// hostAddress is the first address of this host that others may reach.
func hostAddress() (string, error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return "", fmt.Errorf("look for an address of this host: %w", err)
	}
	for _, a := range addrs {
		if ipn, ok := a.(*net.IPNet); ok && ipn.IP.IsGlobalUnicast() {
			return ipn.IP.String(), nil
		}
	}
	return "", hint(errors.New("this host has no network address that others could reach"), "Give one with --bind HOST:PORT.")
}

// start begins to talk as the given life of the node; see member.Network.
func (p *peers) start(self view.NodeID, refresh func()) (locks, control dlm.Transport, err error) {
	cfg := p.config()
	cfg.Self, cfg.Listener, cfg.Log, cfg.OnStranger = self, p.ln, p.n.cfg.Log, refresh
	t, err := tcp.New(cfg)
	if err != nil {
		return nil, nil, err
	}
	g, err := startGossip(p, self, t.Channel(tcp.ChannelGossip))
	if err != nil { // a help, not a need
		p.n.cfg.Log.Warn("no gossip: a dead node is noticed by its heartbeat only", "err", err)
	}
	p.mu.Lock()
	p.net, p.gossip = t, g
	p.mu.Unlock()
	return t.Channel(tcp.ChannelLocks), t.Channel(tcp.ChannelControl), nil
}

// config is what all connections have in common.
func (p *peers) config() tcp.Config {
	cfg := tcp.Config{Volume: p.n.super.UUID}
	if c := p.n.cfg.Secure.creds; c != nil {
		cfg.TLS, cfg.CheckPeer = c.TLS(), c.CheckPeer
	}
	return cfg
}

const (
	probeTime  = 2 * time.Second // for one member
	probeTries = 3               // a member that is just ending looks like one that does not want us
	probePause = 200 * time.Millisecond
)

// probe asks the members whether they would talk to this node, before it claims a slot: once it is in the view the others
// wait for what it has to say. Who does not answer may be dead, and is no reason to stay out.
func (p *peers) probe(ctx context.Context) error {
	members, err := cluster.Present(ctx, sched.Real{}, p.n.beat, p.n.super)
	if err != nil {
		return nil // an unreadable view is for Join to judge
	}
	errs := make([]error, len(members))
	var wg sync.WaitGroup
	for i, m := range members {
		if m.Name == p.n.cfg.Name {
			continue // an earlier life
		}
		wg.Go(func() {
			for range probeTries {
				if errs[i] = p.probeOne(ctx, m); !errors.Is(errs[i], tcp.ErrRefused) {
					errs[i] = nil
					return
				}
				time.Sleep(probePause)
			}
			errs[i] = fmt.Errorf("node %s at %s: %w", m.Name, m.Addr, errs[i])
		})
	}
	wg.Wait()
	return hint(errors.Join(errs...), "All nodes of a volume must be of one cluster, or all talk in clear: see covol cluster show here and there.")
}

func (p *peers) probeOne(ctx context.Context, m view.Member) error {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	return tcp.Probe(ctx, p.config(), m.Addr, m.Name)
}

// onView makes the node known to the others when it has become a member.
func (p *peers) onView(v view.View) {
	p.mu.Lock()
	g := p.gossip
	p.mu.Unlock()
	if g != nil {
		g.SetView(v)
	}
	p.first.Do(func() { go p.announce(v.Members) })
}

// announce shows this node to all members, and to the addresses given by --join, so that nobody has to wait for the
// next look at the disk.
func (p *peers) announce(members []view.Member) {
	p.mu.Lock()
	t := p.net
	p.mu.Unlock()
	given := map[string]bool{}
	for _, addr := range p.n.cfg.Join {
		given[addr] = true
	}
	to := map[string]bool{}
	for addr := range given {
		to[addr] = true
	}
	for _, m := range members {
		to[m.Addr] = true
	}
	delete(to, p.addr)
	var wg sync.WaitGroup
	for addr := range to {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), announceTime)
			defer cancel()
			err := t.Announce(ctx, addr)
			if err != nil && given[addr] {
				p.n.cfg.Log.Warn("no node of this volume answers at an address of --join", "addr", addr, "err", err)
			}
		})
	}
	wg.Wait()
}

// checkJoin holds the addresses of --join to HOST:PORT.
func checkJoin(addrs []string) error {
	for _, a := range addrs {
		host, port, err := net.SplitHostPort(a)
		if err == nil && (host == "" || port == "") {
			err = errors.New("host or port is missing")
		}
		if err != nil {
			return hint(fmt.Errorf("--join %q: %w", a, err), "Want HOST:PORT of a node that has the volume mounted; covol status shows it.")
		}
	}
	return nil
}

// info describes the connections.
func (p *peers) info() []tcp.PeerInfo {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.net == nil {
		return nil
	}
	return p.net.Peers()
}

func (p *peers) close() {
	p.mu.Lock()
	t, g := p.net, p.gossip
	p.mu.Unlock()
	if g != nil {
		g.end()
	}
	if t != nil {
		_ = t.Close()
	}
	_ = p.ln.Close()
}

// checkName holds the name of a node to what fits its slot and a line of text.
func checkName(name string) error {
	const want = "Give a short name of letters, digits, dots and dashes, unique on the volume: --node NAME"
	switch {
	case name == "":
		return hint(errors.New("the node has no name"), want)
	case len(name) > ondisk.NameSize:
		return hint(fmt.Errorf("node name of %d bytes is longer than %d", len(name), ondisk.NameSize), want)
	}
	for _, r := range name {
		if r <= ' ' || r == 0x7f || r == '/' {
			return hint(fmt.Errorf("node name %q has a character that is not allowed", name), want)
		}
	}
	return nil
}
