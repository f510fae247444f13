package tcp

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/dlm"
)

// roads are how nodes may be connected.
var roads = []struct {
	name    string
	connect func(tb testing.TB, n int) ([]*Transport, []view.Member)
}{
	{"plain", func(tb testing.TB, n int) ([]*Transport, []view.Member) { return connect(tb, n, Config{}) }},
	{"tls", secured},
}

// eachRoad runs a benchmark in clear and with TLS.
func eachRoad(b *testing.B, f func(b *testing.B, users []*lockUser)) {
	for _, r := range roads {
		b.Run(r.name, func(b *testing.B) {
			ts, members := r.connect(b, 2)
			f(b, benchNodes(b, ts, members))
		})
	}
}

func benchNodes(b *testing.B, ts []*Transport, members []view.Member) []*lockUser {
	var users []*lockUser
	for i, tr := range ts {
		users = append(users, newLockUser(tr.Channel(ChannelLocks), id(i, 1)))
	}
	for _, u := range users {
		u.SetView(view.View{Epoch: 1, Members: members})
		b.Cleanup(u.Stop)
	}
	for _, u := range users {
		require.NoError(b, u.WaitRebuilt(b.Context(), 1))
	}
	return users
}

func report(b *testing.B, times []time.Duration) {
	slices.Sort(times)
	at := func(p int) float64 { return float64(times[(len(times)-1)*p/100].Nanoseconds()) / 1e3 }
	b.ReportMetric(at(50), "p50-µs")
	b.ReportMetric(at(99), "p99-µs")
}

// BenchmarkRemoteGrant is one round trip to a master that another node is: lock PR, give it up.
func BenchmarkRemoteGrant(b *testing.B) { eachRoad(b, remoteGrant) }

func remoteGrant(b *testing.B, users []*lockUser) {
	_, err := users[0].Lock(b.Context(), counterRes, dlm.CR, dlm.Options{}) // keeps the mastership there
	require.NoError(b, err)
	times := make([]time.Duration, 0, b.N)
	b.ReportAllocs()
	for b.Loop() {
		start := time.Now()
		_, err := users[1].Lock(b.Context(), counterRes, dlm.PR, dlm.Options{})
		times = append(times, time.Since(start))
		if err != nil {
			b.Fatal(err)
		}
		if err := users[1].Downgrade(counterRes, dlm.NL, nil); err != nil {
			b.Fatal(err)
		}
	}
	report(b, times)
}

// BenchmarkHandOver moves EX between two nodes, each time from the one that holds it by a blocking callback.
func BenchmarkHandOver(b *testing.B) { eachRoad(b, handOver) }

func handOver(b *testing.B, users []*lockUser) {
	times := make([]time.Duration, 0, b.N)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		start := time.Now()
		if err := users[i%2].with(b.Context(), dlm.EX, func() {}); err != nil {
			b.Fatal(err)
		}
		times = append(times, time.Since(start))
		i++
	}
	report(b, times)
}

// BenchmarkCached is a lock that the node holds already: no message.
func BenchmarkCached(b *testing.B) {
	ts, members := connect(b, 2, Config{})
	users := benchNodes(b, ts, members)
	_, err := users[0].Lock(b.Context(), counterRes, dlm.EX, dlm.Options{})
	require.NoError(b, err)
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := users[0].Lock(ctx, counterRes, dlm.PR, dlm.Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
