package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/covol/covol/cluster/pki"
)

// labOptions say what lab a test wants.
type labOptions struct {
	nodes int           // mounted at once, n1, n2, ...
	size  string        // of the volume, default 1G
	mkfs  []string      // further arguments of mkfs
	limit time.Duration // for the whole test, default 10 min
	dev   string        // a device to use instead of a file
	dirty bool          // the test judges the volume itself
	clear bool          // the nodes of one host talk in clear; else each has its certificate
	// separate gives each node a network namespace of its own, as if it were a host.
	separate bool
	// faults uses a build whose disk fails on command, and puts the volume in memory, so that the real disk is fast.
	faults  bool
	profile string // of times, default fast
}

// lab is a volume and the nodes that have it mounted.
type lab struct {
	t      testing.TB
	o      labOptions
	dir    string
	dev    string
	nodes  []*node
	net    *network    // nil: all on loopback
	issuer *pki.Member // makes the certificates of the nodes; nil: they talk in clear
	watch  *time.Timer
	late   chan struct{} // closed when the time is up
	hung   string        // what the nodes said then; written before late is closed
}

// newLab makes a volume and mounts it on the nodes. When the test is over the nodes leave and the volume must be clean.
func newLab(t testing.TB, o labOptions) *lab {
	t.Helper()
	needMounts(t)
	dir, err := os.MkdirTemp(labDir(o), "covol-lab")
	require.NoError(t, err)
	l := &lab{t: t, o: o, dir: dir, dev: o.dev, late: make(chan struct{})}
	if o.separate {
		l.net = newNetwork(t) // gone after the nodes are
	}
	t.Cleanup(l.close)
	if !o.clear {
		l.issuer, err = pki.Init(pki.Dir(filepath.Join(dir, "keys", "issuer")), "test", "issuer", time.Now(), false)
		require.NoError(t, err)
	}
	if l.dev == "" {
		l.dev = filepath.Join(dir, "lun.img")
		makeSparse(t, l.dev, or(o.size, "1G"))
	}
	covol(t, append(append([]string{"mkfs", "--label", "test", "--profile", or(o.profile, "fast")}, o.mkfs...), l.dev)...)
	l.watch = time.AfterFunc(or(o.limit, 10*time.Minute), l.timeUp)
	for range o.nodes {
		l.add()
	}
	for _, n := range l.nodes {
		n.start()
	}
	for _, n := range l.nodes {
		n.ready()
	}
	return l
}

// labDir is where a lab is put; empty: the default of the system.
func labDir(o labOptions) string {
	dir := os.Getenv("COVOL_TEST_DIR")
	if dir == "" && o.faults {
		if st, err := os.Stat("/dev/shm"); err == nil && st.IsDir() {
			return "/dev/shm"
		}
	}
	return dir
}

func or[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

func makeSparse(t testing.TB, path, size string) {
	t.Helper()
	run(t, "truncate", "-s", size, path)
}

// add makes a node that is not mounted yet.
func (l *lab) add() *node {
	l.t.Helper()
	name := fmt.Sprintf("n%d", len(l.nodes)+1)
	n := &node{lab: l, name: name, dir: filepath.Join(l.dir, name), log: filepath.Join(l.dir, name+".log")}
	require.NoError(l.t, os.Mkdir(n.dir, 0o755))
	if l.issuer != nil {
		n.keys = filepath.Join(l.dir, "keys", n.name)
		_, err := l.issuer.Enrol(pki.Dir(n.keys), n.name, time.Now(), false)
		require.NoError(l.t, err)
	}
	l.nodes = append(l.nodes, n)
	if l.net != nil {
		l.net.add(len(l.nodes))
	}
	return n
}

// timeUp makes a hanging test end: the nodes tell what they wait for and die, so that nothing can wait for them.
func (l *lab) timeUp() {
	var b bytes.Buffer
	for _, n := range l.nodes {
		for _, what := range []string{"status", "locks"} {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			cmd := exec.CommandContext(ctx, covolBin(l.t), what, n.dir)
			cmd.Stdout, cmd.Stderr = &b, &b
			_ = cmd.Run()
			cancel()
		}
	}
	l.hung = b.String()
	close(l.late)
	for _, n := range l.nodes {
		n.signal(unix.SIGABRT)
	}
	time.AfterFunc(5*time.Second, func() {
		for _, n := range l.nodes {
			n.signal(unix.SIGKILL)
		}
	})
}

// down lets all nodes leave, all at once.
func (l *lab) down() {
	l.t.Helper()
	for _, n := range l.nodes {
		n.signal(unix.SIGTERM)
	}
	for _, n := range l.nodes {
		n.left()
	}
}

// fsck requires a clean volume.
func (l *lab) fsck() {
	l.t.Helper()
	code, out := l.check()
	require.Zero(l.t, code, "covol fsck -n:\n%s", out)
}

// check runs the check on a volume that nobody has mounted, or that is in use and cannot be judged.
func (l *lab) check() (code int, out string) {
	l.t.Helper()
	return covolCode(l.t, "fsck", "-n", l.dev)
}

func (l *lab) close() {
	t := l.t
	if l.watch != nil && !l.watch.Stop() {
		t.Errorf("the lab was not done in its time")
	}
	if !t.Failed() {
		l.finish()
	}
	for _, n := range l.nodes {
		if t.Failed() && n.cmd != nil && n.ended() {
			t.Logf("the process of %s had ended: %v", n.name, n.err)
		}
		n.lastWords()
		n.signal(unix.SIGKILL)
		n.wait()
		_ = unix.Unmount(n.dir, unix.MNT_DETACH)
	}
	if t.Failed() {
		l.tell()
	}
	if err := os.RemoveAll(l.dir); err != nil {
		t.Errorf("remove lab: %v", err)
	}
}

// finish is the end of every test that has not failed: all leave, the volume is clean.
func (l *lab) finish() {
	for _, n := range l.nodes {
		n.signal(unix.SIGTERM)
	}
	for _, n := range l.nodes {
		if n.cmd == nil {
			continue
		}
		select {
		case <-n.gone:
			assert.NoError(l.t, n.err, "%s did not leave cleanly", n.name)
		case <-time.After(time.Minute):
			l.t.Errorf("%s does not leave", n.name)
			n.signal(unix.SIGABRT)
			select {
			case <-n.gone:
			case <-time.After(5 * time.Second):
			}
		}
	}
	if l.t.Failed() || l.o.dirty {
		return
	}
	code, out := l.check()
	assert.Zero(l.t, code, "covol fsck -n:\n%s", out)
}

// tell shows what the nodes said and keeps it if somebody wants it.
func (l *lab) tell() {
	select {
	case <-l.late:
		l.t.Logf("when the time was up:\n%s", l.hung)
		l.keep("hung", []byte(l.hung))
	default:
	}
	if l.o.faults {
		l.keepWith("lun.img", func(path string) error { return exec.Command("cp", "--sparse=always", l.dev, path).Run() })
	}
	for _, n := range l.nodes {
		b, err := os.ReadFile(n.log)
		if err != nil {
			continue
		}
		l.keep(n.name, b)
		lines := strings.SplitAfter(string(b), "\n")
		l.t.Logf("log of %s, last lines:\n%s", n.name, strings.Join(lines[max(0, len(lines)-25):], ""))
	}
}

func (l *lab) keep(what string, b []byte) {
	l.keepWith(what+".log", func(path string) error { return os.WriteFile(path, b, 0o644) })
}

// keepWith lets save write a file that is kept, if somebody wants it.
func (l *lab) keepWith(what string, save func(path string) error) {
	dir := os.Getenv("COVOL_TEST_KEEP")
	if dir == "" {
		return
	}
	path := filepath.Join(dir, strings.ReplaceAll(l.t.Name(), "/", "_")+"."+what)
	if err := errors.Join(os.MkdirAll(dir, 0o755), save(path)); err != nil {
		l.t.Logf("keep %s: %v", what, err)
		return
	}
	l.t.Logf("kept %s", path)
}

// covol runs the binary and requires that it succeeds.
func covol(t testing.TB, args ...string) string {
	t.Helper()
	code, out := covolCode(t, args...)
	require.Zero(t, code, "covol %s:\n%s", strings.Join(args, " "), out)
	return out
}

// covolCode runs the binary; out has what it wrote to both streams.
func covolCode(t testing.TB, args ...string) (code int, out string) {
	t.Helper()
	return runCode(t, covolBin(t), args...)
}

// run runs a program and requires that it succeeds.
func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	code, out := runCode(t, name, args...)
	require.Zero(t, code, "%s %s:\n%s", name, strings.Join(args, " "), out)
	return out
}

func runCode(t testing.TB, name string, args ...string) (code int, out string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	var buf bytes.Buffer
	cmd.Stdout, cmd.Stderr = &buf, &buf
	err := cmd.Run()
	if _, ok := err.(*exec.ExitError); err != nil && !ok {
		require.NoError(t, err)
	}
	return cmd.ProcessState.ExitCode(), buf.String()
}
