package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

const defaultLab = "covol-lab"

func newLab() *cobra.Command {
	cmd := &cobra.Command{
		Use: "lab", Short: "A whole cluster on this machine",
		Long: `Several nodes on this machine that share one image file: one covol mount process each, mounted
at DIR/node1/csv/volume1, DIR/node2/csv/volume1, ...`,
		Example: "  covol lab up\n  covol lab status\n  covol lab down",
		Args:    args(0, 0),
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newLabUp(), newLabStatus(), newLabDown())
	return cmd
}

func addLabDir(cmd *cobra.Command, dir *string) {
	cmd.Flags().StringVar(dir, "dir", defaultLab, "directory of the lab")
	_ = cmd.MarkFlagDirname("dir")
}

// lab is a directory with an image and the mounts of its nodes.
type lab struct{ dir string }

// labNode is one node of a lab.
type labNode struct {
	number int
	lab    *lab
}

func openLab(dir string) (*lab, error) {
	abs, err := canonical(dir)
	if err != nil {
		return nil, fmt.Errorf("lab %s: %w", dir, err)
	}
	return &lab{dir: abs}, nil
}

func (l *lab) image() string        { return filepath.Join(l.dir, "lun.img") }
func (l *lab) stateDir() string     { return filepath.Join(l.dir, "state") }
func (l *lab) node(i int) *labNode  { return &labNode{i, l} }
func (n *labNode) name() string     { return "node" + strconv.Itoa(n.number) }
func (n *labNode) mountDir() string { return filepath.Join(n.lab.dir, n.name(), "csv", "volume1") }
func (n *labNode) logFile() string  { return filepath.Join(n.lab.dir, n.name()+".log") }
func (n *labNode) pidFile() string  { return filepath.Join(n.lab.dir, n.name()+".pid") }

// labStateOf is where a lab keeps the state of its nodes, if dir is a mount point of a lab; else "".
func labStateOf(dir string) string {
	l := &lab{filepath.Dir(filepath.Dir(filepath.Dir(dir)))}
	if _, err := os.Stat(l.image()); err != nil {
		return ""
	}
	return l.stateDir()
}

// lock keeps two commands from working on one lab at once.
func (l *lab) lock() (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(l.dir, ".lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, hint(fmt.Errorf("lab %s: another covol lab command is at work", l.dir), "Wait for it to end.")
		}
		return nil, fmt.Errorf("lab %s: lock: %w", l.dir, err)
	}
	return func() { _ = f.Close() }, nil
}

// nodes are the nodes that have a directory here, ascending.
func (l *lab) nodes() []*labNode {
	entries, _ := os.ReadDir(l.dir)
	var found []*labNode
	for _, e := range entries {
		number, ok := strings.CutPrefix(e.Name(), "node")
		if i, err := strconv.Atoi(number); ok && err == nil && i > 0 && e.IsDir() {
			found = append(found, l.node(i))
		}
	}
	slices.SortFunc(found, func(a, b *labNode) int { return a.number - b.number })
	return found
}

// must says how to begin where there is no lab.
func (l *lab) must() error {
	if _, err := os.Stat(l.image()); err != nil {
		return hint(fmt.Errorf("there is no lab in %s", l.dir), "Make one with: covol lab up --dir %s", l.dir)
	}
	return nil
}

// client talks to the node's process, nil if there is none.
func (n *labNode) client() *controlClient {
	if socket := findControl(n.mountDir()); socket != "" {
		return newClient(socket)
	}
	return nil
}

// pid is the node's process as noted when it was started, 0 unless it is still a covol mount of this node.
func (n *labNode) pid() int {
	return pidIn(n.pidFile(), n.mountDir())
}

// pidIn is the process that a file names, 0 unless its command line has word in it.
func pidIn(file, word string) int {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0
	}
	cmdline, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
	if err != nil || !strings.Contains(string(cmdline), word) {
		return 0
	}
	return pid
}

// labReport is what lab up and lab status tell with --json.
type labReport struct {
	Dir   string          `json:"dir"`
	Image string          `json:"image"`
	URL   string          `json:"url,omitempty"` // of the unit, in a lab with a target
	Nodes []labNodeReport `json:"nodes"`
}

type labNodeReport struct {
	Name    string        `json:"name"`
	Mount   string        `json:"mount"`
	Log     string        `json:"log"`
	PID     int           `json:"pid"`
	State   string        `json:"state"` // of the node; down without a process, hung if it does not answer
	Started bool          `json:"started,omitempty"`
	Status  *statusReport `json:"status,omitempty"`
}

func (l *lab) report(ctx context.Context) *labReport {
	r := &labReport{Dir: l.dir, Image: l.image(), URL: l.targetURL(), Nodes: []labNodeReport{}}
	for _, n := range l.nodes() {
		r.Nodes = append(r.Nodes, n.report(ctx))
	}
	return r
}

func (n *labNode) report(ctx context.Context) labNodeReport {
	r := labNodeReport{Name: n.name(), Mount: n.mountDir(), Log: n.logFile(), PID: n.pid(), State: "down"}
	if r.PID != 0 {
		r.State = "hung"
	}
	if c := n.client(); c != nil {
		if st, err := c.timedStatus(ctx); err == nil {
			r.State, r.PID, r.Status = st.State, st.PID, st
		}
	}
	return r
}
