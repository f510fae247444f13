package dump_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev/memdev"
	"github.com/covol/covol/ondisk/dump"
	"github.com/covol/covol/ondisk/volume"
	"github.com/covol/covol/ondisk/volume/volumetest"
)

var ctx = context.Background()

func text(t *testing.T, dev *memdev.Device, s *ondisk.Super, what ...string) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, dump.Dump(ctx, &b, dev, s, what, false))
	return b.String()
}

func asJSON(t *testing.T, dev *memdev.Device, s *ondisk.Super, what ...string) map[string]any {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, dump.Dump(ctx, &b, dev, s, what, true))
	var v map[string]any
	require.NoError(t, json.Unmarshal(b.Bytes(), &v), b.String())
	return v
}

func at(t *testing.T, v any, path ...string) any {
	t.Helper()
	for _, p := range path {
		m, ok := v.(map[string]any)
		require.True(t, ok, "no %q in %v", p, v)
		v, ok = m[p]
		require.True(t, ok, "no %q", p)
	}
	return v
}

func TestDumpPrintsEveryStructure(t *testing.T) {
	b := volumetest.Sample(t)
	for what, want := range map[string][]string{
		"":                    {"label", "test", "cluster size", "state good", "formatted groups", "2023-11-14"},
		"superblock":          {"superblock", "profile name", "default"},
		"slots":               {"view", "slot 3", "says free", "ballot", "space", "clusters"},
		"group 0":             {"free clusters", "cluster bitmap 0", "clear runs"},
		"group 14":            {"metadata bitmap 0"},
		"inode 10":            {"mode", "040755", "number of entries 6", "hard link"},
		"journal 0":           {"head 0", "state", "clean"},
		"path /":              {"inode 10"},
		"path /dir/small":     {"hello", "user.note", "nlink", "1502"},
		"path link":           {"dir/small"},
		"path /dir/../dir":    {"fragments"},
		"path /dir/disk.raw":  {"extents 5", "clusters 15", "longest 3", "logical 1 physical"},
		"path /dir/fragments": {"height 2", "extents 600", "extents per GiB"},
		"path /many":          {"number of entries 1500", "name of entry 7-1.497µs"},
		fmt.Sprintf("inode %d", b.S.OrphanBlock(0)):  {"generation", "7"},
		fmt.Sprintf("inode %d", b.S.FreeLogBlock(0)): {"kind", "blocks"},
		"block 16":   {"view in block 16", "epoch"},
		"block 17":   {"not metadata"},
		"block 4096": {"group"},
	} {
		if what == "block 4096" {
			what = fmt.Sprintf("block %d", b.S.GroupFirst(3))
		}
		got := strings.Join(strings.Fields(text(t, b.Dev, b.S, strings.Fields(what)...)), " ")
		for _, w := range want {
			assert.Contains(t, got, w, what)
		}
		assert.NotContains(t, got, "finding", what)
		asJSON(t, b.Dev, b.S, strings.Fields(what)...)
	}
}

func TestDumpJSONForScripts(t *testing.T) {
	b := volumetest.Sample(t)
	v := asJSON(t, b.Dev, b.S, "path", "/dir/disk.raw")
	assert.Equal(t, 15.0, at(t, v, "statistics", "clusters"))
	extents := at(t, v, "extents").([]any)
	require.Len(t, extents, 5)
	assert.Equal(t, 1.0, at(t, extents[0], "logical"))
	assert.Equal(t, true, at(t, extents[2], "unwritten"))
	assert.Equal(t, 4096.0, at(t, asJSON(t, b.Dev, b.S), "superblock", "cluster_size"))
	assert.Len(t, at(t, asJSON(t, b.Dev, b.S, "slots"), "slots"), 4)
}

func TestDumpRefusesWhatIsNotThere(t *testing.T) {
	b := volumetest.Sample(t)
	for what, class := range map[string]error{
		"group 15": dump.ErrNotFound, "inode 65536": dump.ErrNotFound, "journal 4": dump.ErrNotFound, "path /nothing": dump.ErrNotFound,
		"path /dir/small/x": dump.ErrNotFound, "group": dump.ErrUsage, "group x": dump.ErrUsage, "group -1": dump.ErrUsage,
		"inode 1 2": dump.ErrUsage, "slots 1": dump.ErrUsage, "everything": dump.ErrUsage, "path": dump.ErrUsage,
	} {
		var out bytes.Buffer
		err := dump.Dump(ctx, &out, b.Dev, b.S, strings.Fields(what), false)
		assert.ErrorIs(t, err, class, what)
		assert.Empty(t, out.String())
	}
	stopped, cancel := context.WithCancel(ctx)
	cancel()
	require.ErrorIs(t, dump.Dump(stopped, &bytes.Buffer{}, b.Dev, b.S, []string{"slots"}, false), context.Canceled)
}

// spoil changes a block and, if seal, makes its CRC right again.
func spoil(t *testing.T, dev *memdev.Device, blk uint64, seal bool, change func(b []byte)) {
	t.Helper()
	b, err := volume.ReadBlock(ctx, dev, blk)
	require.NoError(t, err)
	change(b)
	if seal {
		ondisk.Seal(b)
	}
	require.NoError(t, dev.WriteAt(ctx, b, int64(blk)*ondisk.BlockSize, false))
}

func TestDumpNamesWhatIsCorrupt(t *testing.T) {
	b := volumetest.Sample(t)
	ino := func(path string) uint64 {
		in := at(t, asJSON(t, b.Dev, b.S, "path", path), "path").([]any)
		return uint64(at(t, in[len(in)-1], "ino").(float64))
	}
	fragments, small, many := ino("/dir/fragments"), ino("/dir/small"), ino("/many")
	flip := func(b []byte) { b[200] ^= 1 }
	for _, c := range []struct {
		what, want string
		blk        uint64
		seal       bool
		change     func(b []byte)
	}{
		{"superblock", "corrupt super in block 8: crc", 8, false, flip},
		{"superblock", "differs", 8, true, func(b []byte) { b[80] = 'T' }},
		{"slots", "corrupt slot in block 69: crc", b.S.SlotBlock(1), false, flip},
		{"slots", "bad state: 77", b.S.SlotBlock(1), true, func(b []byte) { b[84] = 77 }},
		{"group 2", "corrupt bitmap", b.S.ClusterBitmapBlock(2, 0), false, flip},
		{"group 2", "index is 3, want 2", b.S.GroupFirst(2), true, func(b []byte) { b[80] = 3 }},
		{"journal 1", "corrupt journal head", b.S.JournalStart(1) + 1, false, flip},
		{fmt.Sprintf("inode %d", small), "corrupt inode", small, false, flip},
		{fmt.Sprintf("inode %d", small), "bad attribute", small, true, func(b []byte) { b[200] = 99 }},
		{"path /many", "no place for metadata", many, true, func(b []byte) {
			in, err := ondisk.DecodeInode(b)
			require.NoError(t, err)
			binary.LittleEndian.PutUint64(in.Root.Value(1), 1)
		}},
		{"path /many", "reached twice", many, true, func(b []byte) {
			in, err := ondisk.DecodeInode(b)
			require.NoError(t, err)
			copy(in.Root.Value(1), in.Root.Value(0))
		}},
		{"path /dir/fragments", "corrupt inode", fragments, false, flip},
	} {
		dev := b.Dev.Clone()
		spoil(t, dev, c.blk, c.seal, c.change)
		got := text(t, dev, b.S, strings.Fields(c.what)...)
		assert.Contains(t, got, "finding", c.what)
		assert.Contains(t, got, c.want, c.what)
		asJSON(t, dev, b.S, strings.Fields(c.what)...)
	}
}

// Whatever is on the medium, the dumper comes to an end without a panic.
func TestDumpSurvivesMutations(t *testing.T) {
	b := volumetest.Sample(t)
	pages := b.Dev.Image().Pages()
	r := rand.New(rand.NewPCG(5, 5))
	whats := []string{"superblock", "slots", "group 1", "inode 10", "journal 0", "path /dir", "path /dir/fragments", "path /many"}
	for range 15 {
		dev := b.Dev.Clone()
		for range 300 {
			blk := uint64(pages[r.IntN(len(pages))])
			spoil(t, dev, blk, true, func(p []byte) {
				for range 1 + r.IntN(6) {
					p[ondisk.HeaderSize+r.IntN(400)] = byte(r.IntN(256))
				}
			})
		}
		for _, w := range whats {
			for _, asJSON := range []bool{false, true} {
				var out bytes.Buffer
				_ = dump.Dump(ctx, &out, dev, b.S, strings.Fields(w), asJSON)
			}
		}
	}
}

func TestDumpShowsTransactions(t *testing.T) {
	b := volumetest.Sample(t)
	s, start := b.S, b.S.JournalStart(2)
	put := func(blk uint64, raw []byte) {
		require.NoError(t, b.Dev.WriteAt(ctx, raw, int64(blk)*ondisk.BlockSize, false))
	}
	ring := uint64(s.JournalBlocks - ondisk.JournalHeads)
	blk := func(i uint64) uint64 { return start + ondisk.JournalHeads + i%ring }
	const tail = 1020 // the first transaction wraps
	put(start, ondisk.EncodeJournalHead(s, &ondisk.JournalHead{Slot: 2, Incarnation: 5, Seq: 9, TailSeq: 41, Tail: tail}, 0))
	next := uint64(tail)
	for seq := uint64(41); seq < 43; seq++ {
		desc := ondisk.EncodeJournalDesc(s, &ondisk.JournalDesc{Seq: seq, Entries: []ondisk.DescEntry{{Block: ondisk.RootBlock}, {Block: 5000, Revoke: true}}}, blk(next), 2, 5, 1)
		root, err := volume.ReadBlock(ctx, b.Dev, ondisk.RootBlock)
		require.NoError(t, err)
		put(blk(next), desc)
		put(blk(next+1), root)
		sum := ondisk.Checksum(ondisk.Checksum(0, desc), root)
		put(blk(next+2), ondisk.EncodeJournalCommit(s, &ondisk.JournalCommit{Seq: seq, Blocks: 2, Sum: sum}, blk(next+2), 2, 5, 1))
		next += 3
	}
	v := asJSON(t, b.Dev, s, "journal", "2")
	assert.Equal(t, "dirty", at(t, v, "state"))
	list := at(t, v, "transactions").([]any)
	require.Len(t, list, 2)
	assert.Equal(t, 42.0, at(t, list[1], "seq"))
	assert.Equal(t, []any{5000.0}, at(t, list[0], "revokes"))
	assert.Contains(t, text(t, b.Dev, s, "journal", "2"), "10 inode owner 10")
	spoil(t, b.Dev, blk(tail+4), false, func(p []byte) { p[3000] ^= 1 })
	assert.Len(t, at(t, asJSON(t, b.Dev, s, "journal", "2"), "transactions"), 1)
	assert.Contains(t, text(t, b.Dev, s, "journal", "2"), "with sum")
}
