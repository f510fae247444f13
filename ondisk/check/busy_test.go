package check_test

import (
	"bytes"
	"context"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/check"
	"github.com/covol/covol/ondisk/check/checktest"
	"github.com/covol/covol/ondisk/mkfs"
)

func TestBusyVolumeIsClean(t *testing.T) {
	v := busy(t, 0)
	v.write()
	before := v.dev.Hash()
	r := checktest.MustBeClean(t, v.dev)
	assert.Equal(t, before, v.dev.Hash(), "K1: check wrote")

	require.Len(t, r.Findings, 1)
	assert.Equal(t, check.BeyondEOF, r.Findings[0].Code)
	assert.Equal(t, "/a/prealloc", r.Findings[0].Where.Path)
	s := r.Stats
	assert.EqualValues(t, 6, s.Dirs, "root, a, b, empty dir, big, and the removed one")
	assert.EqualValues(t, 2, s.Symlinks)
	assert.EqualValues(t, 4, s.Special)
	assert.EqualValues(t, 3, s.Orphans)
	assert.EqualValues(t, 31, s.DeferredFrees)
	assert.EqualValues(t, 15, s.Prealloc)
	assert.EqualValues(t, 3, s.MaxFileTree)
	assert.Greater(t, s.FragmentsPerGiB(), 1.0)
	assert.Equal(t, v.count+1, int64(s.Files+s.Dirs+s.Symlinks+s.Special))
}

func TestClustersOfManySizesAreClean(t *testing.T) {
	for _, size := range []uint32{4 << 10, 8 << 10, 64 << 10, 1 << 20} {
		v := newVolSize(t, 2<<30, mkfs.Options{ClusterSize: size, GroupBlocks: 65536})
		for i := range 40 {
			v.file(ondisk.RootBlock, string(rune('a'+i)), uint32(i%4), 3, 5)
		}
		v.write()
		checktest.MustBeClean(t, v.dev)
	}
}

func TestReportAsTextAndJSON(t *testing.T) {
	v := busy(t, 0)
	v.tweaks[v.inoOf("a", "one")] = func(in *ondisk.Inode) { in.Clusters = 3 }
	v.write()
	r, err := check.Check(context.Background(), v.dev, check.Options{})
	require.NoError(t, err)
	assert.False(t, r.Clean())

	var text bytes.Buffer
	require.NoError(t, r.WriteText(&text, check.Warning))
	assert.Contains(t, text.String(), `error F405: "/a/one", inode`)
	assert.Contains(t, text.String(), "3 clusters are counted, there are 10")
	assert.Contains(t, text.String(), "1 error, 0 warnings")
	assert.NotContains(t, text.String(), "F407", "info was not asked for")

	b, err := json.Marshal(r)
	require.NoError(t, err)
	var out struct {
		Clean    bool
		Findings []struct {
			Code, Severity string
			Where          struct{ Path string }
			Got, Want      int64
		}
		DirtyJournals []int `json:"dirty_journals"`
	}
	require.NoError(t, json.Unmarshal(b, &out))
	assert.False(t, out.Clean)
	assert.NotNil(t, out.DirtyJournals)
	require.Len(t, out.Findings, 2)
	assert.Equal(t, "error", out.Findings[0].Severity)
	assert.EqualValues(t, 3, out.Findings[0].Got)
}
