package tcp

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/covol/covol/cluster/view"
)

// peer is one life of one other node: a queue, and at most one connection that empties it.
type peer struct {
	t      *Transport
	id     view.NodeID
	name   string // that its certificate must carry; empty: any node's
	addr   string
	ctx    context.Context
	cancel context.CancelFunc
	wake   chan struct{} // holds a token when queue may not be empty

	mu sync.Mutex
	// GUARDED_BY(mu)
	queue []message
	// GUARDED_BY(mu)
	bytes int
	// GUARDED_BY(mu)
	current context.CancelCauseFunc // ends the connection in use
	// GUARDED_BY(mu)
	generation uint64 // of the connection in use
	// GUARDED_BY(mu)
	connected bool
	// GUARDED_BY(mu)
	dropped uint64
	// GUARDED_BY(mu)
	lastError string
}

// newPeer is called with Transport.mu held.
func (t *Transport) newPeer(m view.Member) *peer {
	p := &peer{t: t, id: m.NodeID, name: m.Name, addr: m.Addr, wake: make(chan struct{}, 1)}
	p.ctx, p.cancel = context.WithCancel(t.ctx)
	if t.cfg.Self.Slot < m.Slot {
		t.wg.Go(p.dial)
	}
	return p
}

func (p *peer) stop() { p.cancel() }

// send queues m. What does not fit is lost: the peer has not read for long.
func (p *peer) send(m message) {
	p.mu.Lock()
	if p.bytes+len(m.body) > queueBytes || len(m.body) >= maxFrame {
		p.dropped++
		p.mu.Unlock()
		return
	}
	p.queue = append(p.queue, m)
	p.bytes += len(m.body) + headerSize
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// take empties the queue.
func (p *peer) take() []message {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := p.queue
	p.queue, p.bytes = nil, 0
	return q
}

// adopt makes a connection the one in use and ends the one before. The context ends when the connection must.
func (p *peer) adopt() (context.Context, uint64) {
	ctx, cancel := context.WithCancelCause(p.ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current != nil {
		p.current(errReplaced)
	}
	p.current, p.connected = cancel, true
	p.generation++
	return ctx, p.generation
}

// ended notes that a connection is no more.
func (p *peer) ended(generation uint64, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.generation == generation {
		p.connected = false
		p.lastError = err.Error()
	}
}

// failed notes that no connection could be made and reports whether the reason is a new one.
func (p *peer) failed(err error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	changed := p.lastError != err.Error()
	p.lastError = err.Error()
	return changed
}

// dial keeps a connection to a peer in a higher slot.
func (p *peer) dial() {
	backoff := backoffFirst
	for p.ctx.Err() == nil {
		conn, err := p.t.dialOnce(p)
		if err == nil {
			backoff = backoffFirst
			err = p.t.serve(p, conn)
		} else {
			backoff = min(2*backoff, backoffLast)
		}
		if p.ctx.Err() != nil {
			return
		}
		if p.failed(err) {
			p.t.log.Warn("lock manager: no connection", "slot", p.id.Slot, "incarnation", p.id.Incarnation, "addr", p.addr, "err", err)
		}
		timer := time.NewTimer(backoff)
		select {
		case <-timer.C:
		case <-p.ctx.Done():
			timer.Stop()
		}
	}
}

func (p *peer) info() PeerInfo {
	p.mu.Lock()
	defer p.mu.Unlock()
	return PeerInfo{ID: p.id, Addr: p.addr, Connected: p.connected, Connects: p.generation, Dropped: p.dropped, LastError: p.lastError}
}

func sortPeers(list []PeerInfo) {
	slices.SortFunc(list, func(a, b PeerInfo) int { return cmp.Compare(a.ID.Slot, b.ID.Slot) })
}
