package fs

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "replay one seed of a random test")
	seedsFlag = flag.Int("seeds", 0, "run so many seeds of a random test")
)

// eachSeed runs fn for each seed; -seed replays one.
func eachSeed(t *testing.T, short, long int, fn func(t *testing.T, seed uint64)) {
	n := long
	if testing.Short() {
		n = short
	}
	if *seedsFlag > 0 {
		n = *seedsFlag
	}
	first := uint64(1)
	if *seedFlag != 0 {
		first, n = *seedFlag, 1
	}
	for s := first; s < first+uint64(n); s++ {
		if !t.Run(fmt.Sprintf("seed=%d", s), func(t *testing.T) { fn(t, s) }) {
			t.Fatalf("replay: go test ./fs -run '%s' -seed=%d", strings.SplitN(t.Name(), "/", 2)[0], s)
		}
	}
}

// model is an obvious filesystem in memory. The volume must do the same.
type model struct {
	root *modelNode
	dirs []*modelNode // all that exist
	all  []*modelNode // files and directories that exist
}

type modelNode struct {
	ino    Ino
	mode   uint32
	data   []byte
	kids   map[string]*modelNode
	parent *modelNode
	nlink  int
}

func (m *modelNode) isDir() bool { return m.mode&syscall.S_IFMT == syscall.S_IFDIR }

func newModel() *model {
	r := &modelNode{ino: rootIno, mode: syscall.S_IFDIR | 0o755, kids: map[string]*modelNode{}, nlink: 2}
	return &model{root: r, dirs: []*modelNode{r}, all: []*modelNode{r}}
}

// under reports whether d is n or lies below it.
func (n *modelNode) under(d *modelNode) bool {
	for ; d != nil; d = d.parent {
		if d == n {
			return true
		}
	}
	return false
}

func (m *model) add(d *modelNode, name string, n *modelNode) {
	d.kids[name] = n
	m.all = append(m.all, n)
	if n.isDir() {
		n.parent = d
		d.nlink++
		m.dirs = append(m.dirs, n)
	}
}

func (m *model) drop(n *modelNode) {
	m.all = slices.DeleteFunc(m.all, func(x *modelNode) bool { return x == n })
	m.dirs = slices.DeleteFunc(m.dirs, func(x *modelNode) bool { return x == n })
}

func (m *model) unlink(d *modelNode, name string) error {
	n := d.kids[name]
	switch {
	case n == nil:
		return ErrNotExist
	case n.isDir():
		return ErrIsDir
	}
	delete(d.kids, name)
	if n.nlink--; n.nlink == 0 {
		m.drop(n)
	}
	return nil
}

func (m *model) rmdir(d *modelNode, name string) error {
	n := d.kids[name]
	switch {
	case n == nil:
		return ErrNotExist
	case !n.isDir():
		return ErrNotDir
	case len(n.kids) > 0:
		return ErrNotEmpty
	}
	delete(d.kids, name)
	d.nlink--
	n.nlink = 0
	m.drop(n)
	return nil
}

// rename follows rename(2), in the order in which the volume checks.
func (m *model) rename(d *modelNode, from string, e *modelNode, to string, flags uint32) error {
	src, dst := d.kids[from], e.kids[to]
	switch {
	case src == nil:
		return ErrNotExist
	case d != e && src.isDir() && src.under(e):
		return ErrInvalid
	case d != e && flags&RenameExchange != 0 && dst != nil && dst.isDir() && dst.under(d):
		return ErrInvalid
	case d != e && flags&RenameExchange == 0 && dst == d:
		return ErrNotEmpty
	case src == dst:
		return nil
	case dst == nil && flags&RenameExchange != 0:
		return ErrNotExist
	}
	if dst != nil && flags == 0 {
		switch {
		case src.isDir() && !dst.isDir():
			return ErrNotDir
		case !src.isDir() && dst.isDir():
			return ErrIsDir
		case dst.isDir() && len(dst.kids) > 0:
			return ErrNotEmpty
		case dst.isDir():
			_ = m.rmdir(e, to)
		default:
			_ = m.unlink(e, to)
		}
	}
	if dst != nil && flags == RenameNoReplace {
		return ErrExist
	}
	delete(d.kids, from)
	if flags == RenameExchange {
		d.kids[from] = dst
		dst.moved(e, d)
	}
	e.kids[to] = src
	src.moved(d, e)
	return nil
}

func (n *modelNode) moved(from, to *modelNode) {
	if n.isDir() {
		from.nlink--
		to.nlink++
		n.parent = to
	}
}

func (n *modelNode) write(p []byte, off int) {
	if end := off + len(p); end > len(n.data) {
		n.data = append(n.data, make([]byte, end-len(n.data))...)
	}
	copy(n.data[off:], p)
}

func (n *modelNode) truncate(size int) {
	if size <= len(n.data) {
		n.data = n.data[:size:size]
		return
	}
	n.data = append(n.data, make([]byte, size-len(n.data))...)
}

// driver does random operations on a rig and on a model, each on some node, and compares.
type driver struct {
	t   *testing.T
	r   *rig
	rng *rand.Rand
	m   *model
	n   *rigNode // of the current operation
	log []string
	max int // bytes of a file
	// whole: only operations that are one transaction and overwrite nothing in place, so that a crash leaves the state
	// before or after. Content that was cut off and written over may otherwise show up with the old size: both were the
	// file's own, and neither was synced.
	whole bool
}

// wholeUnit is a multiple of every cluster size in use here.
const wholeUnit = 64 << 10

func (d *driver) pick(of []*modelNode) *modelNode { return of[d.rng.IntN(len(of))] }
func (d *driver) name() string                    { return string(rune('a' + d.rng.IntN(10))) }

func (d *driver) note(format string, args ...any) {
	d.log = append(d.log, fmt.Sprintf("node%d: ", d.n.id.Slot+1)+fmt.Sprintf(format, args...))
}

func (d *driver) same(want, got error) {
	d.t.Helper()
	require.Equal(d.t, Errno(want), Errno(got), "want %v, got %v after\n%s", want, got, d.tail())
}

func (d *driver) tail() string { return strings.Join(d.log[max(0, len(d.log)-30):], "\n") }

// learn is an emit that notes the number of a new inode and lets the kernel forget it again.
func (d *driver) learn(n *modelNode) func(Attr) {
	return func(a Attr) { n.ino = a.Ino }
}

func (d *driver) step() {
	d.n = d.r.nodes[d.rng.IntN(len(d.r.nodes))]
	dir, name := d.pick(d.m.dirs), d.name()
	switch k := d.rng.IntN(100); {
	case k < 12:
		d.doMake(dir, name, syscall.S_IFREG|0o644, "")
	case k < 17:
		d.doMake(dir, name, syscall.S_IFDIR|0o755, "")
	case k < 20:
		d.doMake(dir, name, syscall.S_IFLNK|0o777, strings.Repeat("t", 1+d.rng.IntN(4000)))
	case k < 30:
		d.note("unlink %d/%s", dir.ino, name)
		d.same(d.m.unlink(dir, name), d.n.Unlink(bg, root, dir.ino, name))
	case k < 34:
		d.note("rmdir %d/%s", dir.ino, name)
		d.same(d.m.rmdir(dir, name), d.n.Rmdir(bg, root, dir.ino, name))
	case k < 44:
		to, toName := d.pick(d.m.dirs), d.name()
		flags := []uint32{0, 0, RenameNoReplace, RenameExchange}[d.rng.IntN(4)]
		d.note("rename %d/%s %d/%s %d", dir.ino, name, to.ino, toName, flags)
		err := d.n.Rename(bg, root, dir.ino, name, to.ino, toName, flags)
		d.same(d.m.rename(dir, name, to, toName, flags), err)
	case k < 50:
		d.doLink(dir, name)
	case k < 70:
		d.doWrite()
	case k < 76:
		d.doTruncate()
	case k < 82:
		d.doAllocate()
	case k < 92:
		d.doRead()
	case k < 96:
		d.doList(dir)
	default:
		d.note("sync")
		require.NoError(d.t, d.n.SyncAll(bg))
	}
}

func (d *driver) doMake(dir *modelNode, name string, mode uint32, target string) {
	n := &modelNode{mode: mode, nlink: 1, data: []byte(target)}
	d.note("make %d/%s mode %o", dir.ino, name, mode)
	var err error
	switch mode & syscall.S_IFMT {
	case syscall.S_IFDIR:
		n.kids, n.nlink = map[string]*modelNode{}, 2
		err = d.n.Mkdir(bg, root, dir.ino, name, mode, d.learn(n))
	case syscall.S_IFLNK:
		err = d.n.Symlink(bg, root, dir.ino, name, target, d.learn(n))
	default:
		err = d.n.Mknod(bg, root, dir.ino, name, mode, 0, d.learn(n))
	}
	if dir.kids[name] != nil {
		d.same(ErrExist, err)
		return
	}
	d.same(nil, err)
	d.n.Forget(n.ino, 1)
	d.m.add(dir, name, n)
}

func (d *driver) doLink(dir *modelNode, name string) {
	n := d.pick(d.m.all)
	d.note("link %d to %d/%s", n.ino, dir.ino, name)
	err := d.n.Link(bg, root, n.ino, dir.ino, name, func(Attr) {})
	switch {
	case n.isDir():
		d.same(ErrNotPermitted, err)
	case dir.kids[name] != nil:
		d.same(ErrExist, err)
	default:
		d.same(nil, err)
		d.n.Forget(n.ino, 1)
		dir.kids[name] = n
		n.nlink++
	}
}

// file is a regular file of the model, nil if there is none.
func (d *driver) file() *modelNode {
	for range 20 {
		if n := d.pick(d.m.all); n.mode&syscall.S_IFMT == syscall.S_IFREG {
			return n
		}
	}
	return nil
}

func (d *driver) span() (off, size int) {
	off, size = d.rng.IntN(d.max), 1+d.rng.IntN(d.max/4)
	if d.rng.IntN(2) == 0 {
		off, size = off&^4095, (size+4095)&^4095
	}
	return off, size
}

func (d *driver) doWrite() {
	n := d.file()
	if n == nil {
		return
	}
	off, size := d.span()
	if d.rng.IntN(3) == 0 {
		off, size = d.rng.IntN(3000), d.rng.IntN(1000)+1
	}
	if d.whole {
		off = (len(n.data)+wholeUnit-1)&^(wholeUnit-1) + []int{0, 0, wholeUnit}[d.rng.IntN(3)]
	}
	d.note("write %d at %d+%d", n.ino, off, size)
	p := pattern(d.rng.Uint64(), size)
	f := d.n.open(n.ino, syscall.O_RDWR)
	d.n.write(f, p, int64(off))
	if !d.whole && d.rng.IntN(4) == 0 {
		require.NoError(d.t, f.Sync(bg, d.rng.IntN(2) == 0))
	}
	d.n.close(f)
	n.write(p, off)
}

func (d *driver) doTruncate() {
	n := d.file()
	if n == nil {
		return
	}
	size := uint64(d.rng.IntN(d.max))
	if d.whole {
		size &^= wholeUnit - 1
	}
	d.note("truncate %d to %d", n.ino, size)
	require.NoError(d.t, d.n.Setattr(bg, root, n.ino, SetAttr{Size: &size}, func(a Attr) {
		require.Equal(d.t, size, a.Size)
	}))
	n.truncate(int(size))
}

func (d *driver) doAllocate() {
	n := d.file()
	if n == nil {
		return
	}
	off, size := d.span()
	mode := []uint32{0, fallocKeepSize, fallocPunchHole | fallocKeepSize, fallocZeroRange, fallocZeroRange | fallocKeepSize}[d.rng.IntN(5)]
	if d.whole {
		off, size = off&^(wholeUnit-1), (size+wholeUnit-1)&^(wholeUnit-1)
		mode = []uint32{0, fallocPunchHole | fallocKeepSize}[d.rng.IntN(2)]
	}
	d.note("fallocate %d mode %#x at %d+%d", n.ino, mode, off, size)
	f := d.n.open(n.ino, syscall.O_RDWR)
	require.NoError(d.t, f.Allocate(bg, mode, int64(off), int64(size)), d.tail())
	d.n.close(f)
	if mode&^fallocKeepSize != 0 && off < len(n.data) {
		clear(n.data[off:min(len(n.data), off+size)])
	}
	if mode&fallocKeepSize == 0 && off+size > len(n.data) {
		n.truncate(off + size)
	}
}

func (d *driver) doRead() {
	n := d.pick(d.m.all)
	d.note("look at %d", n.ino)
	a := d.n.attr(n.ino)
	require.EqualValues(d.t, n.nlink, a.Nlink, "links of %d after\n%s", n.ino, d.tail())
	require.Equal(d.t, n.mode, a.Mode)
	switch n.mode & syscall.S_IFMT {
	case syscall.S_IFREG:
		require.EqualValues(d.t, len(n.data), a.Size, d.tail())
		f := d.n.open(n.ino, syscall.O_RDONLY)
		off, size := d.span()
		want := n.data[min(off, len(n.data)):min(off+size, len(n.data))]
		require.True(d.t, bytes.Equal(want, d.n.read(f, int64(off), size)), "content of %d at %d+%d after\n%s", n.ino, off, size, d.tail())
		d.n.close(f)
	case syscall.S_IFLNK:
		got, err := d.n.Readlink(bg, n.ino)
		require.NoError(d.t, err)
		require.Equal(d.t, string(n.data), got)
	}
}

func (d *driver) doList(dir *modelNode) {
	d.note("list %d", dir.ino)
	var want []string
	for name := range dir.kids {
		want = append(want, name)
	}
	got := d.n.names(dir.ino)
	slices.Sort(want)
	slices.Sort(got)
	require.Equal(d.t, want, got, d.tail())
	for name, kid := range dir.kids {
		a, err := d.n.lookup(dir.ino, name)
		require.NoError(d.t, err)
		require.Equal(d.t, kid.ino, a.Ino)
		d.n.Forget(a.Ino, 1)
	}
}

// compare looks at everything, on every node.
func (d *driver) compare() {
	for _, n := range d.r.nodes {
		d.n = n
		d.compareDir(d.m.root)
	}
}

func (d *driver) compareDir(dir *modelNode) {
	d.doList(dir)
	for _, kid := range dir.kids {
		switch {
		case kid.isDir():
			d.compareDir(kid)
		case kid.mode&syscall.S_IFMT == syscall.S_IFREG:
			f := d.n.open(kid.ino, syscall.O_RDONLY)
			require.True(d.t, bytes.Equal(kid.data, d.n.read(f, 0, len(kid.data)+10)), "content of %d", kid.ino)
			d.n.close(f)
		}
	}
}

// TestModel does random operations on one to three nodes; all must see the same and the obvious, and the volume must be
// clean at the end.
func TestModel(t *testing.T) {
	eachSeed(t, 6, 30, func(t *testing.T, seed uint64) {
		rng := rand.New(rand.NewPCG(seed, 7))
		clusters := []uint32{4 << 10, 16 << 10, 64 << 10}
		r := newRig(t, rigOptions{nodes: 1 + rng.IntN(3), cluster: clusters[rng.IntN(3)]})
		d := &driver{t: t, r: r, rng: rng, m: newModel(), max: 300_000}
		for range 400 {
			d.step()
		}
		d.compare()
	})
}
