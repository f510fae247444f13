package devtest

import (
	"bytes"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/ondisk/blockdev"
)

// batch submits ops and waits for all of them; it returns their errors in order.
func batch(s blockdev.Submitter, ops []blockdev.Op) []error {
	errs := make([]error, len(ops))
	var wg sync.WaitGroup
	for i := range ops {
		wg.Add(1)
		ops[i].Done = func(err error) {
			errs[i] = err
			wg.Done()
		}
	}
	s.Submit(ops)
	wg.Wait()
	return errs
}

func testSubmit(t *testing.T, d blockdev.Device, s blockdev.Submitter) {
	ss := d.Geometry().SectorSize
	model := make([]byte, Size)
	var ops []blockdev.Op
	for i := range Size / (4 * ss) { // more than any queue is deep
		p := pattern(uint64(i), 4*ss)
		if i%5 == 0 { // not aligned
			q := blockdev.Alloc(4*ss + 3)[3:]
			copy(q, p)
			p = q
		}
		copy(model[i*4*ss:], p)
		ops = append(ops, blockdev.Op{Kind: blockdev.OpWrite, Buf: p, Off: int64(i * 4 * ss), FUA: i%100 == 0})
	}
	for i, err := range batch(s, ops) {
		require.NoError(t, err, "write %d", i)
	}
	require.NoError(t, batch(s, []blockdev.Op{{Kind: blockdev.OpFlush}})[0])
	require.True(t, bytes.Equal(model, read(t, d, 0, Size)))

	ops = ops[:0]
	got := blockdev.Alloc(Size)
	for off := 0; off < Size; off += 4 * ss {
		ops = append(ops, blockdev.Op{Kind: blockdev.OpRead, Buf: got[off : off+4*ss], Off: int64(off)})
	}
	for i, err := range batch(s, ops) {
		require.NoError(t, err, "read %d", i)
	}
	require.True(t, bytes.Equal(model, got))
	testChains(t, s, ss)
	testBegin(t, d, s)
}

// testChains submits from Done and from several goroutines at once, with a lock held that Done takes.
func testChains(t *testing.T, s blockdev.Submitter, ss int) {
	const chains, links = 8, 20
	var wg sync.WaitGroup
	var mu sync.Mutex
	var done atomic.Int64
	for c := range chains {
		wg.Add(1)
		buf := blockdev.Alloc(ss)
		var next func(n int)
		next = func(n int) {
			if n == links {
				wg.Done()
				return
			}
			kind := []blockdev.OpKind{blockdev.OpWrite, blockdev.OpRead, blockdev.OpFlush}[n%3]
			mu.Lock()
			defer mu.Unlock()
			s.Submit([]blockdev.Op{{Kind: kind, Buf: buf, Off: int64(c * ss), Done: func(err error) {
				mu.Lock()
				done.Add(1)
				mu.Unlock()
				if !assert.NoError(t, err) {
					wg.Done()
					return
				}
				next(n + 1)
			}}})
		}
		go next(0)
	}
	wg.Wait()
	assert.EqualValues(t, chains*links, done.Load(), "Done must be called once for each operation")
}

func testSubmitErrors(t *testing.T, d blockdev.Device) {
	s := blockdev.NewSubmitter(d)
	ss := int64(d.Geometry().SectorSize)
	ok := pattern(1, int(ss))
	errs := batch(s, []blockdev.Op{
		{Kind: blockdev.OpWrite, Buf: ok, Off: 0},
		{Kind: blockdev.OpRead, Buf: blockdev.Alloc(int(ss)), Off: Size},
		{Kind: blockdev.OpWrite, Buf: blockdev.Alloc(int(ss)), Off: 1},
		{Kind: blockdev.OpWrite, Buf: blockdev.Alloc(int(ss) - 1), Off: ss},
		{Kind: blockdev.OpRead, Buf: nil, Off: 0},
		{Kind: blockdev.OpKind(77), Buf: blockdev.Alloc(int(ss))},
	})
	assert.NoError(t, errs[0])
	assert.ErrorIs(t, errs[1], blockdev.ErrRange)
	assert.ErrorIs(t, errs[2], blockdev.ErrRange)
	assert.ErrorIs(t, errs[3], blockdev.ErrRange)
	assert.NoError(t, errs[4])
	assert.ErrorIs(t, errs[5], blockdev.ErrRange)
	s.Submit(nil)
	assert.Equal(t, ok, read(t, d, 0, int(ss)))
}

// testBegin lets half of a burst begin: what may not leaves the medium as it was, and says so.
func testBegin(t *testing.T, d blockdev.Device, s blockdev.Submitter) {
	ss := d.Geometry().SectorSize
	burst := min(400, Size/ss) // more than any queue is deep
	before := blockdev.Alloc(burst * ss)
	require.NoError(t, d.WriteAt(t.Context(), before, 0, false))
	var begun atomic.Int64
	ops := make([]blockdev.Op, burst)
	refused := make([]bool, burst)
	for i := range ops {
		ops[i] = blockdev.Op{Kind: blockdev.OpWrite, Buf: pattern(uint64(i), ss), Off: int64(i * ss), Begin: func() bool {
			refused[i] = begun.Add(1) > int64(burst)/2
			return !refused[i]
		}}
	}
	for i, err := range batch(s, ops) {
		want := ops[i].Buf
		if refused[i] {
			assert.ErrorIs(t, err, blockdev.ErrNotBegun)
			want = before[:ss]
		} else {
			assert.NoError(t, err)
		}
		assert.Equal(t, want, read(t, d, int64(i*ss), ss), "operation %d", i)
	}
	assert.GreaterOrEqual(t, begun.Load(), int64(burst), "every operation asks")
}
