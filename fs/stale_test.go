package fs

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestStaleNumberLeavesTheCacheAlone asks for the inode under the number of a block that is a node of a directory's tree
// here, as a kernel with an old number may. The node must still be dropped with the lock of the directory.
func TestStaleNumberLeavesTheCacheAlone(t *testing.T) {
	r := newRig(t, rigOptions{nodes: 2})
	a, b := r.nodes[0], r.nodes[1]
	d := a.mkdir(rootIno, "d")
	for i := range 400 {
		_, f := a.create(d.Ino, fmt.Sprintf("name-%d", i))
		a.close(f)
	}
	require.Len(t, b.names(d.Ino), 400)
	require.NoError(t, b.with(bg, d.Ino, useShared, func(n *inode) error {
		root := treeRoot(n.record())
		require.Positive(t, root.Level())
		for i := range root.Count() {
			require.ErrorIs(t, b.Getattr(bg, root.Child(i), func(Attr) {}), ErrStale)
		}
		return nil
	}))
	for i := range 5 {
		_, f := a.create(d.Ino, fmt.Sprintf("other-%d", i))
		a.close(f)
	}
	require.ElementsMatch(t, a.names(d.Ino), b.names(d.Ino))
}
