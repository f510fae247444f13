package store_test

import (
	"bytes"
	"context"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/iscsi/scsi"
	"github.com/covol/covol/iscsi/store"
	"github.com/covol/covol/ondisk/blockdev"
	"github.com/covol/covol/ondisk/blockdev/devtest"
)

var (
	_ scsi.Zeroer = (*store.File)(nil)
	_ scsi.Mapper = (*store.File)(nil)
	_ scsi.Keeper = store.Keeper{}
)

func open(t *testing.T, path string, size int64) *store.File {
	t.Helper()
	f, err := store.Open(path, size)
	require.NoError(t, err)
	return f
}

func TestDevice(t *testing.T) {
	devtest.Run(t, func(t *testing.T) blockdev.Device {
		f := open(t, filepath.Join(t.TempDir(), "lun"), devtest.Size)
		t.Cleanup(func() { assert.NoError(t, f.Close()) })
		return f
	})
}

func TestZeroAndMapped(t *testing.T) {
	ctx := context.Background()
	f := open(t, filepath.Join(t.TempDir(), "lun"), 1<<20)
	defer f.Close()
	mapped, n, err := f.Mapped(ctx, 0)
	require.NoError(t, err)
	if mapped {
		t.Skip("SKIP: this filesystem does not tell holes from data")
	}
	assert.Equal(t, int64(1<<20), n)
	p := blockdev.Alloc(64 << 10)
	copy(p, bytes.Repeat([]byte{7}, len(p)))
	require.NoError(t, f.WriteAt(ctx, p, 64<<10, true))
	mapped, n, err = f.Mapped(ctx, 0)
	require.NoError(t, err)
	assert.Equal(t, [2]any{false, int64(64 << 10)}, [2]any{mapped, n})
	mapped, n, err = f.Mapped(ctx, 64<<10)
	require.NoError(t, err)
	assert.Equal(t, [2]any{true, int64(64 << 10)}, [2]any{mapped, n})
	require.NoError(t, f.Zero(ctx, 64<<10, 64<<10))
	mapped, _, err = f.Mapped(ctx, 64<<10)
	require.NoError(t, err)
	assert.False(t, mapped)
	require.NoError(t, f.ReadAt(ctx, p, 64<<10))
	assert.Equal(t, make([]byte, len(p)), p)
	assert.ErrorIs(t, f.Zero(ctx, 1<<20, 512), blockdev.ErrRange)
}

func TestOneServer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lun")
	f := open(t, path, 1<<20)
	_, err := store.Open(path, 0)
	assert.ErrorIs(t, err, store.ErrInUse)
	require.NoError(t, f.Close())
	f = open(t, path, 1<<20)
	require.NoError(t, f.Close())
	_, err = store.Open(path, 2<<20)
	assert.ErrorContains(t, err, "bytes")
	_, err = store.Open(path+".none", 0)
	assert.Error(t, err)
}

func TestKeeper(t *testing.T) {
	k := store.Keeper{Path: filepath.Join(t.TempDir(), "lun.pr")}
	data, err := k.Load()
	require.NoError(t, err)
	assert.Nil(t, data)
	for _, s := range []string{"one", "two"} {
		require.NoError(t, k.Save([]byte(s)))
		data, err = k.Load()
		require.NoError(t, err)
		assert.Equal(t, s, string(data))
	}
	assert.Error(t, store.Keeper{Path: "/nowhere/x"}.Save(nil))
}
