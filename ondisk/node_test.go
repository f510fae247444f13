package ondisk

import (
	"bytes"
	"encoding/binary"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// A Node behaves as a sorted map that refuses only when it is full, by its own account of room.
func TestNodeIsASortedMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.SampledFrom([]int{MinNodeSize, 96, 512, 3880, NodeSize}).Draw(t, "size")
		n := InitNode(make([]byte, size), 0)
		model := map[uint64][]byte{}
		key := rapid.Uint64Range(0, 60)
		value := rapid.SliceOfN(rapid.Byte(), 0, min(size, 300))
		room := func() int {
			r := size - nodeHead
			for _, v := range model {
				r -= SlotCost(len(v))
			}
			return r
		}
		set := func(t *rapid.T) {
			k, v := key.Draw(t, "key"), value.Draw(t, "value")
			before := bytes.Clone(n)
			i, found := n.Search(k)
			fits, done := room() >= SlotCost(len(v)), false
			if found {
				fits = room()+len(model[k]) >= len(v)
				done = n.Replace(i, v)
			} else {
				done = n.Insert(i, k, v)
			}
			if done != fits {
				t.Fatalf("set %d bytes with room for %d: %v", len(v), room(), done)
			}
			if !done && !bytes.Equal(before, n) {
				t.Fatal("refused but changed")
			}
			if done {
				model[k] = v
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"set":  set,
			"set2": set,
			"delete": func(t *rapid.T) {
				k := key.Draw(t, "key")
				i, found := n.Search(k)
				if _, want := model[k]; found != want {
					t.Fatalf("key %d: found %v, want %v", k, found, want)
				}
				if found {
					n.Delete(i)
					delete(model, k)
				}
			},
			"": func(t *rapid.T) {
				if err := n.Check(1); err != nil {
					t.Fatal(err)
				}
				if n.Room() != room() || n.Need() != size-room() {
					t.Fatalf("room %d, want %d", n.Room(), room())
				}
				keys := slices.Sorted(maps.Keys(model))
				if n.Count() != len(keys) {
					t.Fatalf("%d keys, want %d", n.Count(), len(keys))
				}
				for i, k := range keys {
					if n.Key(i) != k || !bytes.Equal(n.Value(i), model[k]) {
						t.Fatalf("slot %d: %d %x, want %d %x", i, n.Key(i), n.Value(i), k, model[k])
					}
				}
			},
		})
	})
}

func TestNodeChildFor(t *testing.T) {
	n := InitNode(make([]byte, MinNodeSize), 1)
	require.Error(t, n.Check(1), "an inner node leads somewhere")
	for i, k := range []uint64{10, 20} {
		require.True(t, n.Insert(i, k, binary.LittleEndian.AppendUint64(nil, 1000+k)))
	}
	require.False(t, n.Insert(2, 30, make([]byte, 8)))
	require.NoError(t, n.Check(1))
	for key, child := range map[uint64]uint64{0: 1010, 10: 1010, 19: 1010, 20: 1020, ^uint64(0): 1020} {
		require.Equal(t, child, n.Child(n.ChildFor(key)), "key %d", key)
	}
	n.SetKey(0, 5)
	i, found := n.Search(5)
	require.True(t, found)
	require.Zero(t, i)
}

func TestNodeCheckSeesOverlappingValues(t *testing.T) {
	n := InitNode(make([]byte, 512), 0)
	n.Insert(0, 1, bytes.Repeat([]byte{1}, 100))
	n.Insert(1, 2, bytes.Repeat([]byte{2}, 100))
	require.NoError(t, n.Check(9))
	off := nodeHead + nodeSlot + 8
	for d := 1; d <= 100; d++ { // slot 1 moves into slot 0
		m := bytes.Clone(n)
		binary.LittleEndian.PutUint16(m[off:], binary.LittleEndian.Uint16(m[off:])+uint16(d))
		require.ErrorIs(t, Node(m).Check(9), ErrCorrupt, "by %d", d)
	}
}

func TestByteSetAgainstASlowOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var fast byteSet
		var slow [NodeSize]bool
		for range rapid.IntRange(1, 30).Draw(t, "n") {
			off := rapid.IntRange(0, NodeSize).Draw(t, "off")
			l := rapid.IntRange(0, min(300, NodeSize-off)).Draw(t, "l")
			free := !slices.Contains(slow[off:off+l], true)
			if fast.add(off, l) != free {
				t.Fatalf("%d+%d: want %v", off, l, free)
			}
			if !free {
				return
			}
			for i := range l {
				slow[off+i] = true
			}
		}
	})
}

func TestRecordHoldsAllThatMayComeTogether(t *testing.T) {
	in := sampleInode()
	name := string(bytes.Repeat([]byte{'n'}, MaxName))
	in.Names = []KeptName{{1, name}, {2, name}, {3, name}}
	in.Xattrs = []Xattr{{"user.x", bytes.Repeat([]byte{7}, MaxXattrBytes-attrHead-2-6)}}
	in.Body, in.Root, in.Resident = BodyResident, nil, bytes.Repeat([]byte{9}, MaxResident)
	in.Size = MaxResident
	require.True(t, in.Fits())
	got, err := DecodeInode(EncodeInode(UUID{}, in))
	require.NoError(t, err)
	require.Equal(t, in, got)
	in.Body, in.Resident = BodyIndex, nil
	in.Root = InitNode(make([]byte, in.AttrRoom()), 0)
	require.True(t, in.Fits())
	got, err = DecodeInode(EncodeInode(UUID{}, in))
	require.NoError(t, err)
	require.Equal(t, in, got)
	in.Root = append(in.Root, 0)
	require.False(t, in.Fits())
}
