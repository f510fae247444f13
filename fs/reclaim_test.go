package fs

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/covol/covol/ondisk/sched/simsched"
)

// TestReclaimWhileOpened deletes a file on one node and opens it, by the number that its kernel knows, on another, which
// so has the inode's lock but not yet the open lock, when the last other user closes. The one that reclaims must not
// hold the one lock while it waits for the other.
func TestReclaimWhileOpened(t *testing.T) {
	s := simsched.New(1)
	r := newRig(t, rigOptions{nodes: 3, sched: s})
	a, b, c := r.nodes[0], r.nodes[1], r.nodes[2]
	r.do(func() {
		attr, f := a.create(rootIno, "f")
		a.write(f, make([]byte, 100_000), 0)
		a.close(f)
		_, err := b.lookup(rootIno, "f")
		require.NoError(t, err)
		elsewhere, err := c.locks.lock(bg, openRes(attr.Ino), useShared) // as if open there
		require.NoError(t, err)

		require.NoError(t, a.Unlink(bg, root, rootIno, "f"))
		require.NoError(t, s.Sleep(bg, time.Second))
		open, err := b.Open(bg, root, attr.Ino, 0)
		require.NoError(t, err)
		elsewhere.unlock()
		require.NoError(t, s.Sleep(bg, time.Second))
		require.Len(t, b.read(open, 0, 1000), 1000, "what is open is there")
		b.close(open)

		ctx, cancel := s.WithTimeout(bg, time.Minute)
		defer cancel()
		for {
			pending, err := a.orphans.pending(ctx)
			require.NoError(t, err)
			if len(pending) == 0 {
				return
			}
			require.NoError(t, s.Sleep(ctx, 100*time.Millisecond), "the deleted file is never given back")
		}
	})
}
