package fs

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tidwall/btree"
	"pgregory.net/rapid"

	"github.com/covol/covol/ondisk"
)

// treeRig is one tree over one store, with the record kept in memory.
type treeRig struct {
	t   testing.TB
	s   *store
	in  *ondisk.Inode
	ctx context.Context
}

func newTreeRig(t testing.TB) *treeRig {
	r := newStoreRig(t, storeOptions{})
	s := r.mustOpen(0)
	t.Cleanup(func() { r.close(s) })
	return &treeRig{t: t, s: s, ctx: context.Background(), in: &ondisk.Inode{Ino: ondisk.RootBlock, Generation: 7, Body: ondisk.BodyIndex}}
}

// names makes the record's other attributes so large that the root has little room: depth comes with few entries.
func (r *treeRig) crowd(kept, xattrBytes int) {
	r.in.Names, r.in.Xattrs = nil, nil
	for range kept {
		r.in.Names = append(r.in.Names, ondisk.KeptName{Parent: 10, Name: strings.Repeat("n", 255)})
	}
	if xattrBytes > 0 {
		r.in.Xattrs = []ondisk.Xattr{{Name: "x", Value: make([]byte, xattrBytes)}}
	}
}

// do runs fn in a transaction with room for puts puts.
func (r *treeRig) do(puts int, fn func(tx *txn, in *ondisk.Inode) error) error {
	in := cloneRecord(r.in)
	tx, err := r.s.begin(r.ctx, need{meta: puts * treeNeed(in), essential: true})
	require.NoError(r.t, err)
	if err := fn(tx, in); err != nil {
		tx.abort()
		return err
	}
	_, err = tx.commit(r.ctx)
	require.NoError(r.t, err)
	r.in = in
	return nil
}

func (r *treeRig) put(key uint64, v []byte) {
	require.NoError(r.t, r.do(1, func(tx *txn, in *ondisk.Inode) error { return treePut(r.ctx, tx, in, key, v) }))
}

func (r *treeRig) delete(key uint64) (found bool) {
	require.NoError(r.t, r.do(0, func(tx *txn, in *ondisk.Inode) (err error) {
		found, err = treeDelete(r.ctx, tx, in, key)
		return err
	}))
	return found
}

// shape is what treeCheck finds: height, blocks, and how full leaves are.
type shape struct {
	height, blocks, leaves, entries int
	fill                            float64 // of leaves but the last
}

// treeCheck walks the whole tree and holds it to every rule that writers keep: separators are exact lower bounds,
// levels fall by one, nothing but the root is empty, Meta counts the blocks, the root fits its record.
func treeCheck(t require.TestingT, r blockReader, in *ondisk.Inode) shape {
	var sh shape
	root := treeRoot(in)
	require.NoError(t, root.Check(in.Ino))
	require.True(t, in.Fits(), "root of %d bytes, room %d", len(in.Root), in.AttrRoom())
	sh.height = root.Level()
	seen := map[uint64]bool{}
	last, any, used, leafBytes := uint64(0), false, 0, 0
	var walk func(n treeNode)
	walk = func(n treeNode) {
		if n.Level() == 0 {
			sh.leaves++
			leafBytes = n.Need()
			used += leafBytes
			for i := range n.Count() {
				require.True(t, !any || n.Key(i) > last, "keys ascend over leaves")
				last, any = n.Key(i), true
				sh.entries++
			}
			return
		}
		require.Equal(t, n.lo, n.Key(0), "first separator of block %d is its lower bound", n.blk)
		for i := range n.Count() {
			c, err := treeChild(context.Background(), r, in, n, i)
			require.NoError(t, err)
			require.False(t, seen[c.blk], "block %d twice", c.blk)
			seen[c.blk] = true
			sh.blocks++
			walk(c)
		}
	}
	walk(root)
	require.Equal(t, uint64(sh.blocks), in.Meta, "blocks counted")
	if sh.leaves > 1 {
		sh.fill = float64(used-leafBytes) / float64((sh.leaves-1)*ondisk.NodeSize)
	}
	return sh
}

func value(key uint64, n int) []byte {
	v := make([]byte, n)
	for i := range v {
		v[i] = byte(key) + byte(i)
	}
	return v
}

// TestTreeAgainstModel drives random operations with little room for the root and long values, so that trees grow deep,
// and compares every answer with an ordered map.
func TestTreeAgainstModel(t *testing.T) {
	r := newTreeRig(t)
	rapid.Check(t, func(rt *rapid.T) {
		r.in = &ondisk.Inode{Ino: ondisk.RootBlock, Generation: 7, Body: ondisk.BodyIndex}
		r.crowd(rapid.IntRange(0, 3).Draw(rt, "names"), rapid.SampledFrom([]int{0, 100, 700, 2700, 2900}).Draw(rt, "xattr"))
		space := rapid.SampledFrom([]uint64{40, 1000, 1 << 20}).Draw(rt, "keys")
		longest := rapid.SampledFrom([]int{16, 300, maxTreeValue}).Draw(rt, "values")
		spread := rapid.SampledFrom([]uint64{1, 1 << 40}).Draw(rt, "spread")
		var model btree.Map[uint64, string]
		keys := rapid.Custom(func(rt *rapid.T) uint64 { return rapid.Uint64Range(0, space).Draw(rt, "key") * spread })
		fill := rapid.IntRange(0, 250).Draw(rt, "fill")
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0))
		require.NoError(rt, r.do(1, func(tx *txn, in *ondisk.Inode) error {
			for range fill {
				k := rng.Uint64N(space+1) * spread
				v := value(k, rng.IntN(longest+1))
				model.Set(k, string(v))
				if err := treePut(r.ctx, tx, in, k, v); err != nil {
					return err
				}
			}
			return nil
		}))
		treeCheck(rt, r.s.j, r.in)
		rt.Repeat(map[string]func(*rapid.T){
			"put": func(rt *rapid.T) {
				k := keys.Draw(rt, "k")
				v := value(k, rapid.IntRange(0, longest).Draw(rt, "len"))
				r.put(k, v)
				model.Set(k, string(v))
			},
			"delete": func(rt *rapid.T) {
				k := keys.Draw(rt, "k")
				_, had := model.Delete(k)
				assert.Equal(rt, had, r.delete(k))
			},
			"delete run": func(rt *rapid.T) {
				from, n := keys.Draw(rt, "from"), rapid.IntRange(1, 60).Draw(rt, "n")
				require.NoError(rt, r.do(0, func(tx *txn, in *ondisk.Inode) error {
					var ks []uint64
					model.Ascend(from, func(k uint64, _ string) bool { ks = append(ks, k); return len(ks) < n })
					for _, k := range ks {
						model.Delete(k)
						if ok, err := treeDelete(r.ctx, tx, in, k); !ok || err != nil {
							return fmt.Errorf("delete %d: %v %w", k, ok, err)
						}
					}
					return nil
				}))
			},
			"shrink": func(rt *rapid.T) {
				room := rapid.IntRange(ondisk.MinNodeSize, 600).Draw(rt, "room")
				require.NoError(rt, r.do(1, func(tx *txn, in *ondisk.Inode) error { return treeShrinkRoot(r.ctx, tx, in, room) }))
				assert.LessOrEqual(rt, len(r.in.Root), room)
			},
			"get": func(rt *rapid.T) {
				k := keys.Draw(rt, "k")
				v, ok, err := treeGet(r.ctx, r.s.j, r.in, k)
				require.NoError(rt, err)
				want, had := model.Get(k)
				assert.Equal(rt, had, ok)
				assert.Equal(rt, want, string(v))
			},
			"floor": func(rt *rapid.T) {
				k := keys.Draw(rt, "k") + rapid.Uint64Range(0, 1).Draw(rt, "more")
				got, v, ok, err := treeFloor(r.ctx, r.s.j, r.in, k)
				require.NoError(rt, err)
				had := false
				model.Descend(k, func(mk uint64, mv string) bool {
					had = true
					assert.Equal(rt, mk, got)
					assert.Equal(rt, mv, string(v))
					return false
				})
				assert.Equal(rt, had, ok)
			},
			"scan": func(rt *rapid.T) {
				from, n := keys.Draw(rt, "from"), rapid.IntRange(1, 300).Draw(rt, "n")
				var got, want []string
				require.NoError(rt, treeScan(r.ctx, r.s.j, r.in, from, func(k uint64, v []byte) bool {
					got = append(got, fmt.Sprintf("%d %x", k, v))
					return len(got) < n
				}))
				model.Ascend(from, func(k uint64, v string) bool {
					want = append(want, fmt.Sprintf("%d %x", k, v))
					return len(want) < n
				})
				assert.Equal(rt, want, got)
			},
			"": func(rt *rapid.T) {
				sh := treeCheck(rt, r.s.j, r.in)
				assert.Equal(rt, model.Len(), sh.entries)
			},
		})
		require.NoError(rt, r.do(0, func(tx *txn, in *ondisk.Inode) error {
			for _, k := range model.Keys() {
				if _, err := treeDelete(r.ctx, tx, in, k); err != nil {
					return err
				}
			}
			return nil
		}))
		sh := treeCheck(rt, r.s.j, r.in)
		assert.Equal(rt, shape{leaves: 1}, sh, "an empty tree is a root and nothing else")
	})
}

// TestTreeSequential: ascending keys, as of a file that grows or a log, leave nodes nearly full behind.
func TestTreeSequential(t *testing.T) {
	r := newTreeRig(t)
	const n = 40_000
	for at := uint64(0); at < n; {
		require.NoError(t, r.do(20, func(tx *txn, in *ondisk.Inode) error {
			for range 400 {
				if err := treePut(r.ctx, tx, in, at, value(at, ondisk.ExtentSize)); err != nil {
					return err
				}
				at++
			}
			return nil
		}))
	}
	sh := treeCheck(t, r.s.j, r.in)
	assert.Equal(t, n, sh.entries)
	assert.Greater(t, sh.fill, 0.98)
	// From the end, as truncate does.
	for at := int64(n) - 1; at >= 0; {
		require.NoError(t, r.do(0, func(tx *txn, in *ondisk.Inode) error {
			for i := 0; i < 2000 && at >= 0; i++ {
				if ok, err := treeDelete(r.ctx, tx, in, uint64(at)); !ok || err != nil {
					return fmt.Errorf("delete %d: %v %w", at, ok, err)
				}
				at--
			}
			return nil
		}))
		treeCheck(t, r.s.j, r.in)
	}
	assert.Zero(t, r.in.Meta)
}

// TestTreeAbort: a transaction that is not published changes nothing, and its blocks are free again.
func TestTreeAbort(t *testing.T) {
	r := newTreeRig(t)
	r.crowd(3, 700)
	for k := range uint64(300) {
		r.put(k*10, value(k, 20))
	}
	before := treeCheck(t, r.s.j, r.in)
	g := r.s.alloc.groups[r.s.alloc.cur]
	free := g.spareMeta()
	_ = r.do(100, func(tx *txn, in *ondisk.Inode) error {
		for k := range uint64(300) {
			require.NoError(t, treePut(r.ctx, tx, in, k*10+5, value(k, 20)))
		}
		return context.Canceled
	})
	assert.Equal(t, before, treeCheck(t, r.s.j, r.in))
	assert.GreaterOrEqual(t, g.spareMeta(), free)
	assert.Zero(t, g.promisedMeta)
}

// TestTreeNeed: one put never takes more blocks than treeNeed says.
func TestTreeNeed(t *testing.T) {
	r := newTreeRig(t)
	r.crowd(3, 2900)
	rng := rand.New(rand.NewPCG(1, 2))
	for range 1500 {
		k := rng.Uint64()
		want, before := treeNeed(r.in), r.in.Meta
		r.put(k, value(k, rng.IntN(maxTreeValue)))
		require.LessOrEqual(t, r.in.Meta-before, uint64(want))
	}
	assert.GreaterOrEqual(t, treeCheck(t, r.s.j, r.in).height, 2)
	err := r.do(1, func(tx *txn, in *ondisk.Inode) error { return treePut(r.ctx, tx, in, 1, make([]byte, maxTreeValue+1)) })
	assert.ErrorIs(t, err, errTreeFull)
}

// mapReader serves blocks from memory.
type mapReader map[uint64][]byte

func (m mapReader) Read(_ context.Context, blk uint64, want ondisk.Type, _ uint64) ([]byte, error) {
	b := m[blk]
	if b == nil {
		b = make([]byte, ondisk.BlockSize)
	}
	return b, ondisk.CheckHeader(b, want, blk, ondisk.UUID{9})
}

func child(blk uint64) []byte { return binary.LittleEndian.AppendUint64(nil, blk) }

// hostile is a tree of two leaves with keys 10, 20 and 30, 40 that bend may damage.
func hostile(bend func(m mapReader, in *ondisk.Inode)) (mapReader, *ondisk.Inode) {
	in := &ondisk.Inode{Ino: 5000, Generation: 3, Body: ondisk.BodyIndex}
	m := mapReader{}
	m.put(in, 6001, 0, treeEntry{10, []byte("a")}, treeEntry{20, []byte("b")})
	m.put(in, 6002, 0, treeEntry{30, []byte("c")}, treeEntry{40, []byte("d")})
	layRoot(in, 1, []treeEntry{{0, child(6001)}, {30, child(6002)}}, 400)
	if bend != nil {
		bend(m, in)
	}
	return m, in
}

func (m mapReader) put(in *ondisk.Inode, blk uint64, level int, es ...treeEntry) {
	b := ondisk.NewBlock(ondisk.TypeNode, blk, ondisk.UUID{9}, in.Ino, in.Generation)
	layNode(b[ondisk.NodeBody:], level, es)
	ondisk.Seal(b)
	m[blk] = b
}

// TestTreeHostile plants what no writer writes; every reader must answer ErrCorrupt and end.
func TestTreeHostile(t *testing.T) {
	ctx := context.Background()
	m, in := hostile(nil)
	v, ok, err := treeGet(ctx, m, in, 40)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, "d", string(v))
	for name, bend := range map[string]func(m mapReader, in *ondisk.Inode){
		"other owner": func(m mapReader, in *ondisk.Inode) {
			o := *in
			o.Ino = 7
			m.put(&o, 6002, 0, treeEntry{40, nil})
		},
		"other generation": func(m mapReader, in *ondisk.Inode) {
			o := *in
			o.Generation++
			m.put(&o, 6002, 0, treeEntry{40, nil})
		},
		"level does not fall": func(m mapReader, in *ondisk.Inode) { m.put(in, 6002, 1, treeEntry{30, child(6002)}) },
		"level falls by two":  func(m mapReader, in *ondisk.Inode) { in.Root = layNode(make([]byte, 400), 2, treeEntries(in.Root)) },
		"too many levels":     func(m mapReader, in *ondisk.Inode) { in.Root = layNode(make([]byte, 400), 60000, treeEntries(in.Root)) },
		"key below range":     func(m mapReader, in *ondisk.Inode) { m.put(in, 6002, 0, treeEntry{29, nil}, treeEntry{40, nil}) },
		"key above range": func(m mapReader, in *ondisk.Inode) {
			m.put(in, 6001, 0, treeEntry{10, nil}, treeEntry{30, nil})
			in.Root.SetKey(1, 25)
			m.put(in, 6002, 0, treeEntry{20, nil})
		},
		"empty leaf":        func(m mapReader, in *ondisk.Inode) { m.put(in, 6002, 0); m.put(in, 6001, 0) },
		"never written":     func(m mapReader, in *ondisk.Inode) { delete(m, 6002); delete(m, 6001) },
		"no child":          func(m mapReader, in *ondisk.Inode) { layRoot(in, 1, []treeEntry{{0, child(0)}}, 400) },
		"child far outside": func(m mapReader, in *ondisk.Inode) { layRoot(in, 1, []treeEntry{{0, child(1 << 60)}}, 400) },
		"wrong place": func(m mapReader, in *ondisk.Inode) {
			m[6001], m[6002] = m[6002], m[6001]
		},
	} {
		t.Run(name, func(t *testing.T) {
			m, in := hostile(bend)
			_, _, err := treeGet(ctx, m, in, 40)
			_, _, err2 := treeGet(ctx, m, in, 10)
			if err == nil {
				err = err2
			}
			assert.ErrorIs(t, err, ondisk.ErrCorrupt)
			err = treeScan(ctx, m, in, 0, func(uint64, []byte) bool { return true })
			assert.ErrorIs(t, err, ondisk.ErrCorrupt)
			_, _, _, err = treeFloor(ctx, m, in, 29)
			_, _, _, err2 = treeFloor(ctx, m, in, 41)
			if err == nil {
				err = err2
			}
			assert.ErrorIs(t, err, ondisk.ErrCorrupt)
		})
	}
}

// FuzzTree reads trees of random bytes: values or ErrCorrupt, never a panic, never without end.
func FuzzTree(f *testing.F) {
	m, in := hostile(nil)
	f.Add([]byte(in.Root), m[6001][ondisk.NodeBody:], m[6002][ondisk.NodeBody:], uint64(30))
	f.Add([]byte(layNode(make([]byte, 100), 2, []treeEntry{{0, child(6001)}})), []byte(layNode(make([]byte, ondisk.NodeSize), 1, []treeEntry{{0, child(6002)}, {30, child(6001)}})), m[6002][ondisk.NodeBody:], uint64(1))
	f.Fuzz(func(t *testing.T, root, a, b []byte, key uint64) {
		in := &ondisk.Inode{Ino: 5000, Generation: 3, Body: ondisk.BodyIndex, Root: root}
		if len(root) < ondisk.MinNodeSize || in.Root.Check(5000) != nil {
			return
		}
		m := mapReader{}
		for i, body := range [][]byte{a, b} {
			blk := uint64(6001 + i)
			n := ondisk.NewBlock(ondisk.TypeNode, blk, ondisk.UUID{9}, in.Ino, in.Generation)
			copy(n[ondisk.NodeBody:], body)
			ondisk.Seal(n)
			m[blk] = n
		}
		ctx := context.Background()
		_, _, err := treeGet(ctx, m, in, key)
		if err != nil {
			require.ErrorIs(t, err, ondisk.ErrCorrupt)
		}
		if k, _, ok, err := treeFloor(ctx, m, in, key); err != nil {
			require.ErrorIs(t, err, ondisk.ErrCorrupt)
		} else if ok {
			require.LessOrEqual(t, k, key)
		}
		last, first := uint64(0), true
		err = treeScan(ctx, m, in, key, func(k uint64, _ []byte) bool {
			require.True(t, first || k > last)
			require.GreaterOrEqual(t, k, key)
			last, first = k, false
			return true
		})
		if err != nil {
			require.ErrorIs(t, err, ondisk.ErrCorrupt)
		}
	})
}
