package fs

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/covol/covol/ondisk/sched"
	"github.com/covol/covol/ondisk/sched/simsched"
)

// mayFail are the answers that an operation may get because others were quicker.
var mayFail = []syscall.Errno{0, syscall.ENOENT, syscall.EEXIST, syscall.ENOTEMPTY, syscall.ENOTDIR, syscall.EISDIR,
	syscall.EINVAL, syscall.ESTALE, syscall.EPERM}

// clash does random operations in one small namespace, without knowing what others do.
type clash struct {
	n    *rigNode
	rng  *rand.Rand
	errs []string
	open []File
}

func (c *clash) check(what string, err error) bool {
	if !slices.Contains(mayFail, Errno(err)) {
		c.errs = append(c.errs, fmt.Sprintf("%s: %v", what, err))
	}
	return err == nil
}

// dir is a random directory: the root or one of a few below it.
func (c *clash) dir() Ino {
	ino := Ino(rootIno)
	for range c.rng.IntN(3) {
		a, err := c.n.lookup(ino, string(rune('A'+c.rng.IntN(3))))
		if err != nil || a.Mode&syscall.S_IFMT != syscall.S_IFDIR {
			break
		}
		c.n.Forget(a.Ino, 1)
		ino = a.Ino
	}
	return ino
}

func (c *clash) step() {
	n, dir := c.n, c.dir()
	name := string(rune('a' + c.rng.IntN(4)))
	dname := string(rune('A' + c.rng.IntN(3)))
	var got Attr
	forget := func(err error, what string) {
		if c.check(what, err) {
			n.Forget(got.Ino, 1)
		}
	}
	learn := func(a Attr) { got = a }
	switch c.rng.IntN(12) {
	case 0, 1:
		var f File
		err := n.Create(bg, root, dir, name, 0o644, syscall.O_RDWR, func(a Attr, o File) { got, f = a, o })
		if err == nil {
			c.open = append(c.open, f)
		}
		forget(err, "create")
	case 2:
		forget(n.Mkdir(bg, root, dir, dname, 0o755, learn), "mkdir")
	case 3:
		c.check("unlink", n.Unlink(bg, root, dir, name))
	case 4:
		c.check("rmdir", n.Rmdir(bg, root, dir, dname))
	case 5:
		c.check("rename", n.Rename(bg, root, dir, name, c.dir(), string(rune('a'+c.rng.IntN(4))), uint32(c.rng.IntN(3))))
	case 6:
		c.check("rename directory", n.Rename(bg, root, dir, dname, c.dir(), string(rune('A'+c.rng.IntN(3))), 2*uint32(c.rng.IntN(2))))
	case 7:
		err := n.Lookup(bg, root, dir, name, learn)
		forget(err, "lookup")
		if err == nil {
			forget(n.Link(bg, root, got.Ino, c.dir(), string(rune('a'+c.rng.IntN(4))), learn), "link")
		}
	case 8:
		d, err := n.OpenDir(bg, dir)
		if c.check("opendir", err) {
			c.check("readdir", d.Read(bg, 0, func(DirEntry) bool { return true }))
			d.Release()
		}
	case 9:
		forget(n.Lookup(bg, root, dir, name, learn), "lookup")
	default:
		c.file()
	}
	if len(c.open) > 3 {
		c.check("release", c.open[0].Release(bg))
		c.open = c.open[1:]
	}
}

// file reads or writes one of the open files, which others may have deleted.
func (c *clash) file() {
	if len(c.open) == 0 {
		return
	}
	f := c.open[c.rng.IntN(len(c.open))]
	off, size := int64(c.rng.IntN(100_000)), 1+c.rng.IntN(20_000)
	if c.rng.IntN(2) == 0 {
		off, size = off&^4095, 4096
	}
	switch c.rng.IntN(5) {
	case 0, 1:
		_, err := f.Write(bg, pattern(1, size), off)
		c.check("write", err)
	case 2:
		c.check("sync", f.Sync(bg, c.rng.IntN(2) == 0))
	case 3:
		c.check("punch", f.Allocate(bg, fallocPunchHole|fallocKeepSize, off, int64(size)))
	default:
		c.check("read", f.Read(bg, make([]byte, size), off, c.rng.IntN(2) == 0, func(int) {}))
	}
}

// TestConcurrent lets several procedures on several nodes get into each other's way. All must come to an end, and then
// all nodes must see the same and the volume must be clean. The schedule is a function of the seed.
func TestConcurrent(t *testing.T) {
	eachSeed(t, 10, 60, func(t *testing.T, seed uint64) {
		rng := rand.New(rand.NewPCG(seed, 11))
		s := simsched.New(seed)
		concurrent(t, s, rng, 2+rng.IntN(2), 1+rng.IntN(3), 60)
	})
}

// TestConcurrentReal is the same on real goroutines, for the race detector.
func TestConcurrentReal(t *testing.T) {
	concurrent(t, sched.Real{}, rand.New(rand.NewPCG(1, 12)), 3, 3, 150)
}

func concurrent(t *testing.T, s sched.Scheduler, rng *rand.Rand, nodes, procs, steps int) {
	r := newRig(t, rigOptions{nodes: nodes, sched: s})
	var all []*clash
	var done []sched.Event
	for _, n := range r.nodes {
		for range procs {
			c := &clash{n: n, rng: rand.New(rand.NewPCG(rng.Uint64(), 1))}
			all = append(all, c)
		}
	}
	r.do(func() {
		for _, c := range all {
			ev := s.NewEvent()
			done = append(done, ev)
			s.Go("clash", func() {
				defer ev.Set()
				for range steps {
					c.step()
				}
				for _, f := range c.open {
					c.check("release", f.Release(bg))
				}
			})
		}
		for _, ev := range done {
			require.NoError(t, ev.Wait(bg))
		}
	})
	for _, c := range all {
		require.Empty(t, c.errs)
	}
	var want string
	r.do(func() {
		want = r.nodes[0].digest()
		for _, n := range r.nodes[1:] {
			require.Equal(t, want, n.digest())
		}
	})
}
