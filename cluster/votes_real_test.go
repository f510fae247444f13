package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/blockdev/filedev"
	"github.com/covol/covol/ondisk/sched"
)

// plainDevice hides that a file can compare and write.
type plainDevice struct{ blockdev.Device }

// Real goroutines and a real file, but no compare-and-write: what the race detector has to say.
func TestRealFileByVote(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lun")
	f, err := os.Create(path)
	require.NoError(t, err)
	require.NoError(t, f.Truncate(ondisk.MinVolume))
	require.NoError(t, f.Close())
	p := ondisk.Profile{Name: "test", Heartbeat: 50 * time.Millisecond, Lease: 8 * time.Second, IOBound: time.Second, Guard: 500 * time.Millisecond}
	sb := &ondisk.Super{UUID: ondisk.UUID{4}, Blocks: ondisk.MinVolume / ondisk.BlockSize, Slots: 4, JournalBlocks: ondisk.MinJournal, ClusterSize: 4096, Profile: p}
	open := func() *filedev.Device {
		d, err := filedev.Open(path, filedev.Options{})
		require.NoError(t, err)
		t.Cleanup(func() { assert.NoError(t, d.Close()) })
		return d
	}
	dev := open()
	put := func(blk uint64, b []byte) {
		require.NoError(t, dev.WriteAt(t.Context(), b, int64(blk)*ondisk.BlockSize, true))
	}
	put(ondisk.ViewBlock, ondisk.EncodeView(sb, &ondisk.View{Epoch: 1}))
	for i := range uint16(4) {
		put(sb.BallotBlock(i), ondisk.EncodeBallot(sb, &ondisk.Ballot{Slot: i}))
		put(sb.SlotBlock(i), ondisk.EncodeSlot(sb, &ondisk.Slot{Index: i}))
	}
	machine, err := LocalMachine()
	require.NoError(t, err)
	config := func(name string) Config {
		d := open()
		return Config{Dev: plainDevice{d}, Super: sb, Name: name, Addr: "localhost:1", Host: d, Machine: machine, Sched: sched.Real{},
			Log: slog.New(slog.DiscardHandler)}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	nodes := make([]*Node, 3)
	errs := make(chan error, 3)
	for i := range nodes {
		cfg := config(fmt.Sprintf("n%d", i))
		go func() {
			var err error
			nodes[i], err = Join(ctx, cfg)
			errs <- err
		}()
	}
	for range nodes {
		require.NoError(t, <-errs)
	}
	for _, n := range nodes {
		require.Eventually(t, func() bool { return len(n.View().Members) == 3 }, 20*time.Second, time.Millisecond)
		assert.Contains(t, n.Status().Views, "votes")
	}
	names, err := InUse(ctx, plainDevice{dev}, sb, dev)
	require.NoError(t, err)
	assert.ElementsMatch(t, []string{"n0", "n1", "n2"}, names)

	swapping := config("n3")
	swapping.Dev = swapping.Host.(*filedev.Device)
	_, err = Join(ctx, swapping)
	require.ErrorIs(t, err, ErrMixed)

	dead := nodes[0].ID()
	nodes[0].Kill()
	require.NoError(t, nodes[0].Done().Wait(ctx))
	require.Eventually(t, func() bool {
		v := nodes[1].View()
		return !v.Has(dead) && len(v.Recovering) == 0
	}, 20*time.Second, time.Millisecond)
	again, err := Join(ctx, config("n0"))
	require.NoError(t, err)
	assert.Equal(t, view.NodeID{Slot: dead.Slot, Incarnation: dead.Incarnation + 1}, again.ID())
	for _, n := range []*Node{nodes[1], again, nodes[2]} {
		require.NoError(t, n.Leave(ctx))
	}
	names, err = InUse(ctx, plainDevice{dev}, sb, dev)
	require.NoError(t, err)
	assert.Empty(t, names)
}
