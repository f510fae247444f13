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
	"github.com/covol/covol/ondisk/blockdev/filedev"
	"github.com/covol/covol/ondisk/sched"
)

// Real goroutines, a real file and real locks: what the race detector and the kernel have to say.
func TestRealFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lun")
	f, err := os.Create(path)
	require.NoError(t, err)
	require.NoError(t, f.Truncate(ondisk.MinVolume))
	require.NoError(t, f.Close())
	p := ondisk.Profile{Name: "test", Heartbeat: 50 * time.Millisecond, Lease: 5 * time.Second, IOBound: 2 * time.Second, Guard: time.Second}
	sb := &ondisk.Super{UUID: ondisk.UUID{4}, Blocks: ondisk.MinVolume / ondisk.BlockSize, Slots: 3, JournalBlocks: ondisk.MinJournal, ClusterSize: 4096, Profile: p}
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
	put(ondisk.ViewBlock, ondisk.EncodeView(sb, &ondisk.View{Members: make([]uint32, 3), Recovering: make([]uint32, 3)}))
	for i := range uint16(3) {
		put(sb.SlotBlock(i), ondisk.EncodeSlot(sb, &ondisk.Slot{Index: i}))
	}
	machine, err := LocalMachine()
	require.NoError(t, err)
	config := func(name string) Config {
		d := open()
		return Config{Dev: d, Super: sb, Name: name, Addr: "localhost:1", Host: d, Machine: machine, Sched: sched.Real{},
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
	names, err := InUse(ctx, dev, sb, dev)
	require.NoError(t, err)
	assert.ElementsMatch(t, []string{"n0", "n1", "n2"}, names)
	for _, n := range nodes {
		require.Eventually(t, func() bool { return len(n.View().Members) == 3 }, 20*time.Second, time.Millisecond)
		assert.Len(t, n.Status().Slots, 3)
		data := n.Gate().Wrap(dev)
		require.NoError(t, data.WriteAt(ctx, make([]byte, ondisk.BlockSize), int64(sb.JournalStart(uint16(n.ID().Slot)))*ondisk.BlockSize, true))
	}
	_, err = Join(ctx, config("n1"))
	require.ErrorIs(t, err, ErrNameInUse)

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
		s, _, _ := n.State()
		assert.Equal(t, StateLeft, s)
	}
	names, err = InUse(ctx, dev, sb, dev)
	require.NoError(t, err)
	assert.Empty(t, names)
}
