package tcp

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/cluster/pki"
	"github.com/covol/covol/cluster/view"
)

// credentials makes a cluster of one node of that name. Nodes of one cluster come from certified.
func credentials(tb testing.TB, node string) *pki.Credentials {
	tb.Helper()
	dir := pki.Dir(filepath.Join(tb.TempDir(), "covol"))
	_, err := pki.Init(dir, "lab", node, time.Now(), false)
	require.NoError(tb, err)
	c, err := pki.Open(dir, time.Now, slog.New(slog.DiscardHandler))
	require.NoError(tb, err)
	return c
}

// certified gives the nodes n0, n1, ... of one cluster their credentials.
func certified(tb testing.TB, n int) []*pki.Credentials {
	tb.Helper()
	all := []*pki.Credentials{credentials(tb, "n0")}
	for i := 1; i < n; i++ {
		m, err := all[0].Member().Enrol(pki.Dir(filepath.Join(tb.TempDir(), "covol")), fmt.Sprint("n", i), time.Now(), false)
		require.NoError(tb, err)
		c, err := pki.Open(m.Dir, time.Now, slog.New(slog.DiscardHandler))
		require.NoError(tb, err)
		all = append(all, c)
	}
	return all
}

// secured makes transports of nodes that know each other by their certificates.
func secured(tb testing.TB, n int) ([]*Transport, []view.Member) {
	tb.Helper()
	var ts []*Transport
	var members []view.Member
	for i, c := range certified(tb, n) {
		t := start(tb, Config{Self: id(i, 1), TLS: c.TLS(), CheckPeer: c.CheckPeer})
		m := member(t)
		m.Name = fmt.Sprint("n", i)
		ts, members = append(ts, t), append(members, m)
	}
	return ts, members
}

func TestTLS_Members(t *testing.T) {
	ts, members := secured(t, 3)
	got := make(chan string, 10)
	for i, tr := range ts {
		c := tr.Channel(ChannelLocks)
		c.Handle(func(from view.Slot, msg []byte) { got <- fmt.Sprintf("%d→%d %s", from, i, msg) })
		c.SetMembers(members)
	}
	want := map[string]bool{}
	for i, tr := range ts {
		for j := range ts {
			if i != j {
				tr.Channel(ChannelLocks).Send(view.Slot(j), []byte("hello"))
				want[fmt.Sprintf("%d→%d hello", i, j)] = true
			}
		}
	}
	for len(want) > 0 {
		s := <-got
		require.True(t, want[s], s)
		delete(want, s)
	}
	require.NoError(t, ts[2].Announce(t.Context(), members[0].Addr))
}

// TestTLS_Strangers: whoever is not the node whose name the view has for a slot is refused, both sides say why, and the
// connection between those who are right stays as it is.
func TestTLS_Strangers(t *testing.T) {
	all := certified(t, 3)
	var log syncBuffer
	got := make(chan string, 10)
	var looks atomic.Int32
	tr := start(t, Config{Self: id(1, 1), TLS: all[1].TLS(), CheckPeer: all[1].CheckPeer, Log: slog.New(slog.NewTextHandler(&log, nil)),
		OnStranger: func() { looks.Add(1) }})
	right := start(t, Config{Self: id(0, 1), TLS: all[0].TLS(), CheckPeer: all[0].CheckPeer})
	members := []view.Member{{NodeID: id(0, 1), Name: "n0", Addr: right.Addr().String()}, {NodeID: id(1, 1), Name: "n1", Addr: tr.Addr().String()}}
	for _, x := range []*Transport{tr, right} {
		x.Channel(ChannelLocks).Handle(func(_ view.Slot, msg []byte) { got <- string(msg) })
		x.Channel(ChannelLocks).SetMembers(members)
	}
	right.Channel(ChannelLocks).Send(1, []byte("first"))
	require.Equal(t, "first", <-got)

	naked := all[0].TLS()
	naked.GetClientCertificate = nil
	foreign := credentials(t, "n0")
	for _, tc := range []struct {
		name         string
		cfg          Config
		here, theirs string
	}{
		{"another authority", Config{TLS: foreign.TLS(), CheckPeer: foreign.CheckPeer}, "", "signed by another authority"},
		{"another authority, careless", Config{TLS: careless(foreign.TLS())}, "signed by another authority", "does not accept this node's certificate"},
		{"another node's certificate", Config{TLS: all[2].TLS(), CheckPeer: all[2].CheckPeer}, `is of node \"n2\"`, "a certificate of another node"},
		{"no certificate", Config{TLS: naked, CheckPeer: all[0].CheckPeer}, "didn't provide a certificate", "does not accept this node's certificate"},
		{"in clear", Config{}, "talks in clear", "it may want TLS"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.cfg.Self, tc.cfg.Volume = id(0, 1), volume
			if err := Probe(t.Context(), tc.cfg, tr.Addr().String(), "n1"); strings.Contains(tc.name, "another node") {
				require.NoError(t, err, "it may come in, as itself")
			} else {
				require.ErrorIs(t, err, ErrRefused)
			}
			stranger := start(t, tc.cfg)
			stranger.Channel(ChannelLocks).SetMembers(members[1:])
			stranger.Channel(ChannelLocks).Send(1, []byte("evil"))
			require.Eventually(t, func() bool { return strings.Contains(stranger.Peers()[0].LastError, tc.theirs) }, 10*time.Second, time.Millisecond,
				"it says %q", stranger.Peers()[0].LastError)
			require.Eventually(t, func() bool { return strings.Contains(log.String(), tc.here) }, 10*time.Second, time.Millisecond, log.String())
		})
	}
	t.Run("a TLS node meets one in clear", func(t *testing.T) {
		var log syncBuffer
		plain := start(t, Config{Self: id(1, 1), Log: slog.New(slog.NewTextHandler(&log, nil))})
		require.ErrorContains(t, right.Announce(t.Context(), plain.Addr().String()), "it may talk in clear")
		require.Eventually(t, func() bool { return strings.Contains(log.String(), "the other side talks TLS") }, 10*time.Second, time.Millisecond)
	})
	t.Run("silent", func(t *testing.T) {
		for range strangersOpen / 2 {
			conn, err := net.Dial("tcp", tr.Addr().String())
			require.NoError(t, err)
			defer conn.Close()
		}
		require.NoError(t, right.Announce(t.Context(), tr.Addr().String()), "half of the room for strangers is left")
	})
	require.NoError(t, Probe(t.Context(), Config{Volume: volume, TLS: all[2].TLS(), CheckPeer: all[2].CheckPeer}, tr.Addr().String(), "n1"))
	require.ErrorIs(t, Probe(t.Context(), Config{Volume: volume, TLS: all[2].TLS(), CheckPeer: all[2].CheckPeer}, tr.Addr().String(), "n2"), ErrRefused)
	right.Channel(ChannelLocks).Send(1, []byte("last"))
	require.Equal(t, "last", <-got)
	assert.Empty(t, got)
	assert.EqualValues(t, 3, looks.Load(), "only a node of the cluster makes another one look at the disk")
	assert.EqualValues(t, 1, tr.Peers()[0].Connects, "nobody else was taken for the right one")
}

// careless shows its certificate to anyone.
func careless(cfg *tls.Config) *tls.Config {
	cfg.VerifyConnection = nil
	return cfg
}
