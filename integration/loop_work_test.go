package integration

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"sync"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// work is what runs on one node during a round.
type work struct {
	stop chan struct{}
	over chan struct{} // closed when all has ended

	mu sync.Mutex
	// GUARDED_BY(mu): what failed
	errs []error
}

// begin lets node i work.
func (l *faultLoop) begin(i int) {
	w := &work{stop: make(chan struct{}), over: make(chan struct{})}
	l.work[i] = w
	n, m := l.nodes[i], l.meters[i]
	var wg sync.WaitGroup
	start := func(what string, fn func(*rand.Rand) error) {
		rng := rand.New(rand.NewPCG(l.rng.Uint64(), uint64(i)))
		wg.Go(func() {
			if err := fn(rng); err != nil {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.errs = append(w.errs, fmt.Errorf("%s on %s: %w", what, n.name, err))
			}
		})
	}
	start("files", func(rng *rand.Rand) error {
		for k := 0; !stopped(w.stop); k++ {
			if err := m.time(func() error { return l.books[i].step(n, rng, k) }); err != nil {
				return err
			}
		}
		return nil
	})
	start("sectors", func(rng *rand.Rand) error { return l.regs.sectorClient(n, rng, m, w.stop) })
	start("latches", func(rng *rand.Rand) error { return l.regs.latchClient(n, rng, m, w.stop) })
	start("fio", func(rng *rand.Rand) error {
		for !stopped(w.stop) {
			if err := l.images[i].write(l, rng); err != nil {
				return err
			}
		}
		return nil
	})
	go func() { wg.Wait(); close(w.over) }()
}

// end stops the work of node i, waits for its end and returns what had failed.
func (l *faultLoop) end(i int) []error {
	w := l.work[i]
	if w == nil {
		return nil
	}
	close(w.stop)
	select {
	case <-w.over:
	case <-l.late:
		require.Failf(l.t, "work hangs", "on %s", l.nodes[i].name)
	}
	l.work[i] = nil
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.errs
}

// progress waits until node i has done so many more operations.
func (l *faultLoop) progress(i, more int) {
	l.t.Helper()
	from := l.meters[i].count()
	l.eventually(fmt.Sprintf("%s does %d more operations", l.nodes[i].name, more), func() bool {
		return l.meters[i].count() >= from+more || l.failed(i)
	})
}

// failed reports whether some work of node i has ended by an error.
func (l *faultLoop) failed(i int) bool {
	w := l.work[i]
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.errs) > 0
}

// fioImage is an image that one node writes by fio, again and again, and that others verify.
type fioImage struct {
	owner *node
	// seed of the last pass, 0 if it was not brought to its end: then nobody knows what the image holds
	seed uint32
}

func (f *fioImage) args(n *node, more ...string) []string {
	return append([]string{"--name=image", "--filename=" + n.path("image-"+f.owner.name), "--size=1M", "--bs=4k", "--direct=1",
		"--rw=randwrite", "--ioengine=psync", "--verify=crc32c", "--verify_fatal=1", "--verify_state_save=0"}, more...)
}

func (f *fioImage) lay(l *faultLoop) {
	l.t.Helper()
	run(l.t, "fio", f.args(f.owner, "--rw=write", "--bs=256k", "--do_verify=0", "--end_fsync=1")...)
}

// write is one pass over the image, with other content than the last one.
func (f *fioImage) write(l *faultLoop, rng *rand.Rand) error {
	seed := rng.Uint32() | 1
	f.seed = 0
	cmd := exec.Command("fio", f.args(f.owner, fmt.Sprintf("--randseed=%d", seed), "--do_verify=0", "--rate_iops=250")...)
	cmd.Dir = l.dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	f.seed = seed
	return nil
}

// verify lets node n verify the last pass, if there is a whole one.
func (f *fioImage) verify(l *faultLoop, n *node) {
	if f.seed == 0 {
		return
	}
	cmd := exec.Command("fio", f.args(n, fmt.Sprintf("--randseed=%d", f.seed), "--verify_only=1")...)
	cmd.Dir = l.dir
	out, err := cmd.CombinedOutput()
	assert.NoError(l.t, err, "image of %s does not verify on %s\n%s", f.owner.name, n.name, out)
}
