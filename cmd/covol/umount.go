package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/covol/covol/fs/fusefs/bazil"
)

type umountOptions struct {
	force  bool
	asJSON bool
	out    io.Writer
}

func newUmount() *cobra.Command {
	o := &umountOptions{}
	cmd := &cobra.Command{
		Use:   "umount DIR",
		Short: "Leave a volume cleanly",
		Long: `Unmount DIR and wait until its node has left: everything written home, locks and slot given
back. A mount that a dead process left behind is cleared.

If the storage does not answer, the node ends as by a crash once others may take it for dead
(see mkfs --profile): its journal is replayed by the next mount. --force also ends a mount
process that does not answer itself, by kill -9.`,
		Example: "  covol umount /csv/volume1\n  covol umount --force /csv/volume1",
		Args:    args(1, 1),
		RunE: func(cmd *cobra.Command, a []string) error {
			o.out = cmd.OutOrStdout()
			return o.run(cmd.Context(), a[0])
		},
	}
	cmd.Flags().BoolVar(&o.force, "force", false, "cut off programs that still use it; their open files fail from then on")
	addJSON(cmd, &o.asJSON)
	return cmd
}

// umountResult says what was done: "left", "cleared" for the mount of a dead process, or "killed" for one that did not
// answer.
type umountResult struct {
	Dir    string `json:"dir"`
	Result string `json:"result"`
}

func (o *umountOptions) run(ctx context.Context, dir string) error {
	result, err := unmountDir(ctx, dir, o.force)
	if err != nil {
		return err
	}
	if o.asJSON {
		return writeJSON(o.out, umountResult{Dir: dir, Result: result})
	}
	switch result {
	case "cleared":
		_, err = fmt.Fprintf(o.out, "covol: cleared the dead mount on %s; its node's journal is replayed by the next mount\n", dir)
	case "killed":
		_, err = fmt.Fprintf(o.out, "covol: cut off %s and killed its process, which did not answer; its node's journal is replayed by the next mount\n", dir)
	}
	return err
}

// unmountDir asks the process behind dir to leave and waits for its end, or clears what a dead one left.
func unmountDir(ctx context.Context, dir string, force bool) (string, error) {
	abs, err := canonical(dir)
	if err != nil {
		return "", fmt.Errorf("umount %s: %w", dir, err)
	}
	c, err := clientFor(dir)
	if errors.Is(err, errNoMount) {
		return clearDead(dir, abs, err)
	}
	if err != nil {
		return "", err
	}
	bounded, cancel := context.WithTimeout(ctx, answerTime)
	st, err := c.status(bounded)
	cancel()
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return c.endSilent(dir, abs, force)
	case err != nil:
		return "", fmt.Errorf("umount %s: %w", dir, err)
	}
	end := watchProcess(st.PID)
	defer end.close()
	if err := c.umount(ctx, force); err != nil {
		return "", fmt.Errorf("umount %s: %w", dir, err)
	}
	end.wait(10 * time.Second)
	return "left", nil
}

// endSilent ends a mount whose process has a socket but does not answer: it is stopped, or stuck. Only with force.
func (c *controlClient) endSilent(dir, abs string, force bool) (string, error) {
	pid, err := c.pid()
	if err != nil {
		return "", fmt.Errorf("umount %s: %w", dir, err)
	}
	if !force {
		return "", hint(fmt.Errorf("umount %s: its process (pid %d) does not answer", dir, pid),
			"If it is stopped: kill -CONT %d. To give it up, as by a crash: covol umount --force %s", pid, dir)
	}
	end := watchProcess(pid)
	defer end.close()
	if err := bazil.CutOff(abs); err != nil {
		return "", fmt.Errorf("umount %s: %w", dir, err)
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
		return "", fmt.Errorf("umount %s: kill %d: %w", dir, pid, err)
	}
	if !end.wait(endSilentTime) {
		return "", fmt.Errorf("umount %s: programs are cut off, but process %d waits for the device and cannot end before it answers", dir, pid)
	}
	return "killed", nil
}

// answerTime is how long a mount process may take to say that it is there.
const answerTime = 5 * time.Second

// endSilentTime is how long a killed process may take to be gone.
const endSilentTime = 10 * time.Second

func clearDead(dir, abs string, noMount error) (string, error) {
	m, err := mountAt(abs)
	if err != nil {
		return "", err
	}
	if m == nil || m.fstype != covolType {
		return "", fmt.Errorf("umount: %w", noMount)
	}
	if err := bazil.CleanStale(abs); err != nil {
		return "", fmt.Errorf("umount %s: its process cannot be asked: %w", dir, err)
	}
	return "cleared", nil
}

// process is a process of which the end can be awaited.
type process struct{ fd int }

func watchProcess(pid int) process {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil || pid == os.Getpid() {
		return process{-1}
	}
	return process{fd}
}

// wait reports whether the process has ended within d.
func (p process) wait(d time.Duration) bool {
	if p.fd < 0 {
		return true
	}
	until := time.Now().Add(d)
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}, int(max(time.Until(until), 0).Milliseconds()))
		if !errors.Is(err, unix.EINTR) {
			return n > 0
		}
	}
}

func (p process) close() {
	if p.fd >= 0 {
		_ = unix.Close(p.fd)
	}
}
