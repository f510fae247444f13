package ondisk_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"hash/crc32"
	"io"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/blockdev/memdev"
	"github.com/covol/covol/ondisk/check/checktest"
	"github.com/covol/covol/ondisk/layout"
	"github.com/covol/covol/ondisk/volume"
	"github.com/covol/covol/ondisk/volume/volumetest"
)

// goldenFile holds the blocks of a volume of 256 MiB that are not zero: le64 number, 4096 bytes, repeated; compressed.
// It was made once for version 1 and is never made again: every later build must read it.
const goldenFile = "testdata/v1.blocks.gz"

func golden(t *testing.T) *memdev.Device {
	t.Helper()
	packed, err := os.ReadFile(goldenFile)
	if os.IsNotExist(err) && os.Getenv("COVOL_MAKE_GOLDEN") != "" {
		packed = pack(t, volumetest.Sample(t).Dev)
		require.NoError(t, os.WriteFile(goldenFile, packed, 0o644))
		err = nil
	}
	require.NoError(t, err)
	zr, err := gzip.NewReader(bytes.NewReader(packed))
	require.NoError(t, err)
	raw, err := io.ReadAll(zr)
	require.NoError(t, err)
	dev := memdev.New(blockdev.Geometry{SectorSize: 512, Size: 256 << 20}, nil)
	for ; len(raw) > 0; raw = raw[8+ondisk.BlockSize:] {
		at := int64(binary.LittleEndian.Uint64(raw)) * ondisk.BlockSize
		require.NoError(t, dev.WriteAt(context.Background(), raw[8:8+ondisk.BlockSize], at, false))
	}
	return dev
}

func pack(t *testing.T, dev *memdev.Device) []byte {
	var out bytes.Buffer
	zw := gzip.NewWriter(&out)
	for _, n := range dev.Image().Pages() {
		b, err := volume.ReadBlock(context.Background(), dev, uint64(n))
		require.NoError(t, err)
		if len(bytes.Trim(b, "\x00")) == 0 {
			continue
		}
		_, err = zw.Write(binary.LittleEndian.AppendUint64(nil, uint64(n)))
		require.NoError(t, err)
		_, err = zw.Write(b)
		require.NoError(t, err)
	}
	require.NoError(t, zw.Close())
	return out.Bytes()
}

func TestGoldenVolumeIsReadByEveryBuild(t *testing.T) {
	dev := golden(t)
	checktest.MustBeClean(t, dev)
	s, note, err := volume.Open(context.Background(), dev)
	require.NoError(t, err)
	require.Nil(t, note)
	require.Equal(t, "test", s.Label)
	require.Equal(t, uint64(256<<20/ondisk.BlockSize), s.Blocks)
}

// second reads a volume by nothing but the tables in FORMAT.md and what its prose says.
type second struct {
	t      *testing.T
	dev    blockdev.Device
	tables layout.Set
	super  layout.Value
}

func newSecond(t *testing.T) *second {
	doc, err := os.ReadFile("FORMAT.md")
	require.NoError(t, err)
	tables, err := layout.Parse(string(doc))
	require.NoError(t, err)
	r := &second{t: t, dev: golden(t), tables: tables}
	r.super, _ = r.block("super", 0)
	return r
}

// block reads block n as a structure and checks what makes it valid.
func (r *second) block(name string, n uint64) (layout.Value, []byte) {
	r.t.Helper()
	b := make([]byte, 4096)
	require.NoError(r.t, r.dev.ReadAt(context.Background(), b, int64(n)*4096))
	v, err := r.tables.Dump(name, b)
	require.NoError(r.t, err)
	h := v.Get("header")
	require.Equal(r.t, uint64(0x6c766f63), h.Uint("magic"), "%s in block %d", name, n)
	require.Equal(r.t, n, h.Uint("block"))
	if name != "super" {
		require.Equal(r.t, r.super.Get("header").Get("uuid").V, h.Get("uuid").V)
	}
	crc, _ := r.tables.Get("header")
	f, _ := crc.Field("crc")
	sum := bytes.Clone(b)
	clear(sum[f.Off : f.Off+f.Size])
	require.Equal(r.t, uint64(crc32.Checksum(sum, crc32.MakeTable(crc32.Castagnoli))), h.Uint("crc"))
	return v, b
}

// tree calls fn for every key of the tree in area; b are the bytes in which the area lies.
func (r *second) tree(area layout.Value, b []byte, fn func(key uint64, value []byte)) {
	for _, s := range area.Get("slots").Sub {
		from := uint64(area.Off) + s.Uint("offset")
		value := b[from : from+s.Uint("length")]
		if area.Uint("level") == 0 {
			fn(s.Uint("key"), value)
			continue
		}
		child, cb := r.block("node", binary.LittleEndian.Uint64(value))
		require.Equal(r.t, area.Uint("level")-1, child.Get("area").Uint("level"))
		r.tree(child.Get("area"), cb, fn)
	}
}

// attribute returns the body of the first attribute of that type.
func (r *second) attribute(in layout.Value, typ uint64) (layout.Value, bool) {
	for _, a := range in.Get("attributes").Sub {
		if a.Uint("type") == typ {
			return a.Get("body"), true
		}
	}
	return layout.Value{}, false
}

func (r *second) list(dir uint64) map[string]uint64 {
	in, b := r.block("inode", dir)
	root, ok := r.attribute(in, 5)
	require.True(r.t, ok)
	names := map[string]uint64{}
	r.tree(root, b, func(_ uint64, value []byte) {
		v, err := r.tables.Sequence("dirent", value)
		require.NoError(r.t, err)
		for _, d := range v.Sub {
			names[d.Get("name").V.(string)] = d.Uint("ino")
		}
	})
	return names
}

func TestSecondReaderNeedsOnlyTheDocument(t *testing.T) {
	r := newSecond(t)
	require.Equal(t, "test", r.super.Get("label").V)
	root := r.list(10)
	require.Len(t, root, 6)
	require.Len(t, r.list(root["many"]), 1500)
	dir := r.list(root["dir"])
	require.Len(t, dir, 3)

	in, _ := r.block("inode", dir["small"])
	content, _ := r.attribute(in, 3)
	require.Equal(t, []byte("hello\n"), content.Get("content").V)
	require.Equal(t, dir["small"], root["hard link"])
	require.Equal(t, uint64(1502), in.Uint("nlink"))

	in, b := r.block("inode", dir["fragments"])
	tree, ok := r.attribute(in, 4)
	require.True(t, ok)
	require.NotZero(t, tree.Uint("level"))
	var extents, clusters uint64
	r.tree(tree, b, func(_ uint64, value []byte) {
		e, err := r.tables.Dump("extent", value)
		require.NoError(t, err)
		extents++
		clusters += e.Uint("length")
	})
	require.Equal(t, []uint64{600, in.Uint("clusters")}, []uint64{extents, clusters})
	r.groups()
}

// groups holds the counters of all groups to the bits.
func (r *second) groups() {
	for g := range r.super.Uint("groups") {
		first := r.super.Uint("group start") + g*r.super.Uint("group blocks")
		head, _ := r.block("group", first)
		for i, field := range []string{"free clusters", "free meta"} { // 4096 clusters and blocks: one bitmap block each
			v, _ := r.block("bitmap", first+1+uint64(i))
			clear := uint64(0)
			for _, x := range v.Get("bits").V.([]byte) {
				for ; x != 0xff; x |= x + 1 {
					clear++
				}
			}
			require.Equal(r.t, clear, head.Uint(field), "group %d: %s", g, field)
		}
	}
}
