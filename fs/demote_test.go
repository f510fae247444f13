package fs

import (
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/ondisk/sched/simsched"
)

// told reports what the kernel of a node was told to forget, and starts anew.
func (k *fakeKernel) told() (attrs, data []Ino) {
	k.mu.Lock()
	defer k.mu.Unlock()
	attrs, data = k.attrs, k.data
	k.attrs, k.data = nil, nil
	return attrs, data
}

// TestDemotionEmptiesTheKernel changes things on one node that the kernel of another has cached: the root, which nobody
// ever looked up, a directory and a file.
func TestDemotionEmptiesTheKernel(t *testing.T) {
	r := newRig(t, rigOptions{nodes: 2})
	a, b := r.nodes[0], r.nodes[1]
	b.attr(rootIno)
	b.kern.told()
	d := a.mkdir(rootIno, "d")
	attrs, _ := b.kern.told()
	assert.Contains(t, attrs, Ino(rootIno))

	_, err := b.lookup(rootIno, "d")
	require.NoError(t, err)
	f, file := a.create(d.Ino, "f")
	attrs, _ = b.kern.told()
	assert.Contains(t, attrs, d.Ino)

	_, err = b.lookup(d.Ino, "f")
	require.NoError(t, err)
	a.write(file, []byte("new"), 0)
	_, data := b.kern.told()
	assert.Contains(t, data, f.Ino)
	a.close(file)

	// What the kernel does not know it need not be told.
	b.attr(f.Ino)
	b.Forget(f.Ino, 1)
	mode := uint32(0o600)
	require.NoError(t, a.Setattr(bg, root, f.Ino, SetAttr{Mode: &mode}, func(Attr) {}))
	_, data = b.kern.told()
	assert.NotContains(t, data, f.Ino)
}

// TestPageReadsDuringDemotion reads pages while the kernel is being told to drop them, as a kernel does that keeps a page
// locked until it is read. The reads must be answered, and the pages they may have brought back dropped again.
func TestPageReadsDuringDemotion(t *testing.T) {
	s := simsched.New(3)
	r := newRig(t, rigOptions{nodes: 2, sched: s})
	a, b := r.nodes[0], r.nodes[1]
	r.do(func() {
		at, file := a.create(rootIno, "f")
		a.write(file, pattern(1, 100_000), 0)
		_, err := b.lookup(rootIno, "f")
		require.NoError(t, err)
		rd := b.open(at.Ino, syscall.O_RDONLY)
		reads, passes := 0, 0
		b.kern.onData = func(ino Ino) {
			if ino != at.Ino {
				return
			}
			if passes++; passes > 3 {
				return
			}
			// The page that is being dropped is locked by a read that has not been answered yet.
			ev := s.NewEvent()
			s.Go("page read", func() {
				defer ev.Set()
				assert.NoError(t, rd.Read(bg, make([]byte, 4096), 0, true, func(int) { reads++ }))
			})
			assert.NoError(t, ev.Wait(bg))
		}
		require.NoError(t, rd.Read(bg, make([]byte, 4096), 0, true, func(int) {}))
		a.write(file, []byte("x"), 0)
		assert.Equal(t, 3, reads)
		assert.Equal(t, 4, passes)
		assert.Equal(t, byte('x'), b.read(rd, 0, 1)[0])
		b.close(rd)
		a.close(file)
	})
}

// TestQuietAlone counts messages: a node that works in its own files sends none once it holds their locks.
func TestQuietAlone(t *testing.T) {
	r := newRig(t, rigOptions{nodes: 3})
	n := r.nodes[0]
	at, f := n.create(rootIno, "f")
	n.write(f, pattern(1, 1<<20), 0)
	require.NoError(t, f.Sync(bg, false))
	sent := func() uint64 { st := n.lm.Stats(); return st.MessagesSent() }
	before := sent()
	for i := range 200 {
		n.write(f, pattern(2, 4096), int64(i)*4096)
		n.read(f, int64(i)*4096, 4096)
		n.attr(at.Ino)
	}
	require.NoError(t, f.Sync(bg, true))
	assert.Equal(t, before, sent())
	n.close(f)
}

// TestIdleLocksAreGivenBack holds many locks under a small limit.
func TestIdleLocksAreGivenBack(t *testing.T) {
	r := newRig(t, rigOptions{nodes: 1, idleLocks: 20})
	n := r.nodes[0]
	var inos []Ino
	for i := range 200 {
		at, f := n.create(rootIno, string(rune('a'+i%26))+string(rune('a'+i/26)))
		n.close(f)
		inos = append(inos, at.Ino)
	}
	for _, ino := range slices.Backward(inos) {
		assert.EqualValues(t, 1, n.attr(ino).Nlink)
	}
	require.Eventually(t, func() bool { return len(n.locks.all()) < 60 }, waitLong, waitTick)
}

// TestWithdrawEndsEverything: after a failed write nothing more is written, and nobody waits for ever.
func TestWithdrawEndsEverything(t *testing.T) {
	r := newRig(t, rigOptions{nodes: 2, noCheck: true})
	a, b := r.nodes[0], r.nodes[1]
	at, f := a.create(rootIno, "f")
	require.NoError(t, a.SyncAll(bg))
	var once sync.Once
	var reason error
	a.cfg.OnWithdraw = func(err error) { once.Do(func() { reason = err }) }
	a.Withdraw(assert.AnError)
	_, err := f.Write(bg, []byte("x"), 0)
	assert.ErrorIs(t, err, ErrWithdrawn)
	assert.ErrorIs(t, a.Getattr(bg, at.Ino, func(Attr) {}), ErrWithdrawn)
	assert.ErrorIs(t, a.Mkdir(bg, root, rootIno, "d", 0o755, func(Attr) {}), ErrWithdrawn)
	assert.ErrorIs(t, a.SyncAll(bg), ErrWithdrawn)
	assert.ErrorIs(t, f.Sync(bg, true), ErrWithdrawn)
	assert.ErrorIs(t, reason, assert.AnError)
	assert.Equal(t, syscall.EIO, Errno(err))
	_ = b // goes on waiting for what a held: only the death of a's node frees it
	for _, n := range r.nodes {
		n.lm.Stop()
	}
}
