package journal

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/covol/covol/ondisk"
)

// BenchmarkPublishSync is durable transactions of two blocks on a disk without latency, with so many waiters.
func BenchmarkPublishSync(b *testing.B) {
	for _, waiters := range []int{1, 64} {
		b.Run(fmt.Sprint("waiters=", waiters), func(b *testing.B) {
			sb := testSuper()
			j := open(b, config(sb, fresh(sb, 0)))
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for w := range waiters {
				wg.Go(func() {
					for i := w; i < b.N; i += waiters {
						x := j.Begin()
						for _, blk := range [...]uint64{meta(sb, 2*w), meta(sb, 2*w+1)} {
							x.Write(blk, uint64(w), node(sb, blk, uint64(i)))
						}
						seq, err := x.Publish(ctx)
						if err == nil {
							err = j.Sync(ctx, seq)
						}
						if err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			st := j.Stats()
			b.ReportMetric(float64(st.Commits)/float64(st.Txns), "commits/txn")
			require.NoError(b, j.Close(ctx))
		})
	}
}

// BenchmarkReadCached is a read that is served from the cache.
func BenchmarkReadCached(b *testing.B) {
	sb := testSuper()
	j := open(b, config(sb, fresh(sb, 64)))
	for i := range 64 {
		read(b, j, 1, meta(sb, i))
	}
	b.ResetTimer()
	for i := range b.N {
		read(b, j, 1, meta(sb, i%64))
	}
}

// TestGoroutines is for the race detector: everything at once on real goroutines.
func TestGoroutines(t *testing.T) {
	sb := testSuper()
	dev := fresh(sb, 4)
	c := config(sb, dev)
	c.CacheBytes = 1
	j := open(t, c)
	const workers, rounds = 8, 60
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			owner := uint64(w + 1)
			for i := range rounds {
				mine := meta(sb, 10+w*40+i%40)
				x := j.Begin()
				x.Write(mine, owner, node(sb, mine, uint64(i)))
				if _, err := x.Read(ctx, meta(sb, 0), ondisk.TypeNode, 100); err != nil {
					t.Error(err)
					return
				}
				x.Update(meta(sb, 0), 100, addValue(1))
				if i%5 == 4 {
					x.Free(meta(sb, 10+w*40+(i-2)%40))
				}
				if i%3 == 0 {
					x.Ordered()
				}
				x.OnDurable(func() { j.Peek(mine) })
				seq, err := x.Publish(ctx)
				for _, next := range []func() error{
					func() error { return err }, func() error { return j.Sync(ctx, seq) }, func() error { return j.Barrier(ctx) },
					func() error { return j.FlushOwner(ctx, owner) }, func() error { return j.Drop(owner) },
				} {
					if err := next(); err != nil {
						t.Error(err)
						return
					}
				}
				j.Stats()
				j.HasDirty(100)
			}
		})
	}
	wg.Wait()
	require.NoError(t, j.Close(ctx))
	require.EqualValues(t, workers*rounds, home(t, dev, sb, meta(sb, 0)))
}
