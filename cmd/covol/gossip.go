package main

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/covol/covol/cluster/serf"
	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/dlm"
)

// gossip is the gossip of one node while it runs.
type gossip struct {
	*serf.Gossip
	cancel context.CancelFunc
	met    chan struct{} // closed when it looks for others no more
}

// startGossip begins to gossip beside the port of the lock manager, and to meet the members over ch.
func startGossip(p *peers, self view.NodeID, ch dlm.Transport) (*gossip, error) {
	cfg := serf.Config{
		Self: self, Node: p.n.cfg.Name, Volume: p.n.super.UUID, LockAddr: p.addr, Version: versionOf().Version,
		Bind: gossipAddr(p.addr, p.n.cfg.Bind), Log: p.n.cfg.Log,
		OnFailed: func(node string) {
			if m := p.member.Load(); m != nil {
				m.Suspect(node)
			}
		},
	}
	if c := p.n.cfg.Secure.creds; c != nil {
		cfg.Key = c.Member().Gossip
	}
	sg, err := serf.Start(cfg)
	if err != nil {
		return nil, err
	}
	g := &gossip{Gossip: sg, met: make(chan struct{})}
	var ctx context.Context
	ctx, g.cancel = context.WithCancel(context.Background())
	go func() {
		defer close(g.met)
		g.Meet(ctx, ch)
	}()
	return g, nil
}

// end says good-bye.
func (g *gossip) end() {
	g.cancel()
	<-g.met
	_ = g.Close()
}

// gossipAddr is the port after that of the lock manager where the operator chose that, so that a firewall can know it, else
// any.
func gossipAddr(addr, bind string) string {
	host, _, _ := net.SplitHostPort(addr)
	_, wish, _ := net.SplitHostPort(bind)
	port, err := strconv.ParseUint(wish, 10, 16)
	if err != nil || port == 0 || port == 65535 {
		return net.JoinHostPort(host, "0")
	}
	return net.JoinHostPort(host, strconv.FormatUint(port+1, 10))
}

// gossipReport is what the gossip says of one life of a node. It is a rumour.
type gossipReport struct {
	Name        string `json:"name"`
	Slot        int    `json:"slot"`
	Incarnation uint32 `json:"incarnation"`
	Status      string `json:"status"` // alive, leaving, left, failed
	Addr        string `json:"addr"`
	Version     string `json:"version"`
}

func (p *peers) gossipReport() []gossipReport {
	p.mu.Lock()
	g := p.gossip
	p.mu.Unlock()
	list := []gossipReport{}
	if g == nil {
		return list
	}
	for _, m := range g.Members() {
		list = append(list, gossipReport{Name: m.Node, Slot: int(m.Slot), Incarnation: uint32(m.Incarnation), Status: string(m.Status),
			Addr: m.Addr, Version: m.Version})
	}
	return list
}

// rumours is the gossip in one line.
func rumours(list []gossipReport) string {
	if len(list) == 0 {
		return "none"
	}
	alive := map[string]bool{}
	for _, g := range list {
		alive[g.Name] = alive[g.Name] || serf.Status(g.Status) == serf.Alive
	}
	count := 0
	var rest []string
	for _, g := range list {
		switch serf.Status(g.Status) {
		case serf.Alive:
			count++
		case serf.Left: // as it should be
		default:
			if !alive[g.Name] { // else an earlier life
				rest = append(rest, g.Name+" "+g.Status)
			}
		}
	}
	return strings.Join(append([]string{fmt.Sprintf("%d alive", count)}, rest...), ", ")
}
