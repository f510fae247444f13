package integration

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// ledger is what one worker knows to be durable: the kernel has answered fsync.
type ledger struct {
	dir string // below the mount point

	mu sync.Mutex
	// GUARDED_BY(mu): content by name, and names whose last change was not answered yet
	sure map[string][]byte
	// GUARDED_BY(mu)
	open map[string]bool
	// GUARDED_BY(mu): what a name in doubt begins with all the same, because the change only appends
	least map[string][]byte
	// GUARDED_BY(mu): names of which a file with the suffix .tmp may be there; a life that ends leaves it to the next
	tmps map[string]bool
	// GUARDED_BY(mu)
	steps int
}

func newLedger(dir string) *ledger {
	return &ledger{dir: dir, sure: map[string][]byte{}, open: map[string]bool{}, least: map[string][]byte{}, tmps: map[string]bool{}}
}

// doubt says that a change of names has begun: whatever they were, they may be anything until settle.
func (l *ledger) doubt(names ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range names {
		l.open[n] = true
	}
}

// doubtTmp says that name is about to get its content from a file beside it; settleTmp that this one is gone.
func (l *ledger) doubtTmp(name string) {
	l.doubt(name)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tmps[name] = true
}

func (l *ledger) settleTmp(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.tmps, name)
}

// doubtEnd says that an append has begun.
func (l *ledger) doubtEnd(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open[name] = true
	l.least[name] = l.sure[name]
}

// settle says that name durably has this content; nil: that it does not exist.
func (l *ledger) settle(name string, content []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, name)
	delete(l.least, name)
	l.steps++
	if content == nil {
		delete(l.sure, name)
		return
	}
	l.sure[name] = content
}

func (l *ledger) done() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.steps
}

// work changes files until that fails, as it does when the node dies.
func (l *ledger) work(n *node, rng *rand.Rand) error {
	for k := 0; ; k++ {
		if err := l.step(n, rng, k); err != nil {
			return err
		}
	}
}

// step makes, overwrites, appends to, renames or removes a file, and syncs that.
func (l *ledger) step(n *node, rng *rand.Rand, k int) error {
	dir := n.path(l.dir)
	name := fmt.Sprintf("f%03d", rng.IntN(60))
	path := filepath.Join(dir, name)
	l.mu.Lock()
	old := l.sure[name]
	l.mu.Unlock()
	content := bytes.Repeat([]byte(fmt.Sprintf("%s %s %d\n", n.name, name, k)), 1+rng.IntN(900))
	var err error
	switch {
	case old != nil && rng.IntN(4) == 0:
		l.doubt(name)
		if err = os.Remove(path); err == nil {
			err = syncDir(dir)
		}
		content = nil
	case old != nil && len(old) < 64<<10 && rng.IntN(3) == 0:
		l.doubtEnd(name)
		err = writeSync(path, content, os.O_APPEND)
		content = append(bytes.Clone(old), content...)
	case rng.IntN(3) == 0: // the way editors save
		tmp := path + ".tmp"
		l.doubtTmp(name)
		if err = writeSync(tmp, content, os.O_CREATE|os.O_TRUNC); err == nil {
			err = os.Rename(tmp, path)
		}
		if err == nil {
			err = syncDir(dir)
		}
		if err == nil {
			l.settleTmp(name)
		}
	default:
		l.doubt(name)
		if err = writeSync(path, content, os.O_CREATE|os.O_TRUNC); err == nil {
			err = syncDir(dir)
		}
	}
	if err == nil {
		l.settle(name, content)
	}
	return err
}

func writeSync(path string, b []byte, flags int) error {
	f, err := os.OpenFile(path, flags|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// judge requires on node n that all that was answered is there, and that nothing else is.
func (l *ledger) judge(n *node) {
	t := n.lab.t
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	have := map[string]bool{}
	for _, name := range names(t, n.path(l.dir)) {
		have[name] = true
		base := name[:4]
		fine := name == base && (l.open[base] || l.sure[base] != nil) || name == base+".tmp" && l.tmps[base]
		assert.True(t, fine, "%s/%s is on %s, but was removed and fsynced", l.dir, name, n.name)
	}
	for name, want := range l.sure {
		if l.open[name] {
			continue
		}
		if !assert.True(t, have[name], "%s/%s was fsynced and is lost on %s", l.dir, name, n.name) {
			continue
		}
		got, err := os.ReadFile(n.path(l.dir, name))
		if assert.NoError(t, err) {
			assert.True(t, bytes.Equal(want, got), "%s/%s on %s: want %.30q (%d bytes), got %.30q (%d bytes)", l.dir, name, n.name, want, len(want), got, len(got))
		}
	}
	for name, want := range l.least {
		got, err := os.ReadFile(n.path(l.dir, name))
		if assert.NoError(t, err, "%s/%s was appended to and is lost on %s", l.dir, name, n.name) {
			assert.True(t, bytes.HasPrefix(got, want), "%s/%s on %s has lost what it had before an append", l.dir, name, n.name)
		}
	}
	// What was in doubt is what it is now.
	clear(l.least)
	for name := range l.open {
		delete(l.open, name)
		delete(l.sure, name)
		if b, err := os.ReadFile(n.path(l.dir, name)); err == nil {
			l.sure[name] = append([]byte{}, b...)
		}
	}
	for name := range l.tmps {
		_ = os.Remove(n.path(l.dir, name+".tmp"))
	}
	clear(l.tmps)
	// Or the next crash brings back what was removed here.
	assert.NoError(t, syncDir(n.path(l.dir)))
}

// crashLab is a lab whose nodes each work in a directory of their own and run fio on a file of their own.
type crashLab struct {
	*lab
	books []*ledger
	beats []atomic.Int64 // changes of the file that each node holds
	rng   *rand.Rand
}

func newCrashLab(t *testing.T) *crashLab {
	fio := tool(t, "fio", "fio")
	c := &crashLab{lab: newLab(t, labOptions{nodes: 3, limit: 10 * time.Minute})}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %#x", seed)
	c.rng = rand.New(rand.NewPCG(seed, 0))
	c.beats = make([]atomic.Int64, len(c.nodes))
	for _, n := range c.nodes {
		require.NoError(t, os.Mkdir(n.path("dir-"+n.name), 0o755))
		c.books = append(c.books, newLedger("dir-"+n.name))
		run(t, fio, "--name=lay", "--filename="+n.path("fio-"+n.name), "--size=16M", "--rw=write", "--bs=1M", "--direct=1", "--end_fsync=1")
	}
	return c
}

// load lets node i work; the channel is closed when all of that has failed or was stopped.
func (c *crashLab) load(i int) (stopped chan struct{}) {
	n := c.nodes[i]
	stopped = make(chan struct{})
	rng := rand.New(rand.NewPCG(c.rng.Uint64(), uint64(i)))
	cmd := exec.Command("fio", "--name=load", "--filename="+n.path("fio-"+n.name), "--size=16M", "--rw=randrw", "--bs=4k", "--direct=1",
		"--ioengine=libaio", "--iodepth=8", "--time_based", "--runtime=600")
	cmd.Dir = c.dir
	require.NoError(c.t, cmd.Start())
	var wg sync.WaitGroup
	wg.Go(func() { _ = c.books[i].work(n, rng) })
	wg.Go(func() {
		_ = c.beat(i)
		_ = cmd.Process.Kill()
	})
	wg.Go(func() { _ = cmd.Wait() })
	go func() { wg.Wait(); close(stopped) }()
	return stopped
}

// beat overwrites, syncs and reads one file that no other node looks at, until that fails.
func (c *crashLab) beat(i int) error {
	n := c.nodes[i]
	f, err := os.OpenFile(n.path("held-"+n.name), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		want := []byte(fmt.Sprintf("%020d", c.beats[i].Load()+1))
		if _, err := f.WriteAt(want, 0); err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			return err
		}
		got := make([]byte, len(want))
		if _, err := f.ReadAt(got, 0); err != nil {
			return err
		}
		if !assert.Equal(c.t, string(want), string(got), "%s reads back what it wrote", n.name) {
			return errors.New("wrong data")
		}
		c.beats[i].Add(1)
	}
}

// alive waits until node i has changed the file that it holds so many more times.
func (c *crashLab) alive(i int, more int64) {
	c.t.Helper()
	from := c.beats[i].Load()
	c.eventually(fmt.Sprintf("%s goes on with what it holds", c.nodes[i].name), func() bool { return c.beats[i].Load() >= from+more })
}

// progress waits until node i has settled so many more changes.
func (c *crashLab) progress(i, more int) {
	c.t.Helper()
	from := c.books[i].done()
	c.eventually(fmt.Sprintf("%s goes on", c.nodes[i].name), func() bool { return c.books[i].done() >= from+more })
}

// TestCrashOne kills one node under load, again and again. The others go on with what they hold, get what it held once
// one of them has replayed its journal, and find all it fsynced before it is back.
func TestCrashOne(t *testing.T) {
	c := newCrashLab(t)
	var stopped []chan struct{}
	for i := range c.nodes {
		stopped = append(stopped, c.load(i))
	}
	for round := range scaled(t, 3) {
		victim := c.rng.IntN(len(c.nodes))
		other, third := (victim+1)%len(c.nodes), (victim+2)%len(c.nodes)
		c.progress(victim, 20+c.rng.IntN(100))
		c.nodes[victim].kill()
		<-stopped[victim]
		t.Logf("round %d: killed %s", round, c.nodes[victim].name)

		// The directory it worked in is locked by the dead.
		waited := make(chan error, 1)
		go func() {
			_, err := os.ReadDir(c.nodes[other].path(c.books[victim].dir))
			waited <- err
		}()
		c.alive(other, 100)
		c.alive(third, 100)
		select {
		case err := <-waited:
			require.NoError(t, err)
		case <-c.late:
			require.Fail(t, "what the dead node held is never free")
		}
		c.books[victim].judge(c.nodes[other])
		c.nodes[victim].mount()
		c.books[victim].judge(c.nodes[victim])
		stopped[victim] = c.load(victim)
		for i := range c.nodes {
			c.progress(i, 10)
		}
	}
	c.stopAll(stopped)
	for _, n := range c.nodes {
		n.mount()
	}
	c.judgeAll()
}

// stopAll kills all nodes at once.
func (c *crashLab) stopAll(stopped []chan struct{}) {
	var wg sync.WaitGroup
	for _, n := range c.nodes {
		wg.Go(n.kill)
	}
	wg.Wait()
	for _, ch := range stopped {
		<-ch
	}
}

func (c *crashLab) judgeAll() {
	for _, b := range c.books {
		for _, n := range c.nodes {
			b.judge(n)
		}
	}
}

// TestCrashAll kills all nodes at once under load. The volume is whole as it lies there, the first to mount brings all
// journals home, and whatever was fsynced is there.
func TestCrashAll(t *testing.T) {
	c := newCrashLab(t)
	for round := range scaled(t, 4) {
		var stopped []chan struct{}
		for i := range c.nodes {
			stopped = append(stopped, c.load(i))
		}
		for i := range c.nodes {
			c.progress(i, 10+c.rng.IntN(60))
		}
		c.stopAll(stopped)
		c.fsck()

		first := c.rng.IntN(len(c.nodes))
		t.Logf("round %d: %s mounts first", round, c.nodes[first].name)
		c.nodes[first].mount()
		for _, b := range c.books {
			b.judge(c.nodes[first])
		}
		for i, n := range c.nodes {
			if i != first {
				n.mount()
			}
		}
		c.judgeAll()
	}
}

// TestCrashJoining kills nodes while they join and leave.
func TestCrashJoining(t *testing.T) {
	c := newCrashLab(t)
	busy := c.load(0)
	for range scaled(t, 6) {
		n := c.nodes[1+c.rng.IntN(2)]
		if c.rng.IntN(2) == 0 {
			n.kill()
			n.start()
		} else {
			require.NoError(t, os.WriteFile(n.path("touched"), []byte(n.name), 0o644))
			n.signal(15)
		}
		time.Sleep(time.Duration(c.rng.IntN(300)) * time.Millisecond) // any moment will do
		n.kill()
		n.mount()
		c.progress(0, 5)
	}
	c.stopAll([]chan struct{}{busy})
	c.fsck()
	for _, n := range c.nodes {
		n.mount()
	}
	c.judgeAll()
}
