package fusefs_test

import (
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/covol/covol/fs/fusefs"
	"github.com/covol/covol/fs/fusefs/memfs"
)

func TestInvalidate(t *testing.T) {
	n := memfs.NewStore().NewNode()
	r := newRig(t, n)
	node, _ := r.create("f", 0)
	require.NoError(t, r.s.InvalidateAttr(node))
	require.NoError(t, r.s.InvalidateData(node))
	require.NoError(t, r.s.InvalidateAttr(n.Root()))
	require.NoError(t, r.s.InvalidateAttr(4711), "the kernel was never told of it")
	require.Equal(t, []call{{node, -1, 0}, {node, 0, -1}, {fusefs.RootNode, -1, 0}}, r.kern.take())

	broken := errors.New("broken")
	r.kern.answer = func(uint64, int) error { return broken }
	require.ErrorIs(t, r.s.InvalidateAttr(node), broken)
	r.s.End()
	require.NoError(t, r.s.InvalidateAttr(node), "no kernel, no caches")
	r.s.Close()
	require.NoError(t, r.s.InvalidateData(node))
}

// TestInvalidateWaits is trap 4: an inode the kernel has been told of and does not know is waited for.
func TestInvalidateWaits(t *testing.T) {
	r := newRig(t, memfs.NewStore().NewNode())
	node, _ := r.create("f", 0)
	r.kern.answer = func(_ uint64, n int) error {
		if n < 8 {
			return fusefs.ErrNotCached
		}
		return nil
	}
	require.NoError(t, r.s.InvalidateAttr(node))
	require.Len(t, r.kern.take(), 8)

	// Or until the kernel gives it back.
	r.kern.answer = func(_ uint64, n int) error {
		if n == 3 {
			r.s.Handle(&fusefs.Request{Op: fusefs.OpForget, Forget: []fusefs.Forget{{Node: node, N: 1}}}, &answer{})
		}
		return fusefs.ErrNotCached
	}
	require.NoError(t, r.s.InvalidateAttr(node))
	require.Len(t, r.kern.take(), 3)
}

// TestInvalidateFrozen: a process that does not take its answer delays an invalidation, but not for ever, and is caught
// later.
func TestInvalidateFrozen(t *testing.T) {
	r := newRig(t, memfs.NewStore().NewNode())
	node, _ := r.create("f", 0)
	thawed, caught := make(chan struct{}), make(chan struct{})
	r.kern.answer = func(uint64, int) error {
		select {
		case <-thawed:
			close(caught)
			return nil
		default:
			return fusefs.ErrNotCached
		}
	}
	require.NoError(t, r.s.InvalidateData(node))
	close(thawed)
	select {
	case <-caught:
	case <-time.After(10 * time.Second):
		require.Fail(t, "forgotten")
	}
}

// TestWriteDropsPages is trap 7: a write past the page cache costs a notification only while pages may be cached.
func TestWriteDropsPages(t *testing.T) {
	r := newRig(t, memfs.NewStore().NewNode())
	node, w := r.create("f", syscall.O_RDWR)
	write := func(h uint64) []call {
		r.kern.take()
		r.ok(fusefs.Request{Op: fusefs.OpWrite, Node: node, Handle: h, Offset: 5000, Data: []byte("abc")})
		return r.kern.take()
	}
	open := func(flags uint32) uint64 {
		return u64(r.ok(fusefs.Request{Op: fusefs.OpOpen, Node: node, Flags: flags}), 0)
	}
	page := func(h uint64) {
		r.ok(fusefs.Request{Op: fusefs.OpRead, Node: node, Handle: h, Length: 4096, Page: true})
	}
	require.Empty(t, write(w), "nobody has read")
	ro := open(syscall.O_RDONLY)
	require.Empty(t, write(w), "nobody has read yet")
	r.ok(fusefs.Request{Op: fusefs.OpRead, Node: node, Handle: w, Length: 4096})
	require.Empty(t, write(w), "past the page cache")
	page(ro)
	require.Equal(t, []call{{node, 5000, 3}}, write(w))
	require.Equal(t, []call{{node, 5000, 3}}, write(w), "there may be others")
	r.ok(fusefs.Request{Op: fusefs.OpFallocate, Node: node, Handle: w, Offset: 100, Length: 200})
	require.Equal(t, []call{{node, 100, 200}}, r.kern.take())

	ap := open(syscall.O_WRONLY | syscall.O_APPEND)
	require.Equal(t, []call{{node, 0, -1}, {node, -1, 0}}, write(ap), "it went elsewhere, and so did the size")
	r.ok(fusefs.Request{Op: fusefs.OpRelease, Handle: ro})
	require.Equal(t, []call{{node, 0, -1}}, write(w), "no reader left: all go")
	require.Empty(t, write(w))
	require.Equal(t, []call{{node, -1, 0}}, write(ap))

	page(w) // a private mapping of a file open for writing
	require.NoError(t, r.s.InvalidateData(node))
	require.Empty(t, write(w), "given away and had again")
}
