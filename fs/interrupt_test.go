package fs

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/covol/covol/ondisk/sched"
	"github.com/covol/covol/ondisk/sched/simsched"
)

// owner makes, renames and removes names that nobody else touches, in a directory that all share, and interrupts itself
// at random moments. An operation that reports an interrupt must have changed nothing, any other must have done all.
type owner struct {
	n     *rigNode
	s     *simsched.Scheduler
	rng   *rand.Rand
	dir   Ino
	id    int
	count int
	names []string
	trace []string
	cut   int // operations that were interrupted
}

// patience is a context that ends soon, or never.
func (o *owner) patience() (context.Context, context.CancelFunc) {
	if o.rng.IntN(2) == 0 {
		return bg, func() {}
	}
	return o.s.WithTimeout(bg, time.Duration(o.rng.IntN(3000))*time.Microsecond)
}

func (o *owner) step() error {
	ctx, cancel := o.patience()
	defer cancel()
	o.count++
	fresh := fmt.Sprintf("o%d-%d", o.id, o.count)
	k := o.rng.IntN(10)
	if len(o.names) == 0 {
		k = 0
	}
	i := 0
	if len(o.names) > 0 {
		i = o.rng.IntN(len(o.names))
	}
	var err error
	var what string
	switch {
	case k < 4:
		what = "create " + fresh
		err = o.n.Create(ctx, root, o.dir, fresh, 0o644, syscall.O_RDWR|syscall.O_EXCL, func(a Attr, f File) {
			o.n.Forget(a.Ino, 1)
			o.s.Go("release", func() { _ = f.Release(bg) })
		})
		if err == nil {
			o.names = append(o.names, fresh)
		}
	case k < 6:
		what = "rename " + o.names[i] + " to " + fresh
		err = o.n.Rename(ctx, root, o.dir, o.names[i], o.dir, fresh, 0)
		if err == nil {
			o.names[i] = fresh
		}
	case k < 8:
		what = "unlink " + o.names[i]
		err = o.n.Unlink(ctx, root, o.dir, o.names[i])
		if err == nil {
			o.names = slices.Delete(o.names, i, i+1)
		}
	default:
		what = "lookup " + o.names[i]
		err = o.n.Lookup(ctx, root, o.dir, o.names[i], func(a Attr) { o.n.Forget(a.Ino, 1) })
	}
	o.trace = append(o.trace, fmt.Sprintf("%v %s: %v", o.s.Now(), what, err))
	if err != nil && Errno(err) != syscall.EINTR {
		return fmt.Errorf("%s: %w", what, err)
	}
	if err != nil {
		o.cut++
	}
	return nil
}

func TestInterruptsChangeNothing(t *testing.T) {
	eachSeed(t, 10, 60, func(t *testing.T, seed uint64) {
		rng := rand.New(rand.NewPCG(seed, 19))
		s := simsched.New(seed)
		r := newRig(t, rigOptions{nodes: 3, sched: s, wrap: slowly(s, seed)})
		var all []*owner
		var errs []error
		r.do(func() {
			dir := r.nodes[0].mkdir(rootIno, "d").Ino
			var done []sched.Event
			for i := range 6 {
				o := &owner{n: r.nodes[i%3], s: s, rng: rand.New(rand.NewPCG(rng.Uint64(), 3)), dir: dir, id: i}
				all = append(all, o)
				ev := s.NewEvent()
				done = append(done, ev)
				s.Go("owner", func() {
					defer ev.Set()
					for range 60 {
						if err := o.step(); err != nil {
							errs = append(errs, err)
							return
						}
					}
				})
			}
			for _, ev := range done {
				require.NoError(t, ev.Wait(bg))
			}
		})
		require.Empty(t, errs)
		cut := 0
		r.do(func() {
			var want []string
			for _, o := range all {
				want = append(want, o.names...)
				cut += o.cut
			}
			slices.Sort(want)
			for _, n := range r.nodes {
				got := n.names(all[0].dir)
				slices.Sort(got)
				require.Equal(t, want, got)
			}
		})
		t.Logf("%d operations interrupted", cut)
	})
}
