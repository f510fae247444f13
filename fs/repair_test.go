package fs

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/covol/covol/cluster/view"
	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/blockdev/memdev"
	"github.com/covol/covol/ondisk/check"
	"github.com/covol/covol/ondisk/check/checktest"
)

// remount mounts the volume again on one node, in a later life.
func (r *rig) remount(inc view.Incarnation) *rigNode {
	n := &rigNode{r: r, id: view.NodeID{Slot: 0, Incarnation: inc}}
	r.nodes = []*rigNode{n}
	n.start(r.dev)
	r.views()
	n.mount()
	return n
}

// TestRepairedVolumeWorks: whatever the damage was, the filesystem works on what a repair leaves, and leaves it clean.
func TestRepairedVolumeWorks(t *testing.T) {
	dev := memdev.New(blockdev.Geometry{SectorSize: 512, Size: 256 << 20}, nil)
	r := newRig(t, rigOptions{nodes: 1, dev: dev, noCheck: true})
	n := r.nodes[0]
	var dirs []Ino
	for i := range 4 {
		d := n.mkdir(rootIno, fmt.Sprintf("d%d", i))
		dirs = append(dirs, d.Ino)
		for j := range 60 {
			_, f := n.create(d.Ino, fmt.Sprintf("file %d of a directory that has some nodes", j))
			n.write(f, pattern(uint64(j), 1+j*1000), int64(j)*100_000)
			n.close(f)
		}
	}
	r.stop()
	checktest.MustBeClean(t, dev)
	var meta []uint64
	for _, p := range dev.Image().Pages() {
		b := make([]byte, ondisk.BlockSize)
		require.NoError(t, dev.ReadAt(bg, b, int64(p)*ondisk.BlockSize))
		if ondisk.CheckHeader(b, ondisk.GetHeader(b).Type, uint64(p), r.sb.UUID) == nil && uint64(p) >= r.sb.GroupStart || p == ondisk.RootBlock {
			meta = append(meta, uint64(p))
		}
	}
	whole := dev
	for seed := range uint64(8) {
		dev := whole.Clone()
		rng := rand.New(rand.NewPCG(seed, 5))
		for range 1 + rng.IntN(6) {
			b := make([]byte, ondisk.BlockSize)
			if rng.IntN(2) == 0 {
				require.NoError(t, dev.ReadAt(bg, b, int64(meta[rng.IntN(len(meta))])*ondisk.BlockSize))
			}
			require.NoError(t, dev.WriteAt(bg, b, int64(meta[rng.IntN(len(meta))])*ondisk.BlockSize, false))
		}
		rep, err := check.Repair(context.Background(), dev, check.RepairOptions{})
		require.NoError(t, err, "seed %d", seed)
		require.Empty(t, rep.Stuck, "seed %d", seed)

		r.dev = dev
		n := r.remount(view.Incarnation(10 + seed))
		for _, d := range append(dirs, rootIno) {
			in, err := n.OpenDir(bg, d)
			if err != nil {
				continue // the directory is gone, or its number is another inode's
			}
			in.Release()
			names := n.names(d)
			for i, name := range names {
				a, err := n.lookup(d, name)
				require.NoError(t, err, "seed %d: %s", seed, name)
				if a.Mode&0o170000 == 0o100000 && i%2 == 0 {
					f := n.open(a.Ino, 2)
					n.write(f, []byte("written again"), 1<<20)
					n.close(f)
					require.NoError(t, n.Unlink(bg, root, d, name), "seed %d", seed)
				}
			}
			require.False(t, slices.Contains(names, "new"))
			_, f := n.create(d, "new")
			n.write(f, pattern(seed, 200_000), 0)
			n.close(f)
		}
		r.stop()
		checktest.MustBeClean(t, dev)
	}
	r.nodes = nil
}
