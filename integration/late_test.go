package integration

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/covol/covol/ondisk"
)

// TestLateWrite: what docs/guarantees.md says of a node whose storage keeps a write for longer than it may, and delivers it
// after the others have taken over. The node's path holds what it was given and its heartbeats, until the rules are lifted.
func TestLateWrite(t *testing.T) {
	t.Parallel() // it waits more than it works
	for _, c := range []struct {
		name string
		run  func(*testing.T)
	}{{"data", lateData}, {"metadata", lateMetadata}, {"replayed", lateReplayed}, {"journal", lateJournal}, {"lock", lateUnderLock}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(t)
		})
	}
}

// lateSlots are the slots of the volume.
const lateSlots = 4

// lateLab has a node a whose writes will be late, and a survivor b.
func lateLab(t *testing.T, fence string) (l *lab, a, b *node) {
	l = newLab(t, labOptions{faults: true, clear: true, mkfs: []string{"--slots", fmt.Sprint(lateSlots)}})
	a, b = l.add(), l.add()
	for _, n := range l.nodes {
		n.args = []string{"--fence", fence}
		n.mount() // one after the other: a is in slot 0
	}
	return l, a, b
}

// overwrites starts a program that writes the first block of a file past all caches, and waits until that is at the device.
func (n *node) overwrites(path string, with byte) *user {
	t, l := n.lab.t, n.lab
	t.Helper()
	u := &user{l: l, done: make(chan error, 1)}
	u.cmd = exec.Command("dd", "of="+path, "bs=4096", "count=1", "iflag=fullblock", "oflag=direct", "conv=notrunc", "status=none")
	u.cmd.Stdin, u.cmd.Stderr = strings.NewReader(block(with)), &u.out
	require.NoError(t, u.cmd.Start())
	go func() { u.done <- u.cmd.Wait() }()
	l.eventually("the write is at the device", func() bool { return n.struck().dataWaiting > 0 })
	return u
}

// block is a block of one letter.
func block(letter byte) string { return strings.Repeat(string(letter), ondisk.BlockSize) }

// direct reads the first block of a file past all caches and says which letter fills it.
func direct(t *testing.T, path string) string {
	t.Helper()
	out, err := exec.Command("dd", "if="+path, "bs=4096", "count=1", "iflag=direct", "status=none").Output()
	require.NoError(t, err)
	require.Len(t, out, ondisk.BlockSize)
	require.Equal(t, block(out[0]), string(out), "a block is written whole")
	return string(out[:1])
}

// raw is a block of the device.
func (l *lab) raw(number uint64) string {
	l.t.Helper()
	f, err := os.Open(l.dev)
	require.NoError(l.t, err)
	defer f.Close()
	b := make([]byte, ondisk.BlockSize)
	_, err = f.ReadAt(b, int64(number)*ondisk.BlockSize)
	require.NoError(l.t, err)
	return string(b)
}

// slotBlock is the heartbeat block of a node.
func (l *lab) slotBlock(n *node) string {
	l.t.Helper()
	sb := ondisk.Super{Slots: lateSlots}
	return l.raw(sb.SlotBlock(uint16(n.number() - 1)))
}

// outFor reports whether the node is out of the view that another one has.
func (n *node) outFor(of *node) bool {
	for _, m := range of.status().Cluster.Members {
		if m.Name == n.name && m.Member {
			return false
		}
	}
	return true
}

// knows waits until the node knows that it is out, and ends it.
func (n *node) knows() {
	n.lab.t.Helper()
	n.lab.eventually("the late node knows that it is out", func() bool { return n.status().out() })
	n.signal(unix.SIGTERM)
	n.over()
}

// overwrite writes the first block of a file in place and makes it stable.
func overwrite(t *testing.T, path string, letter byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	require.NoError(t, err)
	defer f.Close()
	_, err = f.WriteString(block(letter))
	require.NoError(t, err)
	require.NoError(t, f.Sync())
}

// silent keeps the node's heartbeats from the disk, beside what is held already.
func (n *node) silent() {
	n.lab.t.Helper()
	n.faults("beat", "any hold")
	n.lab.eventually("its heartbeat is at the device", func() bool { return n.struck().beatWaiting > 0 })
}

// lateData: by the lease, also of a neighbour whose lock shows that it lives, data that lands after the takeover lands. A
// heartbeat does not.
func lateData(t *testing.T) {
	l, a, b := lateLab(t, "auto")
	writeStable(t, a.path("f"), block('0'))
	a.faults("data", "write hold")
	u := a.overwrites(a.path("f"), 'a')
	a.silent()
	l.eventually("its lock proves nothing", func() bool { return strings.Contains(covol(t, "status", b.dir), "holds the lock of slot 0") })
	overwrite(t, b.path("f"), 'b') // waits for the proof
	require.True(t, a.outFor(b))
	require.Contains(t, covol(t, "status", b.dir), "proven by lease")
	l.eventually("the slot is freed", func() bool { return b.events()["recovered n1"] })
	require.Equal(t, "b", direct(t, b.path("f")))
	before := l.slotBlock(a)

	a.faults("all", "")
	a.knows()
	<-u.done // it may be told either
	assert.Equal(t, "a", direct(t, b.path("f")), "the limit of the lease, as documented")
	assert.Equal(t, before, l.slotBlock(a), "a late heartbeat changes nothing")
	writeStable(t, b.path("g"), "x") // the survivor goes on, and the volume is clean
}

// lateHome has a home write of directory d under way at a, and b in its place, with a file of each stable in d.
func lateHome(t *testing.T) (l *lab, a, b *node, number uint64) {
	l, a, b = lateLab(t, "lease")
	require.NoError(t, os.Mkdir(a.path("d"), 0o755))
	writeStable(t, a.path("d", "of-a"), "a")
	st, err := os.Stat(a.path("d"))
	require.NoError(t, err)
	number = st.Sys().(*syscall.Stat_t).Ino // of its record's block
	a.faults("data", fmt.Sprintf("write block %d hold", number))
	done := make(chan error, 1)
	go func() { _, err := os.ReadDir(b.path("d")); done <- err }() // the lock is asked for: a brings d home
	l.eventually("the home write is at the device", func() bool { return a.struck().dataWaiting > 0 })
	a.silent()
	require.NoError(t, <-done)
	require.Equal(t, "a", readAll(t, b.path("d", "of-a")), "replayed")
	writeStable(t, b.path("d", "of-b"), "b")
	return l, a, b, number
}

// land lets the home write land, and reports whether that changed the block.
func land(l *lab, a *node, number uint64) (changed bool) {
	before := l.raw(number)
	a.faults("all", "")
	a.knows()
	return before != l.raw(number)
}

// lateMetadata: an old block that lands over a newer one that is home is taken for good by who reads it. The check finds
// it, and a repair brings back what it hid.
func lateMetadata(t *testing.T) {
	l, a, b, number := lateHome(t)
	l.o.dirty = true
	b.down()
	require.True(t, land(l, a, number), "the limit of the lease, as documented")
	code, out := l.check()
	require.Equal(t, 4, code, "%s", out)
	code, out = covolCode(t, "fsck", "-y", l.dev)
	require.Equal(t, 1, code, "%s", out)
	b.mount()
	assert.Equal(t, "a", readAll(t, b.path("d", "of-a")))
	assert.Equal(t, "b", readAll(t, b.path("d", "of-b")))
	b.down()
	l.fsck()
}

// lateReplayed: an old block that lands while the newer one is in the survivor's journal is healed by it, though the
// survivor dies.
func lateReplayed(t *testing.T) {
	l, a, b, number := lateHome(t)
	b.faults("data", fmt.Sprintf("write block %d hold", number)) // an idle journal brings its blocks home after a while
	land(l, a, number)
	b.kill()
	b.mount()
	assert.Equal(t, "a", readAll(t, b.path("d", "of-a")))
	assert.Equal(t, "b", readAll(t, b.path("d", "of-b")))
}

// lateJournal: what lands in a journal that has been replayed is not there.
func lateJournal(t *testing.T) {
	l, a, b := lateLab(t, "lease")
	a.faults("data", "write hold")
	done := make(chan error, 1)
	go func() {
		f, err := os.Create(a.path("f"))
		if err == nil {
			err = f.Sync()
			_ = f.Close()
		}
		done <- err
	}()
	l.eventually("the commit is at the device", func() bool { return a.struck().dataWaiting > 0 })
	a.silent()
	_, err := os.ReadDir(b.dir)
	require.NoError(t, err)
	l.eventually("it is recovered", func() bool { return b.events()["recovered n1"] })
	a.faults("all", "")
	a.knows()
	require.Error(t, <-done, "what is not there was not acknowledged")
	a.mount()
	require.NoFileExists(t, a.path("f"))
	writeStable(t, a.path("g"), "x")
	a.kill()
	a.mount()
	require.Equal(t, "x", readAll(t, a.path("g")))
}

// lateUnderLock: by the lock alone nobody takes over from a process that lives, however long its write takes; when it is
// killed its write does not land.
func lateUnderLock(t *testing.T) {
	l, a, b := lateLab(t, "host")
	writeStable(t, a.path("f"), block('0'))
	a.faults("data", "write hold")
	u := a.overwrites(a.path("f"), 'a')
	a.silent()
	l.eventually("the lease is over, and its lock proves nothing", func() bool {
		for _, v := range b.status().Cluster.Victims {
			if v.Name == "n1" && v.AtMostMS == nil && v.ForMS > 4000 {
				return strings.Contains(strings.Join(v.Tries, "\n"), "holds the lock of slot 0")
			}
		}
		return false
	})
	require.False(t, a.outFor(b))
	a.kill()
	u.ends("the node has ended")
	overwrite(t, b.path("f"), 'b')
	require.Contains(t, covol(t, "status", b.dir), "proven by host")
	require.Equal(t, "b", direct(t, b.path("f")))
	_ = unix.Unmount(a.dir, unix.MNT_DETACH)
}

func readAll(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(b)
}
