package fs

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/sched"
	"github.com/covol/covol/ondisk/sched/simsched"
)

var bg = context.Background()

const rootIno = ondisk.RootBlock

func pattern(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func TestCreateLookupReadWrite(t *testing.T) {
	r := newRig(t, rigOptions{nodes: 1})
	n := r.nodes[0]
	a, f := n.create(rootIno, "a")
	assert.EqualValues(t, syscall.S_IFREG|0o644, a.Mode)
	assert.EqualValues(t, 1, a.Nlink)
	for _, size := range []int{1, 100, 2048, 2049, 5000, 100_000, 3 << 20} {
		p := pattern(uint64(size), size)
		n.write(f, p, 0)
		assert.True(t, bytes.Equal(p, n.read(f, 0, size+10)[:size]), "size %d", size)
		assert.EqualValues(t, size, n.attr(a.Ino).Size)
	}
	got, err := n.lookup(rootIno, "a")
	require.NoError(t, err)
	assert.Equal(t, a.Ino, got.Ino)
	_, err = n.lookup(rootIno, "b")
	assert.ErrorIs(t, err, ErrNotExist)
	n.close(f)
}

func TestSparseAndTail(t *testing.T) {
	r := newRig(t, rigOptions{nodes: 1, cluster: 64 << 10})
	n := r.nodes[0]
	a, f := n.create(rootIno, "sparse")
	n.write(f, []byte("end"), 10<<20+5)
	assert.EqualValues(t, 10<<20+8, n.attr(a.Ino).Size)
	assert.Equal(t, make([]byte, 1000), n.read(f, 5<<20, 1000))
	assert.Equal(t, []byte("\x00end"), n.read(f, 10<<20+4, 100))
	assert.EqualValues(t, 64<<10/512, n.attr(a.Ino).Blocks)

	// What lies behind the end must never show up again, however the file grows.
	n.write(f, bytes.Repeat([]byte{0xff}, 200_000), 0)
	size := uint64(1000)
	require.NoError(t, n.Setattr(bg, root, a.Ino, SetAttr{Size: &size}, func(Attr) {}))
	n.write(f, []byte("x"), 150_000)
	assert.Equal(t, make([]byte, 149_000), n.read(f, 1000, 149_000))
	size = 5000
	require.NoError(t, n.Setattr(bg, root, a.Ino, SetAttr{Size: &size}, func(Attr) {}))
	size = 70_000
	require.NoError(t, n.Setattr(bg, root, a.Ino, SetAttr{Size: &size}, func(Attr) {}))
	assert.Equal(t, make([]byte, 65_000), n.read(f, 5000, 80_000))
	n.close(f)
}

func TestAppendIgnoresOffset(t *testing.T) {
	r := newRig(t, rigOptions{nodes: 2})
	a, f := r.nodes[0].create(rootIno, "log")
	r.nodes[0].close(f)
	f0 := r.nodes[0].open(a.Ino, syscall.O_WRONLY|syscall.O_APPEND)
	_, err := r.nodes[1].lookup(rootIno, "log")
	require.NoError(t, err)
	f1 := r.nodes[1].open(a.Ino, syscall.O_WRONLY|syscall.O_APPEND)
	for i := range 20 {
		r.nodes[0].write(f0, fmt.Appendf(nil, "a%02d\n", i), 0)
		r.nodes[1].write(f1, fmt.Appendf(nil, "b%02d\n", i), 0)
	}
	rd := r.nodes[0].open(a.Ino, syscall.O_RDONLY)
	text := string(r.nodes[0].read(rd, 0, 10_000))
	assert.Equal(t, 40, strings.Count(text, "\n"))
	for i := range 20 {
		assert.Contains(t, text, fmt.Sprintf("a%02d\nb%02d\n", i, i))
	}
	r.nodes[0].close(f0)
	r.nodes[1].close(f1)
	r.nodes[0].close(rd)
}

func TestDirectories(t *testing.T) {
	r := newRig(t, rigOptions{nodes: 1})
	n := r.nodes[0]
	d := n.mkdir(rootIno, "d")
	assert.EqualValues(t, 2, d.Nlink)
	assert.EqualValues(t, 3, n.attr(rootIno).Nlink)
	assert.ErrorIs(t, n.Mkdir(bg, root, rootIno, "d", 0o755, func(Attr) {}), ErrExist)
	n.mkdir(d.Ino, "sub")
	assert.ErrorIs(t, n.Rmdir(bg, root, rootIno, "d"), ErrNotEmpty)
	assert.ErrorIs(t, n.Unlink(bg, root, rootIno, "d"), ErrIsDir)
	require.NoError(t, n.Rmdir(bg, root, d.Ino, "sub"))
	require.NoError(t, n.Rmdir(bg, root, rootIno, "d"))
	assert.EqualValues(t, 2, n.attr(rootIno).Nlink)
	_, err := n.lookup(rootIno, "d")
	assert.ErrorIs(t, err, ErrNotExist)
	assert.ErrorIs(t, n.Mkdir(bg, root, rootIno, strings.Repeat("n", 256), 0o755, func(Attr) {}), ErrNameTooLong)
	n.mkdir(rootIno, strings.Repeat("n", 255))
}

func TestReaddirManyAndCookies(t *testing.T) {
	r := newRig(t, rigOptions{nodes: 1})
	n := r.nodes[0]
	d := n.mkdir(rootIno, "big")
	const count = 3000
	var want []string
	for i := range count {
		name := fmt.Sprintf("entry-%06d", i)
		_, f := n.create(d.Ino, name)
		n.close(f)
		want = append(want, name)
	}
	dir, err := n.OpenDir(bg, d.Ino)
	require.NoError(t, err)
	var got []string
	var cookie uint64
	for {
		left := 7
		before := cookie
		require.NoError(t, dir.Read(bg, cookie, func(e DirEntry) bool {
			if left == 0 {
				return false
			}
			left--
			cookie = e.Cookie
			if e.Name != "." && e.Name != ".." {
				got = append(got, e.Name)
			}
			return true
		}))
		if cookie == before {
			break
		}
	}
	dir.Release()
	slices.Sort(got)
	assert.Equal(t, want, got)
	for _, name := range want {
		require.NoError(t, n.Unlink(bg, root, d.Ino, name))
	}
	assert.Empty(t, n.names(d.Ino))
	require.NoError(t, n.Rmdir(bg, root, rootIno, "big"))
}

func TestRename(t *testing.T) {
	r := newRig(t, rigOptions{nodes: 1})
	n := r.nodes[0]
	a, b := n.mkdir(rootIno, "a"), n.mkdir(rootIno, "b")
	fa, f := n.create(a.Ino, "f")
	n.close(f)
	ga, g := n.create(b.Ino, "g")
	n.close(g)
	mv := func(p Ino, from string, q Ino, to string, flags uint32) error {
		return n.Rename(bg, root, p, from, q, to, flags)
	}
	require.NoError(t, mv(a.Ino, "f", b.Ino, "f2", 0))
	assert.ErrorIs(t, mv(a.Ino, "f", b.Ino, "f2", 0), ErrNotExist)
	assert.ErrorIs(t, mv(b.Ino, "f2", b.Ino, "g", RenameNoReplace), ErrExist)
	require.NoError(t, mv(b.Ino, "f2", b.Ino, "g", RenameExchange))
	x, err := n.lookup(b.Ino, "g")
	require.NoError(t, err)
	assert.Equal(t, fa.Ino, x.Ino)
	require.NoError(t, mv(b.Ino, "g", b.Ino, "f2", 0)) // replaces
	x, err = n.lookup(b.Ino, "f2")
	require.NoError(t, err)
	assert.Equal(t, fa.Ino, x.Ino)
	assert.NotEqual(t, ga.Ino, x.Ino)
	assert.Equal(t, []string{"f2"}, n.names(b.Ino))

	assert.ErrorIs(t, mv(rootIno, "a", b.Ino, "f2", 0), ErrNotDir)
	assert.ErrorIs(t, mv(b.Ino, "f2", rootIno, "a", 0), ErrIsDir)
	assert.ErrorIs(t, mv(rootIno, "a", a.Ino, "x", 0), ErrInvalid)
	require.NoError(t, mv(rootIno, "a", b.Ino, "a", 0))
	assert.ErrorIs(t, mv(rootIno, "b", a.Ino, "b", 0), ErrInvalid)
	assert.ErrorIs(t, mv(b.Ino, "a", rootIno, "b", 0), ErrNotEmpty)
	assert.EqualValues(t, 3, n.attr(rootIno).Nlink)
	assert.EqualValues(t, 3, n.attr(b.Ino).Nlink)
	require.NoError(t, mv(b.Ino, "a", rootIno, "a2", 0))
	assert.EqualValues(t, 2, n.attr(b.Ino).Nlink)
	n.mkdir(rootIno, "empty")
	require.NoError(t, mv(rootIno, "a2", rootIno, "empty", 0))
	assert.EqualValues(t, 4, n.attr(rootIno).Nlink)
}

func TestLinksAndSymlinks(t *testing.T) {
	r := newRig(t, rigOptions{nodes: 1})
	n := r.nodes[0]
	a, f := n.create(rootIno, "a")
	n.write(f, []byte("hello"), 0)
	for i := range 10 {
		require.NoError(t, n.Link(bg, root, a.Ino, rootIno, fmt.Sprintf("l%d", i), func(x Attr) {
			assert.EqualValues(t, i+2, x.Nlink)
		}))
	}
	require.NoError(t, n.Unlink(bg, root, rootIno, "a"))
	for i := range 9 {
		require.NoError(t, n.Unlink(bg, root, rootIno, fmt.Sprintf("l%d", i)))
	}
	x, err := n.lookup(rootIno, "l9")
	require.NoError(t, err)
	assert.EqualValues(t, 1, x.Nlink)
	n.close(f)
	for _, l := range []int{1, 100, 2048, 2049, 4095} {
		target := strings.Repeat("t", l)
		var at Attr
		require.NoError(t, n.Symlink(bg, root, rootIno, fmt.Sprintf("s%d", l), target, func(a Attr) { at = a }))
		got, err := n.Readlink(bg, at.Ino)
		require.NoError(t, err)
		assert.Equal(t, target, got)
	}
}

func TestUnlinkWhileOpenHere(t *testing.T) {
	r := newRig(t, rigOptions{nodes: 1})
	n := r.nodes[0]
	n.warmUp()
	before, err := n.Statfs(bg)
	require.NoError(t, err)
	a, f := n.create(rootIno, "a")
	p := pattern(1, 1<<20)
	n.write(f, p, 0)
	require.NoError(t, n.Unlink(bg, root, rootIno, "a"))
	assert.True(t, bytes.Equal(p, n.read(f, 0, 1<<20)))
	assert.EqualValues(t, 0, n.attr(a.Ino).Nlink)
	n.write(f, []byte("still"), 2<<20)
	n.close(f)
	n.Forget(a.Ino, 1)
	requireFree(t, n, before.Free)
}

// warmUp makes a file, so that the node has a chunk for metadata: chunks are never given back (F3).
func (n *rigNode) warmUp() {
	_, f := n.create(rootIno, "warm")
	n.close(f)
}

// requireFree waits until so much is free again.
func requireFree(t testing.TB, n *rigNode, want uint64) {
	t.Helper()
	require.Eventually(t, func() bool {
		require.NoError(t, n.SyncAll(bg))
		s, err := n.Statfs(bg)
		require.NoError(t, err)
		return s.Free >= want
	}, 10*time.Second, time.Millisecond)
}

func TestUnlinkWhileOpenElsewhere(t *testing.T) {
	r := newRig(t, rigOptions{nodes: 3})
	n0, n1 := r.nodes[0], r.nodes[1]
	n0.warmUp()
	before, err := n0.Statfs(bg)
	require.NoError(t, err)
	a, f := n0.create(rootIno, "a")
	p := pattern(1, 1<<20)
	n0.write(f, p, 0)
	n0.close(f)
	_, err = n1.lookup(rootIno, "a")
	require.NoError(t, err)
	f1 := n1.open(a.Ino, syscall.O_RDONLY)
	require.NoError(t, n0.Unlink(bg, root, rootIno, "a"))
	n0.Forget(a.Ino, 1)
	_, err = n1.lookup(rootIno, "a")
	assert.ErrorIs(t, err, ErrNotExist)
	assert.True(t, bytes.Equal(p, n1.read(f1, 0, 1<<20)))
	n1.close(f1)
	n1.Forget(a.Ino, 1)
	requireFree(t, n0, before.Free)
	_, err = n1.Open(bg, root, a.Ino, 0)
	assert.ErrorIs(t, err, ErrStale)
}

func TestCoherenceBetweenNodes(t *testing.T) {
	r := newRig(t, rigOptions{nodes: 3})
	d := r.nodes[0].mkdir(rootIno, "d")
	for round := range 30 {
		w := r.nodes[round%3]
		name := fmt.Sprintf("f%d", round)
		a, f := w.create(d.Ino, name)
		p := pattern(uint64(round), 1+round*3000)
		w.write(f, p, 0)
		for _, n := range r.nodes {
			got, err := n.lookup(d.Ino, name)
			require.NoError(t, err)
			require.Equal(t, a.Ino, got.Ino)
			require.EqualValues(t, len(p), got.Size)
			g := n.open(a.Ino, syscall.O_RDONLY)
			require.True(t, bytes.Equal(p, n.read(g, 0, len(p)+1)))
			n.close(g)
			require.Len(t, n.names(d.Ino), round+1)
		}
		w.close(f)
	}
}

// TestFullVolumeIsEmptiedByAnotherNode fills a volume on one node and deletes everything on another, which has no space
// of its own for anything, and again the other way round.
func TestFullVolumeIsEmptiedByAnotherNode(t *testing.T) {
	s := simsched.New(1)
	r := newRig(t, rigOptions{nodes: 2, cluster: 64 << 10, sched: s})
	want := r.sb.FreeClusters * 9 / 10
	for round, size := range []int{3<<20 + 5, 40_000, 3 << 20, 5000} {
		filler, other := r.nodes[round%2], r.nodes[1-round%2]
		r.do(func() {
			names := fill(t, filler, fmt.Sprint(round), size, 1+1000*(round%2))
			emptied(t, s, other, names, want)
			a, f := other.create(rootIno, "again")
			other.write(f, make([]byte, 100<<20), 0)
			other.close(f)
			require.NoError(t, other.Unlink(bg, root, rootIno, "again"))
			other.Forget(a.Ino, 1)
			require.NoError(t, s.Sleep(bg, time.Minute))
		})
	}
}

// fill makes files of so many writes of so many bytes until the volume is full, and returns their names.
func fill(t *testing.T, n *rigNode, prefix string, size, writes int) (names []string) {
	t.Helper()
	p := pattern(1, size)
	for i := 0; ; i++ {
		name := fmt.Sprintf("%s-%d", prefix, i)
		var at Attr
		var f File
		if err := n.Create(bg, root, rootIno, name, 0o644, syscall.O_RDWR, func(x Attr, o File) { at, f = x, o }); err != nil {
			require.ErrorIs(t, err, ErrNoSpace)
			return names
		}
		names = append(names, name)
		var err error
		for j := 0; j < writes && err == nil; j++ {
			_, err = f.Write(bg, p, int64(j*size))
		}
		n.close(f)
		n.Forget(at.Ino, 1)
		if err != nil {
			require.ErrorIs(t, err, ErrNoSpace)
			return names
		}
	}
}

// emptied deletes files and waits until the space is back.
func emptied(t *testing.T, s sched.Scheduler, n *rigNode, names []string, want uint64) {
	t.Helper()
	for _, name := range names {
		x, err := n.lookup(rootIno, name)
		require.NoError(t, err)
		require.NoError(t, n.Unlink(bg, root, rootIno, name), name)
		n.Forget(x.Ino, 1)
	}
	for range 60 {
		require.NoError(t, s.Sleep(bg, time.Second))
		if st, err := n.Statfs(bg); err == nil && st.Free >= want {
			return
		}
	}
	require.Fail(t, "the space does not come back")
}

// TestReclaimDoesNotWaitForTheKernel: the kernel may keep what it knows of a number through several lives of it.
func TestReclaimDoesNotWaitForTheKernel(t *testing.T) {
	s := simsched.New(1)
	r := newRig(t, rigOptions{nodes: 2, sched: s})
	a, b := r.nodes[0], r.nodes[1]
	r.do(func() {
		a.warmUp()
		before, err := a.Statfs(bg)
		require.NoError(t, err)
		for range 30 {
			_, f := a.create(rootIno, "f") // the kernels of both nodes never forget
			a.write(f, pattern(1, 1<<20), 0)
			a.close(f)
			_, err := b.lookup(rootIno, "f")
			require.NoError(t, err)
			require.NoError(t, b.Unlink(bg, root, rootIno, "f"))
		}
		require.NoError(t, s.Sleep(bg, time.Minute))
		after, err := b.Statfs(bg)
		require.NoError(t, err)
		require.Greater(t, after.Free+256, before.Free) // chunks for metadata are not given back
	})
}
