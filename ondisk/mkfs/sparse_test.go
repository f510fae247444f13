package mkfs_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/covol/covol/ondisk/blockdev/filedev"
	"github.com/covol/covol/ondisk/mkfs"
)

// openFile makes a sparse file in dir, whose file system must be able to hold one of that size.
func openFile(t *testing.T, dir string, size int64) *filedev.Device {
	t.Helper()
	f, err := os.CreateTemp(dir, "covol-*.img")
	require.NoError(t, err)
	path := f.Name()
	t.Cleanup(func() { _ = os.Remove(path) })
	defer func() { require.NoError(t, f.Close()) }()
	if err := f.Truncate(size); err != nil {
		t.Skipf("SKIP: the file system of %s holds no file of %d bytes: %v", dir, size, err)
	}
	dev, err := filedev.Open(path, filedev.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, dev.Close()) })
	t.Cleanup(func() {
		st, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, size, st.Size())
		require.Less(t, written(st), int64(64<<20), "the file is not sparse any more")
	})
	return dev
}

func TestLargeVolumesStaySparse(t *testing.T) {
	for _, c := range []struct {
		dir  string
		size int64
	}{
		{t.TempDir(), 16*tib - 4096}, // where files of ext4 end
		{"/dev/shm", 64 * tib},
	} {
		t.Run(c.dir, func(t *testing.T) {
			if _, err := os.Stat(c.dir); err != nil {
				t.Skipf("SKIP: no %s", c.dir)
			}
			dev := openFile(t, c.dir, c.size)
			began := time.Now()
			s, err := mkfs.Format(context.Background(), dev, fixed())
			require.NoError(t, err)
			t.Logf("%d TiB in %v", (c.size+4096)/tib, time.Since(began))
			checkVolume(t, dev, s)
		})
	}
}
