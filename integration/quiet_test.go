package integration

import (
	"fmt"
	"io"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestQuiet lets a node work alone in its own files while others have the volume mounted too: after the first use of
// each it sends no lock message, because the locks are cached.
func TestQuiet(t *testing.T) {
	l := newLab(t, labOptions{nodes: 3})
	n := l.nodes[0]
	dir := n.path("own")
	require.NoError(t, os.Mkdir(dir, 0o755))
	const files, fileSize = 8, 1 << 20
	var open []*os.File
	for i := range files {
		f, err := os.Create(fmt.Sprintf("%s/file-%d", dir, i))
		require.NoError(t, err)
		defer f.Close()
		_, err = f.Write(make([]byte, fileSize))
		require.NoError(t, err)
		require.NoError(t, f.Sync())
		open = append(open, f)
	}
	work := func(rounds int) {
		block := make([]byte, 4096)
		for k := range rounds {
			f := open[k%files]
			off := int64(k*4096) % fileSize
			_, err := f.WriteAt(block, off)
			require.NoError(t, err)
			_, err = f.ReadAt(block, off)
			require.NoError(t, err)
			_, err = os.Stat(f.Name())
			require.NoError(t, err)
			if k%64 == 0 {
				require.NoError(t, f.Sync())
				list, err := os.ReadDir(dir)
				require.NoError(t, err)
				require.Len(t, list, files)
				in, err := os.Open(f.Name())
				require.NoError(t, err)
				_, err = io.Copy(io.Discard, in)
				require.NoError(t, err)
				in.Close()
			}
		}
	}
	work(2 * files) // the first use
	before := n.counters()
	work(scaled(t, 4000))
	after := n.counters()
	for _, name := range []string{"lock_messages_sent", "lock_messages_received", "remote_grants", "blocking_callbacks"} {
		assert.Zero(t, after[name]-before[name], "%s during work in own files", name)
	}
	assert.Greater(t, after["device_writes"], before["device_writes"], "the work did reach the device")
	assert.Zero(t, after["unexpected"]+after["malformed"], "messages that fit no state")

	// The counters do count: another node's interest costs a hand-over, and coming back another.
	_, err := os.ReadFile(l.nodes[1].path("own", "file-0"))
	require.NoError(t, err)
	work(files)
	again := n.counters()
	assert.Greater(t, again["lock_messages_sent"], after["lock_messages_sent"], "a hand-over takes messages")
	assert.Greater(t, again["blocking_callbacks"], after["blocking_callbacks"], "a hand-over begins with a callback")
}

// TestQuietGrowth lets a node make, fill and remove files in its own directory: space and numbers come from what the
// node holds, so this costs less than a message per file: that of a number which has never been locked.
func TestQuietGrowth(t *testing.T) {
	l := newLab(t, labOptions{nodes: 2})
	n := l.nodes[0]
	dir := n.path("own")
	require.NoError(t, os.Mkdir(dir, 0o755))
	rounds := scaled(t, 2000)
	work := func(rounds int) {
		for k := range rounds {
			path := fmt.Sprintf("%s/f-%d", dir, k)
			require.NoError(t, os.WriteFile(path, make([]byte, 6000), 0o644))
			if k%2 == 1 {
				require.NoError(t, os.Remove(fmt.Sprintf("%s/f-%d", dir, k-1)))
				require.NoError(t, os.Remove(path))
			}
		}
	}
	work(64)
	before := n.counters()
	work(rounds)
	after := n.counters()
	sent := after["lock_messages_sent"] - before["lock_messages_sent"]
	t.Logf("%d files made and removed: %.0f lock messages", rounds, sent)
	assert.Less(t, sent, float64(rounds)/2, "lock messages for files of one's own")
}
