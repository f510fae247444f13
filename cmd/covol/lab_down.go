package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

type labDownOptions struct {
	dir    string
	force  bool
	remove bool
	asJSON bool
	out    io.Writer
}

func newLabDown() *cobra.Command {
	o := &labDownOptions{}
	cmd := &cobra.Command{
		Use: "down", Short: "Stop all nodes of a lab", Args: args(0, 0),
		Long: `Unmount all nodes of a lab and wait until their processes have ended. The image stays, for the
next lab up, unless --rm is given.`,
		Example: "  covol lab down\n  covol lab down --rm",
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.out = cmd.OutOrStdout()
			return o.run(cmd.Context())
		},
	}
	addLabDir(cmd, &o.dir)
	cmd.Flags().BoolVar(&o.force, "force", false, "cut off programs that use a mount")
	cmd.Flags().BoolVar(&o.remove, "rm", false, "remove the image, the logs and the directory of the lab")
	addJSON(cmd, &o.asJSON)
	return cmd
}

func (o *labDownOptions) run(ctx context.Context) error {
	l, err := openLab(o.dir)
	if err != nil {
		return err
	}
	if err := l.must(); err != nil {
		return err
	}
	unlock, err := l.lock()
	if err != nil {
		return err
	}
	defer unlock()
	nodes := l.nodes()
	errs := make([]error, len(nodes))
	var wg sync.WaitGroup
	for i, n := range nodes {
		wg.Go(func() { errs[i] = n.down(ctx, o.force) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := l.stopTarget(); err != nil {
		return err
	}
	if o.remove {
		if err := l.remove(nodes); err != nil {
			return err
		}
	}
	if o.asJSON {
		return writeJSON(o.out, l.report(ctx))
	}
	kept := fmt.Sprintf("; the image %s is kept", l.image())
	if o.remove {
		kept = " and removed"
	}
	_, err = fmt.Fprintf(o.out, "The lab in %s is down%s.\n", l.dir, kept)
	return err
}

// downTime is how long a process may take to leave after it was asked by a signal.
const downTime = 30 * time.Second

// down makes one node leave and sees to it that its process is gone.
func (n *labNode) down(ctx context.Context, force bool) error {
	pid := n.pid()
	end := process{fd: -1}
	if pid != 0 {
		end = watchProcess(pid)
		defer end.close()
	}
	_, err := unmountDir(ctx, n.mountDir(), force)
	switch {
	case err == nil || errors.Is(err, errNoMount):
	default:
		return fmt.Errorf("%s: %w", n.name(), err)
	}
	if pid != 0 && !end.wait(0) {
		// Its socket did not answer, or it has not finished: ask as a shutdown would.
		_ = syscall.Kill(pid, syscall.SIGTERM)
		if !end.wait(downTime) {
			return hint(fmt.Errorf("%s: process %d does not end", n.name(), pid), "Look at %s; to give it up: kill -9 %d", n.logFile(), pid)
		}
		if _, err := clearDead(n.mountDir(), n.mountDir(), errNoMount); err != nil && !errors.Is(err, errNoMount) {
			return fmt.Errorf("%s: %w", n.name(), err)
		}
	}
	_ = os.Remove(n.pidFile())
	return nil
}

// remove deletes what lab up has made, and nothing else.
func (l *lab) remove(nodes []*labNode) error {
	var errs []error
	rm := func(path string) {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	for _, n := range nodes {
		for _, path := range []string{n.mountDir(), filepath.Dir(n.mountDir()), filepath.Dir(filepath.Dir(n.mountDir())), n.logFile(), n.pidFile()} {
			rm(path)
		}
	}
	errs = append(errs, os.RemoveAll(l.clusterRoot()))
	for _, path := range []string{l.image(), l.image() + ".pr", l.urlFile(), l.targetLog(), l.targetPidFile()} {
		rm(path)
	}
	if err := os.RemoveAll(l.stateDir()); err != nil {
		errs = append(errs, err)
	}
	rm(filepath.Join(l.dir, ".lock"))
	if err := os.Remove(l.dir); err != nil && !errors.Is(err, syscall.ENOTEMPTY) {
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("lab: remove: %w", err)
	}
	return nil
}
