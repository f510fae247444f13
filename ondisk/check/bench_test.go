package check_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/check"
	"github.com/covol/covol/ondisk/mkfs"
)

// BenchmarkManyFiles checks a volume of 4 GiB with 200,000 files in 200 directories and in one.
func BenchmarkManyFiles(b *testing.B) {
	const files = 200_000
	for name, dirs := range map[string]int{"one directory": 1, "200 directories": 200} {
		b.Run(name, func(b *testing.B) {
			v := newVolSize(b, 4<<30, mkfs.Options{ClusterSize: 4 << 10})
			for d := range dirs {
				parent := v.dir(ondisk.RootBlock, fmt.Sprint(d))
				for i := range files / dirs {
					n := v.make(parent, fmt.Sprintf("file %d", i), 0o100644)
					n.in.Body, n.in.Size = ondisk.BodyExtents, 4096
					n.extents = []ondisk.Extent{{Physical: v.clusters(uint32(8+i%4), 1), Length: 1}}
				}
			}
			v.write()
			b.ReportAllocs()
			for b.Loop() {
				r, err := check.Check(context.Background(), v.dev, check.Options{})
				require.NoError(b, err)
				require.True(b, r.Clean(), "%v", r.Findings[:min(3, len(r.Findings))])
			}
		})
	}
}

// BenchmarkFresh64TiB checks an empty volume of the largest size.
func BenchmarkFresh64TiB(b *testing.B) {
	dev, _ := format(b, ondisk.MaxVolume, mkfs.Options{})
	for b.Loop() {
		_, err := check.Check(context.Background(), dev, check.Options{})
		require.NoError(b, err)
	}
}
