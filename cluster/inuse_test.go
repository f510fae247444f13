package cluster

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func (w *world) inUse(machine int) (names []string, took time.Duration) {
	p := &proc{w: w, machine: machine, host: 999}
	var host HostLocks
	m := Machine{}
	if machine != 0 {
		host, m = &lockTable{p}, Machine{Host: [16]byte{9, byte(machine)}, Boot: [16]byte{8, byte(machine)}}
	}
	done, begin := false, w.s.Now()
	w.s.Go("tool", func() {
		var err error
		names, err = inUse(context.Background(), w.s, w.disk.Path(999), w.sb, host, m)
		require.NoError(w.t, err)
		done = true
	})
	w.run(patience, "answer", func() bool { return done })
	return names, w.s.Now() - begin
}

func TestInUse(t *testing.T) {
	w := newWorld(t, 1, 3, true)
	names, took := w.inUse(1)
	assert.Empty(t, names)
	assert.Less(t, took, w.sb.Profile.Heartbeat)

	a, b := w.settled("a", 1), w.settled("b", 0)
	names, _ = w.inUse(1)
	assert.Equal(t, []string{"a", "b"}, names)
	names, _ = w.inUse(0)
	assert.Equal(t, []string{"a", "b"}, names)

	a.leave()
	b.kill(0)
	w.run(patience, "leave", func() bool { return a.left })
	names, took = w.inUse(1)
	assert.Empty(t, names)
	assert.GreaterOrEqual(t, took, w.sb.Profile.Wait(), "another machine's death is proven by waiting")

	c := w.settled("c", 1)
	c.kill(0)
	names, took = w.inUse(1)
	assert.Empty(t, names)
	assert.Less(t, took, w.sb.Profile.Lease, "this machine's by the lock")
	w.check()
}
