package ondisk

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/covol/covol/ondisk/layout"
)

// What varies in length is read by the tables alone and held to the codec.

func TestTablesReadAttributes(t *testing.T) {
	for _, in := range []*Inode{sampleInode(), sampleResident()} {
		v, err := Layouts.Dump("inode", EncodeInode(sampleSuper().UUID, in))
		require.NoError(t, err)
		require.Equal(t, BlockSize, v.Size)
		require.Equal(t, in.Size, v.Uint("size"))
		require.Equal(t, in.Btime.Sec, v.Get("btime").Get("sec").V)
		got := &Inode{}
		for _, a := range v.Get("attributes").Sub {
			body := a.Get("body")
			switch body.Type {
			case "attribute name":
				got.Names = append(got.Names, KeptName{body.Uint("parent"), body.Get("name").V.(string)})
			case "attribute xattr":
				n, all := body.Uint("name length"), body.Get("name and value").V.([]byte)
				got.Xattrs = append(got.Xattrs, Xattr{string(all[:n]), all[n:]})
			case "attribute resident":
				got.Body, got.Resident = BodyResident, body.Get("content").V.([]byte)
			case "node area":
				got.Body = BodyExtents
				requireNode(t, in.Root, body)
				got.Root = in.Root
			}
		}
		require.Equal(t, []any{in.Names, in.Xattrs, in.Body, in.Resident, in.Root}, []any{got.Names, got.Xattrs, got.Body, got.Resident, got.Root})
	}
}

func requireNode(t *testing.T, n Node, v layout.Value) {
	t.Helper()
	slots := v.Get("slots").Sub
	require.Len(t, slots, n.Count())
	require.Equal(t, uint64(n.Level()), v.Uint("level"))
	for i, s := range slots {
		off, l := s.Uint("offset"), s.Uint("length")
		require.Equal(t, n.Key(i), s.Uint("key"))
		require.Equal(t, n.Value(i), []byte(n[off:off+l]))
	}
}

func TestTablesReadNodes(t *testing.T) {
	for level := range 2 {
		b := NewBlock(TypeNode, 5000, UUID{}, 1, 1)
		copy(b[NodeBody:], sampleNode(level))
		v, err := Layouts.Dump("node", b)
		require.NoError(t, err)
		requireNode(t, b[NodeBody:], v.Get("area"))
	}
}

func TestTablesReadDirents(t *testing.T) {
	want := []Dirent{{1, 8, "a"}, {2, 4, "bb"}, {3, 10, "ccc"}}
	v, err := Layouts.Sequence("dirent", EncodeDirents(want))
	require.NoError(t, err)
	var got []Dirent
	for _, d := range v.Sub {
		got = append(got, Dirent{d.Uint("ino"), uint8(d.Uint("type")), d.Get("name").V.(string)})
	}
	require.Equal(t, want, got)
}

func TestTablesReadDescriptors(t *testing.T) {
	for _, d := range blockDecoders() {
		if d.name == "journal descriptor" {
			v, err := Layouts.Dump(d.name, d.sample())
			require.NoError(t, err)
			require.Len(t, v.Get("blocks").Sub, 3)
			require.Equal(t, uint64(4711|1<<63), v.Get("blocks").Get("[1]").V)
		}
	}
}
