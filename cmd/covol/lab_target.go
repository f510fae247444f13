package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/covol/covol/iscsi/initiator"
)

// A lab with --iscsi has a target process that serves its image. The URL is kept beside the image, so that later lab up
// commands serve it at the same place again, also when they do not say --iscsi.

func (l *lab) urlFile() string       { return filepath.Join(l.dir, "target.url") }
func (l *lab) targetLog() string     { return filepath.Join(l.dir, "target.log") }
func (l *lab) targetPidFile() string { return filepath.Join(l.dir, "target.pid") }

// targetURL is the unit that the nodes mount, empty in a lab without a target.
func (l *lab) targetURL() string {
	text, err := os.ReadFile(l.urlFile())
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// device is what the nodes mount.
func (l *lab) device() string {
	if u := l.targetURL(); u != "" {
		return u
	}
	return l.image()
}

// targetPid is the target's process, 0 if there is none.
func (l *lab) targetPid() int { return pidIn(l.targetPidFile(), l.image()) }

// startTarget serves the image, if the lab is one with a target and it is not served already.
func (l *lab) startTarget(ctx context.Context, wanted bool, logLevel string) error {
	if l.targetURL() == "" {
		if !wanted {
			return nil
		}
		for _, n := range l.nodes() {
			if n.pid() != 0 {
				return hint(fmt.Errorf("lab %s: %s uses the image itself", l.dir, n.name()), "Take the lab down first: covol lab down --dir %s", l.dir)
			}
		}
		if err := l.chooseURL(); err != nil {
			return err
		}
	}
	if l.targetPid() != 0 {
		return nil
	}
	return l.spawnTarget(ctx, logLevel)
}

// chooseURL takes a port that is free now.
func (l *lab) chooseURL() error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	url := fmt.Sprintf("%s%s/%slab/0\n", initiator.Scheme, ln.Addr(), targetPrefix)
	if err := errors.Join(ln.Close(), os.WriteFile(l.urlFile(), []byte(url), 0o644)); err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	return nil
}

// spawnTarget starts a target that outlives this process and waits until it answers.
func (l *lab) spawnTarget(ctx context.Context, logLevel string) error {
	u, err := initiator.ParseURL(l.targetURL())
	if err != nil {
		return fmt.Errorf("lab: %s: %w", l.urlFile(), err)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(l.targetLog(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(self, "target", "serve", "--lun", l.image(), "--portal", u.Portals[0], "--name", u.Target, "--log-level", logLevel)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("lab: start the target: %w", err)
	}
	if err := os.WriteFile(l.targetPidFile(), []byte(strconv.Itoa(cmd.Process.Pid)+"\n"), 0o644); err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	for {
		if r, err := askTarget(ctx, u.Portals[0]); err == nil && r.PID == cmd.Process.Pid {
			return nil
		}
		select {
		case err := <-done:
			return hint(fmt.Errorf("lab: the target ended (%v); the end of its log:\n%s", err, tail(l.targetLog())), "The whole log is in %s", l.targetLog())
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(readyLook):
		}
	}
}

// stopTarget ends the target, when no node uses it any more.
func (l *lab) stopTarget() error {
	pid := l.targetPid()
	if pid != 0 {
		end := watchProcess(pid)
		defer end.close()
		_ = syscall.Kill(pid, syscall.SIGTERM)
		if !end.wait(downTime) {
			return hint(fmt.Errorf("lab: the target, process %d, does not end", pid), "Look at %s; to give it up: kill -9 %d", l.targetLog(), pid)
		}
	}
	_ = os.Remove(l.targetPidFile())
	return nil
}
