package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestWithdraw: a node that was frozen until the others took it for dead answers EIO on everything when it goes on,
// whatever the kernel had cached; programs can end; and it comes back under its name without more ado.
func TestWithdraw(t *testing.T) {
	t.Parallel() // it waits more than it works
	l := newLab(t, labOptions{nodes: 2, limit: 3 * time.Minute})
	a, b := l.nodes[0], l.nodes[1]
	require.NoError(t, os.Mkdir(a.path("d"), 0o755))
	require.NoError(t, os.WriteFile(a.path("d", "f"), bytes.Repeat([]byte("x"), 64<<10), 0o644))
	reader, err := os.Open(a.path("d", "f"))
	require.NoError(t, err)
	defer reader.Close()
	page, err := unix.Mmap(int(reader.Fd()), 0, 4096, unix.PROT_READ, unix.MAP_SHARED)
	require.NoError(t, err)
	require.NoError(t, unix.Munmap(page))
	writer, err := os.OpenFile(a.path("d", "w"), os.O_RDWR|os.O_CREATE, 0o644)
	require.NoError(t, err)
	defer writer.Close()
	_, err = writer.WriteString("synced")
	require.NoError(t, err)
	require.NoError(t, writer.Sync())
	_, err = os.Stat(a.dir) // cached by the kernel
	require.NoError(t, err)
	mapped := mapper(t, a.path("d", "f"))

	a.signal(unix.SIGSTOP)
	l.eventually("the survivor goes on with what the frozen node held", func() bool {
		b, err := os.ReadFile(b.path("d", "w"))
		return err == nil && string(b) == "synced"
	})
	require.NoError(t, os.WriteFile(b.path("d", "w"), []byte("by b"), 0o644))
	a.signal(unix.SIGCONT)
	l.eventually("the node notices", func() bool { return a.status().out() })

	for what, op := range everyUse(a, reader, writer) {
		l.eventually(what+" fails with EIO", func() bool {
			err := op()
			if err != nil && !errors.Is(err, syscall.EIO) {
				require.ErrorIs(t, err, syscall.EIO, what)
			}
			return err != nil
		})
	}
	mapped.ends(l)
	code, out := covolCode(t, "umount", a.dir)
	require.NotZero(t, code)
	require.Contains(t, out, "had withdrawn")
	a.over()
	a.mount()
	text, err := os.ReadFile(a.path("d", "w"))
	require.NoError(t, err)
	require.Equal(t, "by b", string(text))
}

// everyUse are operations that need the volume.
func everyUse(n *node, reader, writer *os.File) map[string]func() error {
	buf := make([]byte, 4096)
	return map[string]func() error{
		"stat of the root": func() error { _, err := os.Stat(n.dir); return err },
		"stat":             func() error { _, err := os.Stat(n.path("d", "f")); return err },
		"fstat":            func() error { _, err := reader.Stat(); return err },
		"read":             func() error { _, err := reader.ReadAt(buf, 0); return err },
		"write":            func() error { _, err := writer.WriteAt(buf, 0); return err },
		"fsync":            func() error { return writer.Sync() },
		"open":             func() error { f, err := os.Open(n.path("d", "f")); _ = f.Close(); return err },
		"readdir":          func() error { _, err := os.ReadDir(n.path("d")); return err },
		"create":           func() error { return os.WriteFile(n.path("d", "new"), nil, 0o644) },
		"unlink":           func() error { return os.Remove(n.path("d", "f")) },
		"statfs":           func() error { var st unix.Statfs_t; return unix.Statfs(n.dir, &st) },
	}
}

// mapping is a process that looks at a mapped file again and again.
type mapping struct {
	cmd *exec.Cmd
	out *bytes.Buffer
}

// mapper starts one; the mapping is in place when it returns.
func mapper(t *testing.T, path string) *mapping {
	t.Helper()
	m := &mapping{out: &bytes.Buffer{}}
	m.cmd = exec.Command(os.Args[0])
	m.cmd.Env = append(os.Environ(), mapEnv+"="+path)
	m.cmd.Stderr = m.out
	out, err := m.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, m.cmd.Start())
	line := make([]byte, 7)
	_, err = out.Read(line)
	require.NoError(t, err)
	require.Equal(t, "mapped\n", string(line))
	t.Cleanup(func() { _ = m.cmd.Process.Kill(); _ = m.cmd.Wait() })
	return m
}

// ends requires that the process gets a signal for its next look.
func (m *mapping) ends(l *lab) {
	done := make(chan error, 1)
	go func() { done <- m.cmd.Wait() }()
	select {
	case err := <-done:
		require.Error(l.t, err)
		require.Contains(l.t, m.out.String(), "SIGBUS")
	case <-l.late:
		require.Fail(l.t, "a mapped file is still readable")
	}
}

// mapEnv makes the test binary that process.
const mapEnv = "COVOL_TEST_MAP"

// mapForever maps a file and looks at it until that ends the process.
func mapForever(path string) {
	f, err := os.Open(path)
	if err != nil {
		log.Fatal(err)
	}
	b, err := unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		log.Fatal(err)
	}
	for first := true; ; first = false {
		if b[0] != 'x' {
			log.Fatal("other bytes")
		}
		if first {
			fmt.Println("mapped")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// TestSurvivor: after kill -9 the survivor goes on with what the dead node held, and says what it did.
func TestSurvivor(t *testing.T) {
	t.Parallel() // it waits more than it works
	l := newLab(t, labOptions{nodes: 2, limit: 3 * time.Minute})
	a, b := l.nodes[0], l.nodes[1]
	writeStable(t, a.path("f"), "x")
	a.kill()
	text, err := os.ReadFile(b.path("f"))
	require.NoError(t, err)
	require.Equal(t, "x", string(text))
	require.NoError(t, os.WriteFile(b.path("f"), []byte("b"), 0o644))
	l.eventually("the events are told", func() bool {
		all := b.events()
		return all["dead n1"] && all["recovered n1"] && all["replayed n2"]
	})
	_ = unix.Unmount(a.dir, unix.MNT_DETACH)
	a.mount()
	text, err = os.ReadFile(a.path("f"))
	require.NoError(t, err)
	require.Equal(t, "b", string(text))
}

// writeStable writes a file and makes it and its name stable.
func writeStable(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.Create(path)
	require.NoError(t, err)
	defer f.Close()
	_, err = f.WriteString(text)
	require.NoError(t, err)
	require.NoError(t, f.Sync())
}

// events are what the node has told, as "kind node".
func (n *node) events() map[string]bool {
	n.lab.t.Helper()
	all := map[string]bool{}
	for line := range strings.Lines(covol(n.lab.t, "events", "--json", n.dir)) {
		var e struct{ Kind, Node string }
		require.NoError(n.lab.t, json.Unmarshal([]byte(line), &e))
		all[e.Kind+" "+e.Node] = true
	}
	return all
}

// ended waits for a process that has been told to end, and forgets it.
func (n *node) over() {
	n.lab.t.Helper()
	select {
	case <-n.gone:
	case <-n.lab.late:
		require.Fail(n.lab.t, n.name+" does not end")
	}
	n.cmd, n.state = nil, false
}

// TestFence: a person's word is taken for a node that shows no life, and for no other.
func TestFence(t *testing.T) {
	t.Parallel() // it waits more than it works
	l := newLab(t, labOptions{nodes: 2, limit: 3 * time.Minute, mkfs: []string{"--profile", "default"}})
	a, b := l.nodes[0], l.nodes[1]
	writeStable(t, a.path("f"), "x")
	fence := func(args ...string) (int, string) {
		return covolCode(t, append([]string{"node", "fence"}, args...)...)
	}
	code, out := fence("n1", b.dir)
	require.Equal(t, 1, code)
	require.Contains(t, out, "--confirm")
	require.Contains(t, out, "promises")
	code, out = fence("n1", b.dir, "--confirm")
	require.Equal(t, 1, code, "it lives")
	require.Contains(t, out, "renewed its heartbeat")
	code, out = fence("n9", b.dir, "--confirm")
	require.Equal(t, 1, code)
	require.Contains(t, out, "no such node")

	a.signal(unix.SIGSTOP)
	l.eventually("the others suspect it", func() bool { return liveness(b, "n1") == "suspect" })
	text := covol(t, "status", b.dir)
	require.Contains(t, text, "a proof that n1 (slot")
	require.Contains(t, text, "more")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	require.NoError(t, exec.CommandContext(ctx, covolBin(t), "node", "fence", "n1", b.dir, "--confirm").Run())
	l.eventually("it is recovered", func() bool {
		_, err := os.ReadFile(b.path("f"))
		return err == nil
	})
	require.Contains(t, covol(t, "status", b.dir), "proven by person")
	a.signal(unix.SIGCONT)
	l.eventually("the fenced node knows", func() bool { return a.status().out() })
	assert.Contains(t, covol(t, "status", a.dir), "fenced")
	a.signal(unix.SIGTERM)
	a.over()
}

func liveness(n *node, name string) string {
	for _, m := range n.status().Cluster.Members {
		if m.Name == name {
			return m.Liveness
		}
	}
	return ""
}
