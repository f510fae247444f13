package journal

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/covol/covol/ondisk"
)

func TestPublishSyncReplay(t *testing.T) {
	sb := testSuper()
	dev := fresh(sb, 4)
	j := open(t, config(sb, dev))
	a, b := meta(sb, 0), meta(sb, 1)
	assert.EqualValues(t, 0, read(t, j, 1, a))
	seq := write(t, j, 1, 5, a, b)
	assert.EqualValues(t, 5, read(t, j, 1, a))
	require.NoError(t, j.Sync(ctx, seq))
	assert.EqualValues(t, 0, home(t, dev, sb, a), "J1: not home yet")
	write(t, j, 1, 6, a) // published, never durable

	crash := dev.Clone()
	_, err := Open(ctx, config(sb, crash))
	require.ErrorIs(t, err, ErrDirty)
	st := replayed(t, sb, crash, 0)
	assert.Equal(t, 1, st.Groups)
	assert.Equal(t, 2, st.Applied)
	assert.EqualValues(t, 5, home(t, crash, sb, a))
	assert.EqualValues(t, 5, home(t, crash, sb, b))
	st = replayed(t, sb, crash, 0)
	assert.True(t, st.Clean)

	require.NoError(t, j.Close(ctx))
	assert.EqualValues(t, 6, home(t, dev, sb, a))
	assert.True(t, replayed(t, sb, dev, 0).Clean)
	_, err = j.Read(ctx, a, ondisk.TypeNode, 1)
	require.ErrorIs(t, err, ErrStopped)
	_, err = Open(ctx, config(sb, dev))
	require.ErrorIs(t, err, ErrStale)
}

func TestWrapAndCheckpoint(t *testing.T) {
	sb := testSuper()
	dev := fresh(sb, 0)
	j := open(t, config(sb, dev))
	for i := range 400 {
		seq := write(t, j, 1, uint64(i), meta(sb, i%40), meta(sb, 41), meta(sb, 50+i%7))
		if i%3 == 0 {
			require.NoError(t, j.Sync(ctx, seq))
		}
	}
	require.NoError(t, j.SyncAll(ctx))
	assert.NotZero(t, j.Stats().Checkpoints)
	crash := dev.Clone()
	replayed(t, sb, crash, 0)
	for i := 360; i < 400; i++ {
		assert.EqualValues(t, i, home(t, crash, sb, meta(sb, i%40)))
	}
	assert.EqualValues(t, 399, home(t, crash, sb, meta(sb, 41)))
	require.NoError(t, j.Close(ctx))
}
