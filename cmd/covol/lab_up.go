package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/covol/covol/ondisk/blockdev/filedev"
	"github.com/covol/covol/ondisk/mkfs"
)

type labUpOptions struct {
	dir      string
	nodes    int
	size     byteSize
	logLevel string
	asJSON   bool
	iscsi    bool
	out, err io.Writer
}

func newLabUp() *cobra.Command {
	o := &labUpOptions{size: 4 << 30}
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Start a lab, or the nodes of it that are down",
		Long: `Make an image file, a volume on it, keys and certificates, and one mount process per node, and return
when all are ready. In a lab that exists, the nodes that are down are started: one that was killed comes
back, and its journal is replayed.`,
		Example: "  covol lab up\n  covol lab up --nodes 2 --dir /tmp/lab --size 1G",
		Args:    args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.out, o.err = cmd.OutOrStdout(), cmd.ErrOrStderr()
			return o.run(cmd.Context())
		},
	}
	addLabDir(cmd, &o.dir)
	cmd.Flags().IntVar(&o.nodes, "nodes", 3, "how many nodes")
	cmd.Flags().Var(&o.size, "size", "size of the image, which is sparse")
	cmd.Flags().StringVar(&o.logLevel, "log-level", "info", "of the nodes' logs: debug, info, warn or error")
	cmd.Flags().BoolVar(&o.iscsi, "iscsi", false, "serve the image by an iSCSI target, each node with sessions of its own")
	addJSON(cmd, &o.asJSON)
	return cmd
}

// maxLabNodes bounds --nodes; more than this is a typing error.
const maxLabNodes = 32

func (o *labUpOptions) run(ctx context.Context) error {
	if o.nodes < 1 || o.nodes > maxLabNodes {
		return fmt.Errorf("--nodes %d: want 1 to %d", o.nodes, maxLabNodes)
	}
	if err := os.MkdirAll(o.dir, 0o755); err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	l, err := openLab(o.dir)
	if err != nil {
		return err
	}
	unlock, err := l.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if err := o.makeVolume(ctx, l); err != nil {
		return err
	}
	if err := l.startTarget(ctx, o.iscsi, o.logLevel); err != nil {
		return err
	}
	if err := l.makeCluster(); err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	count := o.nodes
	if have := l.nodes(); len(have) > 0 {
		count = max(count, have[len(have)-1].number)
	}
	started, err := o.start(ctx, l, count)
	if err != nil {
		return err
	}
	return o.print(ctx, l, started)
}

// makeVolume makes the image and the volume on it, unless they are there. The image gets its name when it is complete.
func (o *labUpOptions) makeVolume(ctx context.Context, l *lab) error {
	if _, err := os.Stat(l.image()); err == nil {
		return nil
	}
	tmp := l.image() + ".new"
	f, err := os.Create(tmp)
	if err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	err = errors.Join(f.Truncate(int64(o.size)), f.Close())
	if err == nil {
		err = formatLab(ctx, tmp, o.nodes)
	}
	if err == nil {
		err = os.Rename(tmp, l.image())
	}
	if err != nil {
		_ = os.Remove(tmp)
		return fmt.Errorf("lab: make %s: %w", l.image(), err)
	}
	return nil
}

// labSlots leaves room to mount more nodes by hand.
const labSlots = 8

func formatLab(ctx context.Context, path string, nodes int) error {
	dev, err := openDevice(path, filedev.Options{})
	if err != nil {
		return err
	}
	defer dev.Close()
	_, err = mkfs.Format(ctx, dev, mkfs.Options{Label: "lab", Profile: "fast", Slots: uint32(max(nodes, labSlots))})
	if errors.Is(err, mkfs.ErrTooSmall) {
		return hint(err, "Give a larger --size.")
	}
	return err
}

// labProcess is a mount process that was started and is being watched.
type labProcess struct {
	node *labNode
	pid  int
	done chan error // gets what Wait says when it ends
}

// start starts the nodes that are down and waits until all are ready.
func (o *labUpOptions) start(ctx context.Context, l *lab, count int) ([]*labProcess, error) {
	var started []*labProcess
	for i := 1; i <= count; i++ {
		n := l.node(i)
		if n.client() != nil {
			continue
		}
		if pid := n.pid(); pid != 0 {
			return nil, hint(fmt.Errorf("lab: the process of %s (pid %d) runs but does not answer", n.name(), pid), "Look at %s; to give it up: kill -9 %d", n.logFile(), pid)
		}
		p, err := o.spawn(n)
		if err != nil {
			return nil, fmt.Errorf("lab: start %s: %w", n.name(), err)
		}
		started = append(started, p)
	}
	bar := newProgress(o.err)
	defer bar.done()
	for i, p := range started {
		if err := p.ready(ctx, func() { bar.update("nodes", int64(i), int64(len(started))) }); err != nil {
			return nil, err
		}
	}
	return started, nil
}

// spawn starts a mount process that outlives this one.
func (o *labUpOptions) spawn(n *labNode) (*labProcess, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	// A dead mount may be there, which MkdirAll cannot pass.
	if _, err := clearDead(n.mountDir(), n.mountDir(), errNoMount); err != nil && !errors.Is(err, errNoMount) {
		return nil, err
	}
	if err := os.MkdirAll(n.mountDir(), 0o755); err != nil {
		return nil, err
	}
	if err := n.makeKeys(); err != nil {
		return nil, err
	}
	log, err := os.OpenFile(n.logFile(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	args := []string{"mount", n.lab.device(), n.mountDir(), "--node", n.name(), "--cluster-dir", n.clusterDir(), "--log-level", o.logLevel}
	if os.Getenv(stateEnv) == "" {
		args = append(args, "--state-dir", n.lab.stateDir())
	}
	cmd := exec.Command(self, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &labProcess{node: n, pid: cmd.Process.Pid, done: make(chan error, 1)}
	go func() { p.done <- cmd.Wait() }()
	return p, os.WriteFile(n.pidFile(), []byte(strconv.Itoa(p.pid)+"\n"), 0o644)
}

const (
	readyLook = 20 * time.Millisecond
	readyTime = 2 * time.Minute
)

// ready waits until the node is mounted, or says why not.
func (p *labProcess) ready(ctx context.Context, tick func()) error {
	limit := time.NewTimer(readyTime)
	defer limit.Stop()
	look := time.NewTicker(readyLook)
	defer look.Stop()
	for {
		if c := p.node.client(); c != nil {
			if st, err := c.timedStatus(ctx); err == nil && st.Mounted {
				return nil
			}
		}
		select {
		case err := <-p.done:
			return hint(fmt.Errorf("lab: %s ended before it was mounted (%v); the end of its log:\n%s", p.node.name(), err, tail(p.node.logFile())),
				"The whole log is in %s", p.node.logFile())
		case <-limit.C:
			return hint(fmt.Errorf("lab: %s is not ready after %s; the end of its log:\n%s", p.node.name(), readyTime, tail(p.node.logFile())),
				"It goes on trying; see: covol lab status")
		case <-ctx.Done():
			return ctx.Err()
		case <-look.C:
			tick()
		}
	}
}

// tail is the end of a log, for an error message.
func tail(path string) string {
	const lines, most = 8, 4096
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	b = bytes.TrimSpace(b[max(0, len(b)-most):])
	parts := bytes.Split(b, []byte("\n"))
	return "    " + string(bytes.Join(parts[max(0, len(parts)-lines):], []byte("\n    ")))
}

func (o *labUpOptions) print(ctx context.Context, l *lab, started []*labProcess) error {
	r := l.report(ctx)
	for _, p := range started {
		for i := range r.Nodes {
			r.Nodes[i].Started = r.Nodes[i].Started || r.Nodes[i].Name == p.node.name()
		}
	}
	if o.asJSON {
		return writeJSON(o.out, r)
	}
	switch {
	case len(started) == 0:
		fmt.Fprintf(o.out, "The lab in %s is up already.\n\n", l.dir)
	case len(started) < len(r.Nodes):
		fmt.Fprintf(o.out, "The lab in %s was up; nodes that were down were started: %d of %d.\n\n", l.dir, len(started), len(r.Nodes))
	default:
		fmt.Fprintf(o.out, "A lab of %d nodes is up in %s.\n\n", len(r.Nodes), l.dir)
	}
	if err := r.print(o.out); err != nil {
		return err
	}
	a, b := l.node(1).mountDir(), l.node(max(1, min(2, len(r.Nodes)))).mountDir()
	_, err := fmt.Fprintf(o.out, `
Try:
  cp some.img %s/           # on node 1 ...
  ls -l %s/                 # ... and seen by the other
  covol status %s
  covol locks %s
  kill -9 %d; covol lab up%s   # a crash of node 1, and its return
  covol lab down%s
`, a, b, b, b, r.Nodes[0].PID, o.dirFlag(), o.dirFlag())
	return err
}

func (o *labUpOptions) dirFlag() string {
	if filepath.Clean(o.dir) == defaultLab {
		return ""
	}
	return " --dir " + o.dir
}
