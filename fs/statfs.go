package fs

import (
	"context"

	"github.com/covol/covol/ondisk"
)

// Statfs tells the space of the volume. What other nodes took within the last moments may be missing.
func (v *Volume) Statfs(ctx context.Context) (Statfs, error) {
	if err := v.failed(); err != nil {
		return Statfs{}, err
	}
	free, inodes, err := v.space.sum(ctx)
	if err != nil {
		return Statfs{}, err
	}
	// Every free cluster could hold records, so that is how many more inodes fit.
	more := free * uint64(v.sb.ClusterBlocks())
	return Statfs{
		BlockSize: v.sb.ClusterSize, Blocks: v.sb.Blocks / uint64(v.sb.ClusterBlocks()), Free: free,
		Files: inodes + more, FreeFiles: more, NameMax: ondisk.MaxName, VolumeUUID: v.sb.UUID, VolumeLabel: v.sb.Label,
	}, nil
}
