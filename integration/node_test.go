package integration

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// node is one `covol mount` process.
type node struct {
	lab  *lab
	name string
	dir  string // mount point
	log  string
	keys string   // cluster directory
	args []string // further arguments of mount

	cmd   *exec.Cmd     // nil: never started
	up    chan string   // what it printed on its standard output, a line
	gone  chan struct{} // closed when the process has ended
	err   error         // how it ended
	state bool          // it is expected to run
}

// path is a path in the volume as this node has it.
func (n *node) path(elem ...string) string { return filepath.Join(append([]string{n.dir}, elem...)...) }

// start begins to mount.
func (n *node) start() {
	t := n.lab.t
	t.Helper()
	log, err := os.OpenFile(n.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	require.NoError(t, err)
	defer log.Close()
	cmd := n.command()
	cmd.Stderr = log
	cmd.Env = append(os.Environ(), "GOTRACEBACK=all", "COVOL_FAULTS="+n.faultSocket())
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	n.cmd, n.up, n.gone, n.state = cmd, make(chan string, 1), make(chan struct{}), true
	go n.follow(out)
}

// command is what mounts the node, in the network of its host.
func (n *node) command() *exec.Cmd {
	bin, bind := covolBin(n.lab.t), "127.0.0.1:0"
	if n.lab.o.faults {
		bin = faultsBin(n.lab.t)
	}
	var line []string
	if w := n.lab.net; w != nil {
		// Not ip netns exec: that has a mount namespace of its own, and the mount would be seen by nobody.
		line = []string{"nsenter", "--net=/run/netns/" + w.host(n.number()), "--"}
		bind = w.addr(n.number()) + ":0"
	}
	line = append(line, bin, "mount", n.lab.dev, n.dir, "--node", n.name, "--bind", bind)
	if n.lab.issuer != nil {
		line = append(line, "--cluster-dir", n.keys)
	}
	line = append(line, n.args...)
	return exec.Command(line[0], line[1:]...)
}

// number is the place of the node in its lab, from 1.
func (n *node) number() int { return slices.Index(n.lab.nodes, n) + 1 }

// follow waits for the first line and for the end.
func (n *node) follow(out io.Reader) {
	r := bufio.NewReader(out)
	if line, err := r.ReadString('\n'); err == nil {
		n.up <- line
	}
	_, _ = io.Copy(io.Discard, r)
	n.err = n.cmd.Wait()
	close(n.gone)
}

// ready waits until the volume is mounted.
func (n *node) ready() {
	t := n.lab.t
	t.Helper()
	select {
	case line := <-n.up:
		require.Equal(t, fmt.Sprintf("covol: mounted %s on %s\n", n.lab.dev, n.dir), line)
	case <-n.gone:
		require.Failf(t, "mount failed", "%s: %v\n%s", n.name, n.err, n.tail())
	case <-n.lab.late:
		require.Failf(t, "mount hangs", "%s\n%s", n.name, n.tail())
	}
}

// mount starts the node and waits until it is ready.
func (n *node) mount() {
	n.lab.t.Helper()
	n.start()
	n.ready()
}

func (n *node) signal(s unix.Signal) {
	if n.cmd == nil {
		return
	}
	select {
	case <-n.gone:
	default:
		_ = n.cmd.Process.Signal(s)
	}
}

func (n *node) wait() {
	if n.cmd != nil {
		<-n.gone
	}
}

// lastWords gives a node that was told to dump its goroutines the time to do so.
func (n *node) lastWords() {
	select {
	case <-n.lab.late:
	default:
		return
	}
	if n.cmd == nil {
		return
	}
	select {
	case <-n.gone:
	case <-time.After(5 * time.Second):
	}
}

// down lets the node leave.
func (n *node) down() {
	n.lab.t.Helper()
	n.signal(unix.SIGTERM)
	n.left()
}

// left waits until the node has left, and requires that it did so cleanly.
func (n *node) left() {
	t := n.lab.t
	t.Helper()
	if n.cmd == nil {
		return
	}
	select {
	case <-n.gone:
	case <-n.lab.late:
		require.Failf(t, "node does not leave", "%s\n%s", n.name, n.tail())
	}
	if n.state {
		require.NoError(t, n.err, "%s did not leave cleanly:\n%s", n.name, n.tail())
	}
	n.cmd, n.state = nil, false
}

// kill is a power failure of the node's process.
func (n *node) kill() {
	n.signal(unix.SIGKILL)
	n.wait()
	n.cmd, n.state = nil, false
}

func (n *node) tail() string {
	b, _ := os.ReadFile(n.log)
	return string(b[max(0, len(b)-4000):])
}

// status asks the node what it is doing.
func (n *node) status() nodeStatus {
	t := n.lab.t
	t.Helper()
	out, err := exec.Command(covolBin(t), "status", n.dir, "--json").Output()
	require.NoError(t, err)
	var s nodeStatus
	require.NoError(t, json.Unmarshal(out, &s), "%s", out)
	return s
}

// nodeStatus is the part of `covol status DIR --json` that the tests look at.
type nodeStatus struct {
	State string `json:"state"`
	Node  struct {
		Addr string `json:"addr"`
	} `json:"node"`
	Volume struct {
		Note string `json:"note"`
	} `json:"volume"`
	Cluster struct {
		Epoch   uint64 `json:"epoch"`
		Secured string `json:"secured"`
		Members []struct {
			Name       string `json:"name"`
			Liveness   string `json:"liveness"`
			Recovering bool   `json:"recovering"`
			Member     bool   `json:"member"`
		} `json:"members"`
		Victims []struct {
			Name     string   `json:"name"`
			ForMS    float64  `json:"for_ms"`
			AtMostMS *float64 `json:"at_most_ms"`
			Tries    []string `json:"tries"`
		} `json:"victims"`
	} `json:"cluster"`
}

// counters are the counters of status.
func (n *node) counters() map[string]float64 {
	t := n.lab.t
	t.Helper()
	out, err := exec.Command(covolBin(t), "status", n.dir, "--json").Output()
	require.NoError(t, err)
	var s struct {
		Counters map[string]any `json:"counters"`
	}
	require.NoError(t, json.Unmarshal(out, &s), "%s", out)
	c := map[string]float64{}
	for name, v := range s.Counters {
		if f, ok := v.(float64); ok {
			c[name] = f
		}
	}
	return c
}

// eventually waits for something that must become true while the lab has time.
func (l *lab) eventually(what string, cond func() bool) {
	l.t.Helper()
	for !cond() {
		select {
		case <-l.late:
			require.Fail(l.t, "never happened: "+what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
