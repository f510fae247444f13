package serf

import (
	"context"
	"net/netip"
	"time"

	"github.com/covol/covol/cluster/view"
)

// Channel carries small messages between members of a view; dlm.Transport is one.
type Channel interface {
	Send(to view.Slot, msg []byte)
	Handle(f func(from view.Slot, msg []byte))
	SetMembers(m []view.Member)
}

// An introduction is a message of one byte, its version, and the address of the sender's gossip as IP:PORT.
const (
	introVersion = 1
	maxIntro     = 64
	meetInterval = time.Second
)

type introduction struct {
	from view.Slot
	addr string
}

func parseIntro(msg []byte) (addr string, ok bool) {
	if len(msg) < 2 || len(msg) > maxIntro || msg[0] != introVersion {
		return "", false
	}
	a, err := netip.ParseAddrPort(string(msg[1:]))
	if err != nil || a.Port() == 0 || a.Addr().IsUnspecified() || a.Addr().IsMulticast() {
		return "", false
	}
	return a.String(), true
}

// Meet finds the members of the view over a channel, until ctx ends. It is called once.
func (g *Gossip) Meet(ctx context.Context, ch Channel) {
	ch.Handle(func(from view.Slot, msg []byte) {
		if addr, ok := parseIntro(msg); ok {
			select {
			case g.heard <- introduction{from, addr}:
			default: // it is said again
			}
		}
	})
	defer ch.Handle(nil)
	tick := time.NewTicker(meetInterval)
	defer tick.Stop()
	mine := append([]byte{introVersion}, g.addr...)
	for {
		for _, m := range g.missing() {
			ch.Send(m.Slot, mine)
		}
		select {
		case <-ctx.Done():
			return
		case <-g.stop:
			return
		case <-tick.C:
		case i := <-g.heard:
			g.greet(i)
		}
	}
}

// SetView tells who should be there.
func (g *Gossip) SetView(v view.View) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.members = append([]view.Member(nil), v.Members...)
}

// missing are the members of the view that are not heard.
func (g *Gossip) missing() []view.Member {
	alive := map[view.NodeID]bool{g.cfg.Self: true}
	for _, m := range g.Members() {
		alive[m.NodeID] = alive[m.NodeID] || m.Status == Alive
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	var list []view.Member
	for _, m := range g.members {
		if !alive[m.NodeID] {
			list = append(list, m)
		}
	}
	return list
}

// greet joins who introduced itself, if it is missing.
func (g *Gossip) greet(i introduction) {
	for _, m := range g.missing() {
		if m.Slot != i.from {
			continue
		}
		err := g.Join(i.addr)
		g.mu.Lock()
		told := g.deaf[i.addr]
		if err == nil {
			delete(g.deaf, i.addr)
		} else if len(g.deaf) < 1000 {
			g.deaf[i.addr] = true
		}
		g.mu.Unlock()
		if err != nil && !told {
			g.cfg.Log.Warn("gossip: a member of the view cannot be joined now", "node", m.Name, "addr", i.addr, "err", err)
		}
	}
}

// Join meets the gossip at an address.
func (g *Gossip) Join(addr string) error {
	_, err := g.serf.Join([]string{addr}, true)
	return err
}
