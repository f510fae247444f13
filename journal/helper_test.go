package journal

import (
	"context"
	"encoding/binary"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/blockdev/memdev"
	"github.com/covol/covol/ondisk/sched"
)

var ctx = context.Background()

// testSuper is a volume with two slots, the shortest journals and one kind of block: tree nodes.
func testSuper() *ondisk.Super {
	sb := &ondisk.Super{
		UUID: ondisk.UUID{1, 2, 3}, Label: "test", Blocks: ondisk.MinVolume / ondisk.BlockSize, ClusterSize: ondisk.MinCluster,
		Slots: 2, JournalBlocks: ondisk.MinJournal, GroupBlocks: 4096, Profile: ondisk.Profiles[2],
	}
	sb.GroupStart = sb.JournalStart(uint16(sb.Slots))
	sb.Groups = uint32((sb.Blocks - 1 - sb.GroupStart) / uint64(sb.GroupBlocks))
	sb, err := ondisk.DecodeSuper(ondisk.EncodeSuper(sb, 0), 0)
	if err != nil {
		panic(err)
	}
	return sb
}

// meta is the n-th block of the test volume that may hold a tree node.
func meta(sb *ondisk.Super, n int) uint64 {
	return sb.GroupFirst(0) + uint64(sb.GroupMetaClusters())*uint64(sb.ClusterBlocks()) + uint64(n)
}

// node makes a tree node for blk that holds the number v.
func node(sb *ondisk.Super, blk uint64, v uint64) []byte {
	b := ondisk.NewBlock(ondisk.TypeNode, blk, sb.UUID, 1, 0)
	setValue(b, v)
	return b
}

func setValue(b []byte, v uint64)    { binary.LittleEndian.PutUint64(b[ondisk.HeaderSize:], v) }
func value(b []byte) uint64          { return binary.LittleEndian.Uint64(b[ondisk.HeaderSize:]) }
func addValue(d uint64) func([]byte) { return func(b []byte) { setValue(b, value(b)+d) } }

func geometry(sb *ondisk.Super) blockdev.Geometry {
	return blockdev.Geometry{SectorSize: 512, Size: int64(sb.Blocks) * ondisk.BlockSize}
}

// fresh is a device with clean journals and n nodes of value 0 at home.
func fresh(sb *ondisk.Super, n int) *memdev.Device {
	dev := memdev.New(geometry(sb), nil)
	for slot := range uint16(sb.Slots) {
		for i := range ondisk.JournalHeads {
			if err := putHead(ctx, dev, sb, &ondisk.JournalHead{Slot: slot, Seq: uint64(i), TailSeq: 1, Clean: true}, i); err != nil {
				panic(err)
			}
		}
	}
	for i := range n {
		b := node(sb, meta(sb, i), 0)
		ondisk.Seal(b)
		putBlock(dev, meta(sb, i), b)
	}
	return dev
}

func putBlock(dev blockdev.Device, blk uint64, b []byte) {
	if err := dev.WriteAt(ctx, b, int64(blk)*ondisk.BlockSize, false); err != nil {
		panic(err)
	}
}

func getBlock(dev blockdev.Device, blk uint64) []byte {
	b := make([]byte, ondisk.BlockSize)
	if err := dev.ReadAt(ctx, b, int64(blk)*ondisk.BlockSize); err != nil {
		panic(err)
	}
	return b
}

// home is the value of the node at home, which must be valid.
func home(t testing.TB, dev blockdev.Device, sb *ondisk.Super, blk uint64) uint64 {
	t.Helper()
	b := getBlock(dev, blk)
	require.NoError(t, ondisk.CheckHeader(b, ondisk.TypeNode, blk, sb.UUID))
	return value(b)
}

func config(sb *ondisk.Super, dev blockdev.Device) Config {
	return Config{
		Dev: dev, Super: sb, Slot: 0, Incarnation: 1, Epoch: func() view.Epoch { return 7 }, Sched: sched.Real{},
		CommitEvery: time.Hour, CheckpointIdle: time.Hour,
	}
}

func open(t testing.TB, c Config) *Journal {
	t.Helper()
	j, err := Open(ctx, c)
	require.NoError(t, err)
	t.Cleanup(func() {
		j.Kill()
		require.NoError(t, j.Wait(ctx))
	})
	return j
}

// write publishes a transaction that gives block n of owner the value v.
func write(t testing.TB, j *Journal, owner uint64, v uint64, blks ...uint64) Seq {
	t.Helper()
	x := j.Begin()
	for _, blk := range blks {
		x.Write(blk, owner, node(j.cfg.Super, blk, v))
	}
	seq, err := x.Publish(ctx)
	require.NoError(t, err)
	return seq
}

func read(t testing.TB, j *Journal, owner, blk uint64) uint64 {
	t.Helper()
	b, err := j.Read(ctx, blk, ondisk.TypeNode, owner)
	require.NoError(t, err)
	return value(b)
}

func replayed(t testing.TB, sb *ondisk.Super, dev blockdev.Device, slot view.Slot) ReplayStats {
	t.Helper()
	st, err := Replay(ctx, dev, sb, slot, ReplayOptions{Sched: sched.Real{}})
	require.NoError(t, err)
	return st
}
