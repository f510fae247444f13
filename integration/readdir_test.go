package integration

import (
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestLargeDirectory fills a directory on one node, lists and counts it on another, and removes it.
func TestLargeDirectory(t *testing.T) {
	total := 60_000
	if testing.Short() {
		total = 20_000
	}
	l := newLab(t, labOptions{nodes: 2, size: "4G"})
	n1, n2 := l.nodes[0], l.nodes[1]
	require.NoError(t, os.Mkdir(n1.path("large"), 0o755))
	lap := time.Now()
	log := func(what string) {
		t.Logf("%d entries %s in %.1f s", total, what, time.Since(lap).Seconds())
		lap = time.Now()
	}
	each := func(n *node, from, to int, do func(path string) error) {
		const workers = 4
		var wg sync.WaitGroup
		for w := range workers {
			wg.Go(func() {
				for i := from + w; i < to && !t.Failed(); i += workers {
					if !assert.NoError(t, do(n.path("large", fmt.Sprintf("entry-%06d", i)))) {
						return
					}
				}
			})
		}
		wg.Wait()
		require.False(t, t.Failed())
	}
	each(n1, 0, total, func(path string) error {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		return f.Close()
	})
	log("created")
	for _, n := range []*node{n2, n1} {
		list := names(t, n.path("large"))
		require.Len(t, list, total, "on %s", n.name)
		for i, name := range list {
			require.Equal(t, fmt.Sprintf("entry-%06d", i), name)
		}
		log("listed on " + n.name)
	}
	// Each file that another node removes changes hands; a tenth of them shows that.
	each(n2, 0, total/10, os.Remove)
	log("of which a tenth was removed on n2")
	each(n1, total/10, total, os.Remove)
	log("of which the others were removed on n1")
	require.Empty(t, names(t, n1.path("large")))
	require.NoError(t, os.Remove(n1.path("large")))
	_, err := os.Stat(n2.path("large"))
	require.ErrorIs(t, err, os.ErrNotExist)
}
