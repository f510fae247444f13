package tcp

import (
	"context"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/covol/covol/cluster/view"
)

// TestAnnounce: a node that the others do not know yet makes them look, whoever would dial whom, and nobody else does.
func TestAnnounce(t *testing.T) {
	looked := make(chan struct{}, 16)
	old := start(t, Config{Self: id(1, 1), OnStranger: func() { looked <- struct{}{} }})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	for _, self := range []view.NodeID{id(0, 1), id(2, 1), id(1, 2)} {
		n := start(t, Config{Self: self})
		require.NoError(t, n.Announce(context.Background(), old.Addr().String()))
		<-looked
	}
	other := start(t, Config{Self: id(3, 1), Volume: [16]byte{1}})
	require.ErrorIs(t, other.Announce(context.Background(), old.Addr().String()), ErrRefused)
	require.Empty(t, looked, "a node of another volume is nobody to look for")
	addr := ln.Addr().String()
	require.NoError(t, ln.Close())
	require.Error(t, old.Announce(context.Background(), addr), "nobody is there")
}

// TestListener: a transport takes over a listener that was open before it, with what has queued there.
func TestListener(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	a := start(t, Config{Self: id(0, 1)})
	m := []view.Member{member(a), {NodeID: id(1, 1), Addr: ln.Addr().String()}}
	a.Channel(ChannelLocks).SetMembers(m)
	b, err := New(Config{Self: id(1, 1), Volume: volume, Listener: ln})
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.Close() })
	require.Equal(t, ln.Addr(), b.Addr())
	got := make(chan string, 1)
	b.Channel(ChannelLocks).Handle(func(_ view.Slot, msg []byte) { got <- string(msg) })
	b.Channel(ChannelLocks).SetMembers(m)
	a.Channel(ChannelLocks).Send(1, []byte("hello"))
	require.Equal(t, "hello", <-got)
}
