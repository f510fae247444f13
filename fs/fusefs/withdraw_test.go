package fusefs_test

import (
	"context"
	"encoding/binary"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/fs"
	"github.com/covol/covol/fs/fusefs"
	"github.com/covol/covol/fs/fusefs/memfs"
)

// TestWithdraw: the kernel is told to forget every inode, and a request that does not come back is noticed, in time.
func TestWithdraw(t *testing.T) {
	n := memfs.NewStore().NewNode()
	r := newRig(t, n)
	nodes := map[uint64]bool{fusefs.RootNode: true}
	for _, name := range []string{"a", "b", "c"} {
		a := r.do(fusefs.Request{Op: fusefs.OpMkdir, Node: fusefs.RootNode, Name: name, Mode: 0o755})
		require.Zero(t, a.errno)
		nodes[binary.LittleEndian.Uint64(a.body)] = true
	}
	require.True(t, r.s.Withdraw(time.Minute))
	require.Eventually(t, func() bool { return len(r.kern.seen()) == 2*len(nodes) }, time.Minute, time.Millisecond)
	attrs, pages := map[uint64]bool{}, map[uint64]bool{}
	for _, c := range r.kern.take() {
		if c.off < 0 {
			attrs[c.node] = true
		} else {
			pages[c.node] = true
		}
	}
	assert.Equal(t, nodes, attrs)
	assert.Equal(t, nodes, pages)

	arrived, free := make(chan struct{}), make(chan struct{})
	n.Hook = func(_ context.Context, op string, _ fs.Ino) error {
		if op == "getattr" {
			close(arrived)
			<-free
		}
		return syscall.EIO
	}
	done := make(chan *answer)
	go func() { done <- r.do(fusefs.Request{Op: fusefs.OpGetattr, Node: fusefs.RootNode}) }()
	<-arrived
	require.False(t, r.s.Withdraw(0), "it does not come back")
	close(free)
	require.Equal(t, syscall.EIO, (<-done).errno)
	require.True(t, r.s.Withdraw(0))
}

func (k *kernel) seen() []call {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.calls
}
