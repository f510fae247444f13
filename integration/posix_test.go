package integration

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/covol/covol/fs/posixtest"
)

// TestPosix holds the mount of one node to what Linux programs expect of a directory.
func TestPosix(t *testing.T) {
	l := newLab(t, labOptions{nodes: 1})
	for name, fn := range posixtest.All {
		t.Run(name, func(t *testing.T) {
			dir := l.nodes[0].path("all-" + name)
			require.NoError(t, os.Mkdir(dir, 0o755))
			fn(t, dir)
		})
	}
}

// TestPosixPair holds two nodes to one filesystem: what one has finished the other sees.
func TestPosixPair(t *testing.T) {
	l := newLab(t, labOptions{nodes: 2})
	for name, fn := range posixtest.AllPair {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, os.Mkdir(l.nodes[0].path("pair-"+name), 0o755))
			fn(t, l.nodes[0].path("pair-"+name), l.nodes[1].path("pair-"+name))
		})
	}
}

// TestPosixAcross runs the tests of one mount on a node while another walks over everything, so that no lock stays
// where it is.
func TestPosixAcross(t *testing.T) {
	l := newLab(t, labOptions{nodes: 2})
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				walk(l.nodes[1].dir)
			}
		}
	}()
	t.Cleanup(func() { close(stop); <-done })
	for name, fn := range posixtest.All {
		t.Run(name, func(t *testing.T) {
			dir := l.nodes[0].path("across-" + name)
			require.NoError(t, os.Mkdir(dir, 0o755))
			fn(t, dir)
		})
	}
}
