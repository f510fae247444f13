package posixtest

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// places are local filesystems that are known to be right: what fails on them is wrong with the tests.
func places(t *testing.T) map[string]string {
	dirs := map[string]string{"tmp": t.TempDir()}
	if d, err := os.MkdirTemp("/dev/shm", "posixtest"); err == nil {
		t.Cleanup(func() { require.NoError(t, os.RemoveAll(d)) })
		dirs["shm"] = d
	}
	return dirs
}

func each(t *testing.T, fn func(t *testing.T, dir string)) {
	for where, base := range places(t) {
		t.Run(where, func(t *testing.T) {
			dir, err := os.MkdirTemp(base, "test")
			require.NoError(t, err)
			fn(t, dir)
		})
	}
}

func TestAll(t *testing.T) {
	for name, fn := range All {
		t.Run(name, func(t *testing.T) { each(t, func(t *testing.T, dir string) { fn(t, dir) }) })
	}
}

func TestAllPair(t *testing.T) {
	for name, fn := range AllPair {
		t.Run(name, func(t *testing.T) { each(t, func(t *testing.T, dir string) { fn(t, dir, dir) }) })
	}
}
