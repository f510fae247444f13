package tcp

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"time"

	"github.com/covol/covol/cluster/view"
)

// Version is the version of the hello, the frames and the lock messages. Nodes of different versions refuse each
// other.
const Version = 1

// The channels. Others up to 254 are free.
const (
	ChannelLocks   byte = 0
	ChannelControl byte = 1
	ChannelGossip  byte = 2 // where the gossip of a node is

	channelKeepalive byte = 255
)

const (
	maxFrame      = 1 << 20
	queueBytes    = 8 << 20 // queued for one peer; more is lost
	keepalive     = 2 * time.Second
	silence       = 3 * keepalive
	helloTimeout  = 5 * time.Second
	dialTimeout   = 5 * time.Second
	backoffFirst  = 10 * time.Millisecond
	backoffLast   = time.Second
	copyBelow     = 4 << 10 // smaller messages are copied into one buffer per write
	readerBuffer  = 64 << 10
	strangersOpen = 64 // accepted connections that have not shown a valid hello yet
)

// Config is what a Transport needs.
type Config struct {
	Self   view.NodeID
	Volume [16]byte // UUID of the volume; all nodes of a volume have the same
	Listen string   // host:port; port 0 takes a free one
	// Listener is used instead of Listen if it is not nil, and belongs to the Transport from then on, also after an
	// error: a node must know its address before it is given the identity it shows to its peers.
	Listener net.Listener
	TLS      *tls.Config // nil: plain. Used for both directions, 1.3 at least
	// CheckPeer, if not nil, judges whether who is at the other end of a TLS connection may be the member of that name;
	// an empty name stands for any node. It is called after the handshake and must not block.
	CheckPeer func(cs tls.ConnectionState, name string) error
	Log       *slog.Logger // nil: no log
	// OnStranger is called when a node that the members named here do not contain, or not in this life, has shown
	// itself: there may be a newer view. It must not block. May be nil.
	OnStranger func()
}

// ErrRefused is the class of hellos that were not accepted, here or by the peer.
var ErrRefused = errors.New("refused")
