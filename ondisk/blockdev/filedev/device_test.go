package filedev_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/blockdev/devtest"
	"github.com/covol/covol/ondisk/blockdev/filedev"
)

// newFile makes a sparse file in dir and returns its path.
func newFile(t *testing.T, dir string, size int64) string {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "lun.img"))
	require.NoError(t, err)
	require.NoError(t, f.Truncate(size))
	require.NoError(t, f.Close())
	return f.Name()
}

func open(t *testing.T, path string, o filedev.Options) *filedev.Device {
	t.Helper()
	d, err := filedev.Open(path, o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	return d
}

func TestConformance(t *testing.T) {
	for _, c := range []struct {
		name string
		opts filedev.Options
	}{
		{"direct", filedev.Options{}},
		{"direct, threads", filedev.Options{NoUring: true}},
		{"direct, short queue", filedev.Options{QueueDepth: 2}},
		{"buffered", filedev.Options{NoDirect: true}},
		{"buffered, threads", filedev.Options{NoDirect: true, NoUring: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			devtest.Run(t, func(t *testing.T) blockdev.Device {
				return open(t, newFile(t, t.TempDir(), devtest.Size), c.opts)
			})
		})
	}
}
