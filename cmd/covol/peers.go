package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/dlm"
	"github.com/covol/covol/dlm/tcp"
	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/sched"
)

// peers is the way to the other nodes: a listener from the start, connections once the node has its identity.
type peers struct {
	n    *node
	ln   net.Listener
	addr string // that others reach us at

	mu sync.Mutex
	// GUARDED_BY(mu)
	net *tcp.Transport
	// GUARDED_BY(mu)
	control dlm.Transport
}

// msgLook is the only control message: look at the view block now.
var msgLook = []byte{1}

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

// onView installs a view, and with the first one starts the lock manager.
func (n *node) onView(v view.View) {
	n.epoch.Store(uint64(v.Epoch))
	if n.peers == nil {
		return // replay alone, no locks
	}
	locks := n.lockManager()
	if locks == nil {
		var err error
		if locks, err = n.startLocks(v); err != nil {
			n.cfg.Log.Error("start lock manager", "err", err)
			n.stop(err)
			return
		}
	}
	locks.SetView(v)
}

// startLocks starts the lock manager as the member of v that has our name and address.
func (n *node) startLocks(v view.View) (*dlm.Node, error) {
	for _, m := range v.Members {
		if m.Name == n.cfg.Name && m.Addr == n.peers.addr {
			transport, err := n.peers.start(m.NodeID)
			if err != nil {
				return nil, err
			}
			locks := dlm.NewNode(dlm.Config{ID: m.NodeID, Sched: sched.Real{}, Transport: transport, Log: n.cfg.Log, OnBlocking: n.demand})
			n.mu.Lock()
			defer n.mu.Unlock()
			n.locks = locks
			return locks, nil
		}
	}
	return nil, fmt.Errorf("the view of epoch %d does not list %s at %s", v.Epoch, n.cfg.Name, n.peers.addr)
}

// start begins to talk as the given life of the node and returns the transport of the lock manager.
func (p *peers) start(self view.NodeID) (dlm.Transport, error) {
	t, err := tcp.New(tcp.Config{Self: self, Volume: p.n.super.UUID, Listener: p.ln, Log: p.n.cfg.Log, OnStranger: p.refresh})
	if err != nil {
		return nil, err
	}
	control := t.Channel(tcp.ChannelControl)
	control.Handle(func(_ view.Slot, msg []byte) {
		if string(msg) == string(msgLook) {
			p.refresh()
		}
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	p.net, p.control = t, control
	return t.Channel(tcp.ChannelLocks), nil
}

// refresh makes the cluster look at the view now. Before Join has returned it is looking anyway.
func (p *peers) refresh() {
	if mem := p.n.member(); mem != nil {
		mem.Refresh()
	}
}

// poke tells members to look at the view now.
func (n *node) poke(members []view.Member) {
	if n.peers == nil {
		return
	}
	n.peers.mu.Lock()
	control := n.peers.control
	n.peers.mu.Unlock()
	if control == nil {
		return
	}
	for _, m := range members {
		control.Send(m.Slot, msgLook)
	}
}

// announce shows this node to all members, and to the addresses given by --join, so that nobody has to wait for the
// next look at the disk.
func (p *peers) announce(ctx context.Context) {
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
	for _, m := range p.n.member().View().Members {
		to[m.Addr] = true
	}
	delete(to, p.addr)
	var wg sync.WaitGroup
	for addr := range to {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, announceTime)
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
	t := p.net
	p.mu.Unlock()
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
